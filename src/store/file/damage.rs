//! Telling a damaged file from a failing system, and setting it aside.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rustix::fs::{Access, StatVfsMountFlags};

use super::paths::{COMPANIONS, suffixed};
use crate::model::ports::WriteError;
use crate::store::error::OpenError;
use crate::store::schema::codec::is_content;

/// Why a file could not be loaded.
pub(in crate::store) enum Fault {
    /// Its content is not what Portolan wrote.
    Damaged(String),
    /// Its pages are not what SQLite wrote: some may be readable.
    Broken(String),
    /// A mirror that is sound, and of no use here.
    Unfit(Aside, String),
    /// It may be read where nothing has to be written for that.
    Hindered(WriteError, Box<OpenError>),
    /// Anything else: the file may be fine.
    Other(OpenError),
}

/// As what a file is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Aside {
    /// Damaged, or not what it should be.
    Corrupt,
    /// A sound mirror of another line of revisions.
    OtherCluster,
    /// A sound mirror of a newer version of Portolan.
    Newer,
}

impl Aside {
    /// The word in its new name.
    fn word(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::OtherCluster => "other-cluster",
            Self::Newer => "newer",
        }
    }
}

impl Fault {
    /// As an error, for a file that was made a moment ago.
    pub(in crate::store) fn in_new_file(self, path: &Path) -> OpenError {
        match self {
            Self::Other(error) => error,
            Self::Hindered(_, error) => *error,
            Self::Damaged(detail) | Self::Broken(detail) | Self::Unfit(_, detail) => {
                OpenError::BadDisk { path: path.to_owned(), detail }
            }
        }
    }
}

/// Sorts SQLite's errors at load.
pub(in crate::store) fn fault(path: &Path, error: rusqlite::Error) -> Fault {
    if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) {
        return Fault::Broken(error.to_string());
    }
    if is_damage(&error) {
        return Fault::Damaged(error.to_string());
    }
    let path = path.to_owned();
    match hindrance(&path, &error) {
        Some(WriteError::DiskFull) => Fault::Hindered(WriteError::DiskFull, Box::new(OpenError::DiskFull(path))),
        Some(WriteError::Locked) => Fault::Hindered(WriteError::Locked, Box::new(OpenError::Locked(path))),
        Some(why) => {
            Fault::Hindered(why, Box::new(OpenError::Unreadable { path, source: std::io::Error::other(error) }))
        }
        None => Fault::Other(OpenError::Sqlite { path, source: error }),
    }
}

/// Whether the file, or a row of it, is not as Portolan wrote it.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    match error {
        E::SqliteFailure(e, _) => {
            matches!(e.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
        }
        E::SqlInputError { .. } | E::InvalidColumnName(_) | E::QueryReturnedNoRows => true,
        error => is_content(error),
    }
}

/// What keeps a sound file from being written, where that is known.
fn hindrance(path: &Path, error: &rusqlite::Error) -> Option<WriteError> {
    /// The index of the write-ahead log, a mapped file, says in its own way that the disk is full
    /// ([`SQLITE_IOERR_SHMSIZE`](https://www.sqlite.org/rescode.html#ioerr_shmsize)).
    const SHM_SIZE: i32 = 0x130a;
    let error = error.sqlite_error()?;
    match error.code {
        ErrorCode::DiskFull => Some(WriteError::DiskFull),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            Some(WriteError::Locked)
        }
        _ if error.extended_code == SHM_SIZE => Some(WriteError::DiskFull),
        // A companion that cannot be made: whether for want of space or of permission, only the file system tells.
        ErrorCode::CannotOpen => Some(of_disk(path).unwrap_or(WriteError::ReadOnly)),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Some(WriteError::ReadOnly),
        ErrorCode::SystemIoFailure => of_disk(path),
        _ => None,
    }
}

/// Whether this process may write the file.
pub(in crate::store) fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, Access::WRITE_OK).is_ok()
}

/// What the file system says of itself.
fn of_disk(path: &Path) -> Option<WriteError> {
    let about = rustix::fs::statvfs(path).ok()?;
    if about.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Some(WriteError::ReadOnly);
    }
    // A file system without inodes of its own counts none at all.
    let full = about.f_bavail == 0 || about.f_favail == 0 && about.f_files > 0;
    full.then_some(WriteError::DiskFull)
}

/// What the waiters of a failed batch hear.
pub(in crate::store) fn write_error(path: &Path, error: &rusqlite::Error) -> WriteError {
    hindrance(path, error).unwrap_or_else(|| WriteError::Store(error.to_string()))
}

/// Renames the file and its companions to `<db>.corrupt-<time>…`, so that SQLite's own tools can still open them together.
pub(in crate::store) fn set_aside(path: &Path, detail: &str) -> Result<PathBuf, OpenError> {
    set_aside_as(Aside::Corrupt, path, detail)
}

/// The same under another word than `corrupt`.
pub(in crate::store) fn set_aside_as(what: Aside, path: &Path, detail: &str) -> Result<PathBuf, OpenError> {
    move_away(what, path, &["-wal", "-shm", "-journal", ""], detail)
}

/// Renames the companions alone.
pub(in crate::store) fn set_log_aside(path: &Path, detail: &str) -> Result<PathBuf, OpenError> {
    move_away(Aside::Corrupt, path, &COMPANIONS, detail)
}

fn move_away(what: Aside, path: &Path, suffixes: &[&str], detail: &str) -> Result<PathBuf, OpenError> {
    let (word, stamp) = (what.word(), jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    let plain = suffixed(path, &format!(".{word}-{stamp}"));
    let numbered = (2_u32..).map(|n| suffixed(path, &format!(".{word}-{stamp}-{n}")));
    let is_free = |aside: &PathBuf| ["", "-wal"].iter().all(|suffix| !suffixed(aside, suffix).exists());
    let aside = std::iter::once(plain.clone()).chain(numbered).find(is_free).unwrap_or(plain);
    for suffix in suffixes {
        match std::fs::rename(suffixed(path, suffix), suffixed(&aside, suffix)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(OpenError::SetAside { path: path.to_owned(), detail: detail.to_owned(), source });
            }
            _ => {}
        }
    }
    Ok(aside)
}
