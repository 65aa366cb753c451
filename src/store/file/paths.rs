//! The names of the files beside the database.

use std::path::{Path, PathBuf};

/// Suffixes of the files that SQLite keeps beside a database.
pub(in crate::store) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// `path` with `suffix` appended to its name.
pub(in crate::store) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
