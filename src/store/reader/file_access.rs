//! Opens a file without creating or changing anything beside it, and notices when another file takes its place.
//!
//! While a server has the file open, `-wal` and `-shm` lie beside it, and SQLite reads both without writing to the second
//! (`readonly_shm`). After a clean stop they are gone, and SQLite would create them, owned by the reader's user. Then the file is read as
//! `immutable`, until anything about it changes.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::Access;

use crate::store::file::paths::suffixed;
use crate::store::schema;

/// How long a statement waits for the server.
const BUSY: Duration = Duration::from_millis(500);

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// No such file.
    #[error("there is no store at {}; start the server, or name the file that its DB_PATH names", .0.display())]
    Missing(PathBuf),
    /// Permission denied.
    #[error(
        "this user may not read {}; run this as the server's user or as a member of its group (its files are 0640), or give --server instead",
        .0.display()
    )]
    Forbidden(PathBuf),
    /// Not a store.
    #[error("{} is not a store of Portolan; name the file that the server's DB_PATH names", .0.display())]
    Foreign(PathBuf),
    /// Another version's schema.
    #[error(
        "{} has schema {found}, and this version of Portolan reads {}; use a portolan of the server's version",
        .path.display(), schema::NEWEST
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
    },
    /// Its server was killed, and the index of its write-ahead log is gone.
    #[error("{} was not closed cleanly and has to be recovered; start the server", .0.display())]
    Unclean(PathBuf),
    /// The path names another file.
    #[error("the file was replaced")]
    Replaced,
    /// SQLite failed.
    #[error("{} could not be read: {source}", .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
}

impl ReaderError {
    pub(in crate::store) fn of(path: &Path, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::Foreign(path.to_owned()),
            Some(ErrorCode::PermissionDenied) => Self::Forbidden(path.to_owned()),
            _ => Self::Sqlite { path: path.to_owned(), source },
        }
    }
}

/// What is compared to notice another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: (u64, u64),
    /// Size and time of change, if nobody has the file open.
    still: Option<(u64, i64, i64)>,
    /// The index of the write-ahead log, which a server that starts may create again.
    index: Option<u64>,
}

/// How a file was opened.
#[derive(Debug)]
pub(in crate::store) struct FileAccess(Identity);

impl FileAccess {
    /// Opens a file of the newest schema.
    pub(super) fn open(path: &Path) -> Result<(Connection, Self), ReaderError> {
        match Self::open_older(path)? {
            (db, access, schema::NEWEST) => Ok((db, access)),
            (_, _, found) => Err(ReaderError::Schema { path: path.to_owned(), found }),
        }
    }

    /// Opens a file that this version could also serve, and returns its schema, too.
    pub(in crate::store) fn open_older(path: &Path) -> Result<(Connection, Self, u32), ReaderError> {
        let identity = identify(path)?;
        for file in [path.to_owned(), suffixed(path, "-wal"), suffixed(path, "-shm")] {
            if rustix::fs::access(&file, Access::READ_OK) == Err(rustix::io::Errno::ACCESS) {
                return Err(ReaderError::Forbidden(file));
            }
        }
        let how = if identity.index.is_some() { "readonly_shm=1" } else { "immutable=1" };
        let db = connect(path, how).map_err(|error| ReaderError::of(path, error))?;
        match described(&db).map_err(|error| ReaderError::of(path, error))? {
            (schema::APPLICATION_ID, found @ 0..=schema::NEWEST) => Ok((db, Self(identity), found)),
            (schema::APPLICATION_ID, found) => Err(ReaderError::Schema { path: path.to_owned(), found }),
            _ => Err(ReaderError::Foreign(path.to_owned())),
        }
    }

    /// Whether the path still names that file, to be opened in the same way.
    pub(in crate::store) fn is_current(&self, path: &Path) -> bool {
        identify(path).is_ok_and(|found| found == self.0)
    }
}

/// The absolute path with links followed: the companions lie beside the file itself.
pub(in crate::store) fn whole(path: &Path) -> Result<PathBuf, ReaderError> {
    std::fs::canonicalize(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ReaderError::Forbidden(path.to_owned()),
        _ => ReaderError::Missing(path.to_owned()),
    })
}

fn identify(path: &Path) -> Result<Identity, ReaderError> {
    let about = |path: &Path| match std::fs::metadata(path) {
        Ok(about) => Ok(Some(about)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(ReaderError::Forbidden(path.to_owned())),
        Err(_) => Err(ReaderError::Missing(path.to_owned())),
    };
    let file = about(path)?.ok_or_else(|| ReaderError::Missing(path.to_owned()))?;
    if !file.is_file() {
        return Err(ReaderError::Foreign(path.to_owned()));
    }
    let log = about(&suffixed(path, "-wal"))?;
    let index = about(&suffixed(path, "-shm"))?.filter(|_| log.is_some());
    if index.is_none() && log.is_some_and(|log| log.len() > 0) {
        return Err(ReaderError::Unclean(path.to_owned()));
    }
    let still = index.is_none().then(|| (file.len(), file.mtime(), file.mtime_nsec()));
    Ok(Identity { inode: (file.dev(), file.ino()), still, index: index.as_ref().map(Metadata::ino) })
}

fn connect(path: &Path, how: &str) -> rusqlite::Result<Connection> {
    let url = url::Url::from_file_path(path).map_err(|()| rusqlite::Error::InvalidPath(path.to_owned()))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(format!("{url}?{how}"), flags)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "cache_size", -1_024)?;
    Ok(db)
}

/// The `application_id` and the schema.
fn described(db: &Connection) -> rusqlite::Result<(u32, u32)> {
    let id = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    Ok((id, schema::version(db)?))
}
