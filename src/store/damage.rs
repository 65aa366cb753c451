//! Telling a damaged file from a failing system, and setting it aside.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::error::OpenError;
use super::lock::suffixed;
use crate::model::ports::WriteError;

/// Why a file could not be loaded.
pub(super) enum Fault {
    /// Its content is not what Portolan wrote.
    Damaged(String),
    /// Anything else: the file may be fine.
    Other(OpenError),
}

impl Fault {
    /// As an error, for a file that was made a moment ago.
    pub(super) fn in_new_file(self, path: &Path) -> OpenError {
        match self {
            Self::Other(error) => error,
            Self::Damaged(detail) => OpenError::BadDisk { path: path.to_owned(), detail },
        }
    }
}

/// Sorts SQLite's errors at load.
pub(super) fn fault(path: &Path, error: rusqlite::Error) -> Fault {
    use rusqlite::Error as E;
    let damaged = match &error {
        E::SqliteFailure(e, _) => {
            matches!(e.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown)
        }
        E::SqlInputError { .. } | E::InvalidColumnName(_) | E::QueryReturnedNoRows => true,
        error => is_content(error),
    };
    match error {
        error if damaged => Fault::Damaged(error.to_string()),
        error if is_disk_full(&error) => Fault::Other(OpenError::DiskFull(path.to_owned())),
        error if is_forbidden(&error) => {
            let source = std::io::Error::other(error);
            Fault::Other(OpenError::Unreadable { path: path.to_owned(), source })
        }
        source => Fault::Other(OpenError::Sqlite { path: path.to_owned(), source }),
    }
}

/// Whether it is about what one column of one row holds.
pub(super) fn is_content(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    matches!(error, E::FromSqlConversionFailure(..) | E::InvalidColumnType(..) | E::IntegralValueOutOfRange(..))
}

/// Whether permissions are in the way: of the file, or of its folder, where the write-ahead log has to be made.
fn is_forbidden(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied))
}

/// Whether the disk is full. The index of the write-ahead log, a mapped file, says it in its own way
/// ([`SQLITE_IOERR_SHMSIZE`](https://www.sqlite.org/rescode.html#ioerr_shmsize)).
fn is_disk_full(error: &rusqlite::Error) -> bool {
    const SHM_SIZE: i32 = 0x130a;
    let error = error.sqlite_error();
    error.is_some_and(|e| e.code == ErrorCode::DiskFull || e.extended_code == SHM_SIZE)
}

/// What the waiters of a failed batch hear.
pub(super) fn write_error(error: &rusqlite::Error) -> WriteError {
    if is_disk_full(error) { WriteError::DiskFull } else { WriteError::Store(error.to_string()) }
}

/// What SQLite keeps beside a file.
pub(super) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Renames the file and its companions to `<db>.corrupt-<time>…`, so that SQLite's own tools can still open them together.
pub(super) fn set_aside(path: &Path, detail: &str) -> Result<PathBuf, OpenError> {
    let stamp = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let plain = suffixed(path, &format!(".corrupt-{stamp}"));
    let numbered = (2_u32..).map(|n| suffixed(path, &format!(".corrupt-{stamp}-{n}")));
    let is_free = |aside: &PathBuf| ["", "-wal"].iter().all(|suffix| !suffixed(aside, suffix).exists());
    let aside = std::iter::once(plain.clone()).chain(numbered).find(is_free).unwrap_or(plain);
    for suffix in COMPANIONS.iter().chain(&[""]) {
        match std::fs::rename(suffixed(path, suffix), suffixed(&aside, suffix)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(OpenError::SetAside { path: path.to_owned(), detail: detail.to_owned(), source });
            }
            _ => {}
        }
    }
    Ok(aside)
}
