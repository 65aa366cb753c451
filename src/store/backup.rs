//! A whole copy of a store's file, made while a server may be writing it.
//!
//! In: the file's path and a new one. Out: a checked copy of one moment, on disk under its final name, or an error and nothing.
//!
//! The copy is made by `VACUUM INTO` ([SQLite](https://www.sqlite.org/lang_vacuum.html#vacuum_with_an_into_clause)) on a connection that
//! only reads: writers go on, and what is copied is read row by row, so that a damaged page fails the backup and is not carried along.
//! Then the copy gets a run of its own. So no lock file can prove its revision, which makes every reader start over once it is restored,
//! and no write-ahead log that was left beside it is taken for its own.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use tempfile::{NamedTempFile, PersistError};

use super::file::lock::is_held;
use super::file::paths::{COMPANIONS, suffixed};
use super::reader::ReaderError;
use super::reader::file_access::{self, FileAccess};
use super::schema::codec::Count;
use crate::catalog::Epoch;

/// Operations of SQLite between two looks at the progress: some milliseconds.
const PROGRESS_STEP: i32 = 20_000;

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Services.
    pub services: u64,
    /// Instances of all services.
    pub instances: u64,
    /// The newest revision in it.
    pub revision: u64,
    /// Size of the new file.
    pub bytes: u64,
}

/// Why there is no backup. Whatever was at the new path is still there.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store's file cannot be read.
    #[error(transparent)]
    Reader(#[from] ReaderError),
    /// The file belongs to a cluster.
    #[error(
        "{} mirrors the services of a cluster, whose record is the Kubernetes API; back up that: \
         kubectl get services.portolan.dev -A -o json > services.json", .0.display()
    )]
    Mirror(PathBuf),
    /// The new path is taken.
    #[error("{} exists and was left as it is; give another name, or --force to replace it", .0.display())]
    Exists(PathBuf),
    /// The new path leads to the store itself.
    #[error("{} is the store's own file or lies where SQLite keeps the store's other files; give another name", .0.display())]
    Itself(PathBuf),
    /// A server has the file at the new path open.
    #[error("{} is in use by a Portolan server, so it was left as it is; give another name", .0.display())]
    InUse(PathBuf),
    /// SQLite would take a file beside the new path for a part of the backup.
    #[error("{} is there, and SQLite would take it for a part of the backup; remove it, or give another name", .0.display())]
    Leftover(PathBuf),
    /// The new path is no place for a file.
    #[error("{} cannot be created: {source}", .path.display())]
    Create {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Writing the copy failed.
    #[error("the backup could not be written: {0}; no backup was made")]
    Copy(#[from] rusqlite::Error),
    /// What was written reads back otherwise.
    #[error(
        "the backup does not read back as it was written ({0}), so it was removed; check the disk and the store's file"
    )]
    Unsound(String),
    /// A server started, stopped or replaced the file meanwhile.
    #[error(
        "the file was opened, closed or replaced by another program during the backup, so it was removed; run it again"
    )]
    Moved,
}

/// Copies the store at `from` into the new file `to`, mode 0640, and checks it. `replace` allows `to` to exist. `progress` gets the bytes
/// written so far, and about how many there will be. Blocks.
///
/// # Errors
/// [`BackupError`]; then there is no new file.
pub fn backup(
    from: &Path,
    to: &Path,
    replace: bool,
    progress: impl FnMut(u64, u64) + Send + 'static,
) -> Result<Copied, BackupError> {
    let from = file_access::whole(from)?;
    let (mut db, access, schema) = FileAccess::open_older(&from)?;
    let read = |error| ReaderError::of(&from, error);
    if schema >= 2 && db.query_row("SELECT mirror FROM meta", [], |row| row.get(0)).unwrap_or(0_i64) != 0 {
        return Err(BackupError::Mirror(from));
    }
    let to = target(to, &from, replace)?;
    let file = empty(&to).map_err(|source| BackupError::Create { path: to.clone(), source })?;
    let path = file.path().to_owned();
    let _journal = Journal(suffixed(&path, "-journal"));
    let whole = size(&db).map_err(read)?;
    watch(&mut db, &path, whole, progress)?;
    db.execute("VACUUM INTO ?1", [path.to_str().ok_or(rusqlite::Error::InvalidPath(path.clone()))?])?;
    if !access.is_current(&from) {
        return Err(BackupError::Moved);
    }
    drop(db);
    let mut copied = own(&path, schema)?;
    copied.bytes = finish(file, &to, replace)?;
    Ok(copied)
}

/// What SQLite keeps beside a copy that it writes, and leaves there on a full disk; removed at the end.
struct Journal(PathBuf);

impl Drop for Journal {
    fn drop(&mut self) {
        // Usually there is none.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The absolute new path, if a backup may be put there.
fn target(to: &Path, from: &Path, replace: bool) -> Result<PathBuf, BackupError> {
    let failed = |source| BackupError::Create { path: to.to_owned(), source };
    let name = to.file_name().ok_or_else(|| failed(io::Error::other("it names no file")))?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let whole = std::fs::canonicalize(folder).map_err(failed)?.join(name);
    let of_store = [".lock"].iter().chain(&COMPANIONS).map(|suffix| suffixed(from, suffix));
    if std::fs::canonicalize(&whole).is_ok_and(|real| real == from) || of_store.into_iter().any(|own| own == whole) {
        return Err(BackupError::Itself(whole));
    }
    if let Some(left) = COMPANIONS.iter().map(|suffix| suffixed(&whole, suffix)).find(|path| path.exists()) {
        return Err(if is_held(&whole) { BackupError::InUse(whole) } else { BackupError::Leftover(left) });
    }
    match std::fs::symlink_metadata(&whole) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(whole),
        Err(error) => Err(failed(error)),
        Ok(_) if !replace => Err(BackupError::Exists(whole)),
        Ok(_) if is_held(&whole) => Err(BackupError::InUse(whole)),
        Ok(about) if !about.is_file() => Err(failed(io::Error::other("there is something else than a plain file"))),
        Ok(_) => Ok(whole),
    }
}

/// An empty file beside the final name, under a name that says what it is; removed unless it is finished.
fn empty(to: &Path) -> io::Result<NamedTempFile> {
    let (folder, name) = (to.parent().unwrap_or(Path::new("/")), to.file_name().unwrap_or_default().to_string_lossy());
    let file = tempfile::Builder::new().prefix(&format!(".{name}.unfinished-")).tempfile_in(folder)?;
    // Regardless of the umask: the group may read it, as it may the store.
    file.as_file().set_permissions(Permissions::from_mode(0o640))?;
    Ok(file)
}

fn size(db: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, Count>(0)).map(|count| count.0);
    Ok(pragma("page_count")? * pragma("page_size")?)
}

/// Reports the size of the growing copy.
fn watch(
    db: &mut Connection,
    copy: &Path,
    whole: u64,
    mut progress: impl FnMut(u64, u64) + Send + 'static,
) -> rusqlite::Result<()> {
    let copy = copy.to_owned();
    db.progress_handler(
        PROGRESS_STEP,
        Some(move || {
            let written = std::fs::metadata(&copy).map_or(0, |about| about.len());
            progress(written.min(whole), whole);
            false
        }),
    )
}

/// Gives the copy a run of its own, and checks it.
fn own(copy: &Path, schema: u32) -> Result<Copied, BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(copy, flags)?;
    // Without another file: what a crash leaves unfinished is never used.
    db.pragma_update(None, "journal_mode", "memory")?;
    // It is complete, which a file that a server had open would not be without its write-ahead log.
    let closed = if schema >= 3 { ", served = 0" } else { "" };
    db.execute(&format!("UPDATE meta SET run = ?1{closed}"), [Epoch::random().to_string()])?;
    let said: Vec<String> =
        db.prepare("PRAGMA integrity_check(3)")?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    if said != ["ok"] {
        return Err(BackupError::Unsound(said.join("; ").replace('\n', " ")));
    }
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, Count>(0)).map(|count| count.0);
    Ok(Copied {
        services: count("SELECT count(*) FROM service")?,
        instances: count("SELECT count(*) FROM instance")?,
        revision: count("SELECT coalesce(max(revision), 0) FROM meta")?,
        bytes: 0,
    })
}

/// Makes the file durable under its final name, and returns its size.
fn finish(file: NamedTempFile, to: &Path, replace: bool) -> Result<u64, BackupError> {
    let failed = |source| BackupError::Create { path: to.to_owned(), source };
    file.as_file().sync_all().map_err(failed)?;
    let bytes = file.as_file().metadata().map_err(failed)?.len();
    let named = if replace { file.persist(to) } else { file.persist_noclobber(to) };
    named.map_err(|PersistError { error, .. }| match error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(to.to_owned()),
        _ => failed(error),
    })?;
    let folder = to.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(bytes)
}
