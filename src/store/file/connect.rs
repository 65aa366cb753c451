//! Connections to the database, each for one purpose.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::paths::suffixed;

/// How long a write waits for another program's lock before it fails.
const BUSY: Duration = Duration::from_secs(1);

/// Whether the reader's thread may open the file normally. Held while either thread opens or closes a connection that takes no part in
/// SQLite's locks: closing one drops the locks of the others.
pub(crate) type Gate = Arc<Mutex<bool>>;

/// For the writer.
pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    Ok(db)
}

/// A second connection, for history.
pub(crate) fn connect_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    Ok(db)
}

/// A connection that writes, creates and locks nothing: the index of the write-ahead log is kept in memory. It sees what was there when
/// it was opened, so use it for a file that nobody writes.
pub(crate) fn connect_aside(path: &Path) -> rusqlite::Result<Connection> {
    if !has_content(path, "-wal") {
        return alone(path);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags_and_vfs(path, flags, "unix-none")?;
    // It assumes that it alone uses the log, and must not checkpoint it.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    db.pragma_update(None, "locking_mode", "exclusive")?;
    Ok(db)
}

/// The file without its write-ahead log; nothing is locked, created or changed.
pub(crate) fn alone(path: &Path) -> rusqlite::Result<Connection> {
    let url = url::Url::from_file_path(path).map_err(|()| rusqlite::Error::InvalidPath(path.to_owned()))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(format!("{url}?immutable=1"), flags)
}

/// Whether the companion of `path` has any content.
pub(crate) fn has_content(path: &Path, suffix: &str) -> bool {
    std::fs::metadata(suffixed(path, suffix)).is_ok_and(|about| about.len() > 0)
}
