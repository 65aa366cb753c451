//! Distinguishes a damaged file from a failing system, and sets it aside.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use rustix::fs::{Access, StatVfsMountFlags};

use super::paths::{COMPANIONS, suffixed};
use crate::model::ports::WriteError;
use crate::store::error::OpenError;
use crate::store::schema::codec::is_content;

/// Why a file could not be loaded.
pub(crate) enum LoadError {
    /// Its content is not what Portolan wrote.
    Damaged(String),
    /// Its pages are not what SQLite wrote; some may be readable.
    Broken(String),
    /// A sound mirror that cannot be used here.
    Unfit(AsideReason, String),
    /// It cannot be written, but perhaps read without writing anything.
    NotWritable(WriteError, Box<OpenError>),
    /// Anything else: the file may be fine.
    Other(OpenError),
}

/// Why a file is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AsideReason {
    /// It is damaged.
    Corrupt,
    /// It is a sound mirror of another line of revisions.
    OtherCluster,
    /// It is a sound mirror of a newer version of Portolan.
    Newer,
}

impl AsideReason {
    /// Its part of the new file name.
    fn label(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::OtherCluster => "other-cluster",
            Self::Newer => "newer",
        }
    }
}

impl LoadError {
    /// The error for a file that was created a moment ago.
    pub(crate) fn in_new_file(self, path: &Path) -> OpenError {
        match self {
            Self::Other(error) => error,
            Self::NotWritable(_, error) => *error,
            Self::Damaged(detail) | Self::Broken(detail) | Self::Unfit(_, detail) => {
                OpenError::BadDisk { path: path.to_owned(), detail }
            }
        }
    }
}

/// Classifies an error of SQLite at load.
pub(crate) fn load_error(path: &Path, error: rusqlite::Error) -> LoadError {
    // A damaged byte can give a row another's name, and then no index can be built.
    if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::ConstraintViolation)) {
        return LoadError::Broken(error.to_string());
    }
    if is_damage(&error) {
        return LoadError::Damaged(error.to_string());
    }
    let path = path.to_owned();
    match write_obstacle(&path, &error) {
        Some(WriteError::DiskFull) => LoadError::NotWritable(WriteError::DiskFull, Box::new(OpenError::DiskFull(path))),
        Some(WriteError::Locked) => LoadError::NotWritable(WriteError::Locked, Box::new(OpenError::Locked(path))),
        Some(why) => {
            LoadError::NotWritable(why, Box::new(OpenError::Unreadable { path, source: std::io::Error::other(error) }))
        }
        None => LoadError::Other(OpenError::Sqlite { path, source: error }),
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

/// What keeps a sound file from being written, if that is known.
fn write_obstacle(path: &Path, error: &rusqlite::Error) -> Option<WriteError> {
    /// How SQLite reports a full disk for the index of the write-ahead log, which is a mapped file
    /// ([`SQLITE_IOERR_SHMSIZE`](https://www.sqlite.org/rescode.html#ioerr_shmsize)).
    const SHM_SIZE: i32 = 0x130a;
    let error = error.sqlite_error()?;
    match error.code {
        ErrorCode::DiskFull => Some(WriteError::DiskFull),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
            Some(WriteError::Locked)
        }
        _ if error.extended_code == SHM_SIZE => Some(WriteError::DiskFull),
        // A companion file cannot be created; only the file system knows whether space or permission is missing.
        ErrorCode::CannotOpen => Some(disk_state(path).unwrap_or(WriteError::ReadOnly)),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Some(WriteError::ReadOnly),
        ErrorCode::SystemIoFailure => disk_state(path),
        _ => None,
    }
}

/// Whether this process may write the file.
pub(crate) fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, Access::WRITE_OK).is_ok()
}

/// What the file system reports.
fn disk_state(path: &Path) -> Option<WriteError> {
    let about = rustix::fs::statvfs(path).ok()?;
    if about.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Some(WriteError::ReadOnly);
    }
    // A file system without inodes reports 0 of 0.
    let full = about.f_bavail == 0 || about.f_favail == 0 && about.f_files > 0;
    full.then_some(WriteError::DiskFull)
}

/// The answer to the callers of a failed batch.
pub(crate) fn write_error(path: &Path, error: &rusqlite::Error) -> WriteError {
    write_obstacle(path, error).unwrap_or_else(|| WriteError::Store(error.to_string()))
}

/// Renames the file and its companions to `<db>.corrupt-<time>…`, so that SQLite's own tools can still open them together.
pub(crate) fn set_aside(path: &Path, detail: &str) -> Result<PathBuf, OpenError> {
    set_aside_as(AsideReason::Corrupt, path, detail)
}

/// The same with another label than `corrupt`.
pub(crate) fn set_aside_as(what: AsideReason, path: &Path, detail: &str) -> Result<PathBuf, OpenError> {
    move_away(what, path, &["-wal", "-shm", "-journal", ""], detail)
}

/// Renames only the companions.
pub(crate) fn set_log_aside(path: &Path, detail: &str) -> Result<PathBuf, OpenError> {
    move_away(AsideReason::Corrupt, path, &COMPANIONS, detail)
}

fn move_away(what: AsideReason, path: &Path, suffixes: &[&str], detail: &str) -> Result<PathBuf, OpenError> {
    let (label, stamp) = (what.label(), jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    let plain = suffixed(path, &format!(".{label}-{stamp}"));
    let numbered = (2_u32..).map(|n| suffixed(path, &format!(".{label}-{stamp}-{n}")));
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
