//! What lies at the path, before it is opened as a database, so that nobody else's file is changed.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::connect::{alone, has_content};
use super::lock::Proof;
use super::paths::{COMPANIONS, suffixed};
use crate::store::error::OpenError;
use crate::store::schema;

/// What lies at the path.
pub(crate) enum Found {
    /// No file, or an empty one.
    Nothing {
        /// Whether there is an empty one.
        empty: bool,
    },
    Ours,
}

/// The absolute path with links followed, in an existing folder.
pub(crate) fn locate(path: &Path) -> Result<PathBuf, OpenError> {
    let name = path.file_name().ok_or_else(|| OpenError::NotAFile(path.to_owned()))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let missing = || OpenError::FolderMissing(folder.to_owned());
    let whole = std::fs::canonicalize(folder).ok().filter(|folder| folder.is_dir()).ok_or_else(missing)?.join(name);
    match std::fs::canonicalize(&whole) {
        Ok(path) => Ok(path),
        // A file created here would not be found again once the link leads somewhere.
        Err(_) => match std::fs::read_link(&whole) {
            Ok(target) => Err(OpenError::DanglingLink { path: whole, target }),
            Err(_) => Ok(whole),
        },
    }
}

/// Identifies the file by its first bytes, without opening it as a database.
pub(crate) fn inspect(path: &Path) -> Result<Found, OpenError> {
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing { empty: false }),
        Err(source) => return Err(OpenError::Unreadable { path: path.to_owned(), source }),
    };
    if !about.is_file() {
        return Err(OpenError::NotAFile(path.to_owned()));
    }
    let mut head = Vec::with_capacity(100);
    let read = File::open(path).and_then(|file| file.take(100).read_to_end(&mut head));
    read.map_err(|source| OpenError::Unreadable { path: path.to_owned(), source })?;
    match application(&head) {
        _ if head.is_empty() => Ok(Found::Nothing { empty: true }),
        None => Err(OpenError::NotSqlite(path.to_owned())),
        Some(schema::APPLICATION_ID) => Ok(Found::Ours),
        Some(_) if is_seed(path) => Err(OpenError::Seed(path.to_owned())),
        Some(_) => Err(OpenError::Foreign(path.to_owned())),
    }
}

/// The `application_id` at offset 68 of an SQLite file's header
/// ([file format](https://www.sqlite.org/fileformat2.html#the_database_header)).
fn application(head: &[u8]) -> Option<u32> {
    let id = head.strip_prefix(b"SQLite format 3\0").and(head.get(68..72))?;
    id.try_into().ok().map(u32::from_be_bytes)
}

/// Whether it belongs to the legacy gateway. Read as immutable, so that nothing is created beside it.
fn is_seed(path: &Path) -> bool {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'service_infos'";
    alone(path).and_then(|db| db.query_row(sql, [], |_| Ok(()))).is_ok()
}

/// Refuses a link in the place of SQLite's log, which SQLite would refuse with a less helpful error.
pub(crate) fn no_planted_links(path: &Path) -> Result<(), OpenError> {
    let companions = COMPANIONS.iter().map(|suffix| suffixed(path, suffix));
    let planted =
        companions.into_iter().find(|path| std::fs::symlink_metadata(path).is_ok_and(|about| !about.is_file()));
    planted.map_or(Ok(()), |path| Err(OpenError::PlantedLink(path)))
}

/// Refuses to start a new registry where there was one with content.
pub(crate) fn was_never_used(path: &Path, empty: bool, proof: Option<&Proof>) -> Result<(), OpenError> {
    let log = ["-wal", "-journal"].into_iter().find(|suffix| has_content(path, suffix));
    let evidence = match (proof.filter(|proof| proof.revision > 0), log) {
        (Some(proof), _) => {
            format!("{} says that its revision {} was committed", suffixed(path, ".lock").display(), proof.revision)
        }
        (None, Some(log)) => format!("{} holds what was written last", suffixed(path, log).display()),
        (None, None) => return Ok(()),
    };
    Err(OpenError::Emptied { path: path.to_owned(), empty, evidence })
}
