//! Creates a file under another name and renames it, so that a crash leaves either no file or a whole one. Nothing is ever deleted.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::connect::{connect, connect_aside};
use super::damage::{load_error, set_aside};
use super::lock::lock_new;
use super::paths::{COMPANIONS, suffixed};
use super::salvage;
use crate::model::time::UnixMs;
use crate::store::error::OpenError;
use crate::store::schema;

/// Creates the file, and returns it locked.
pub(crate) fn create(path: &Path) -> Result<Option<File>, OpenError> {
    if COMPANIONS.iter().any(|suffix| suffixed(path, suffix).exists()) {
        // SQLite would apply the write-ahead log of the missing file to the new one.
        let aside = set_aside(path, "its file is gone")?;
        tracing::warn!("what was left beside {} was set aside as {}-*", path.display(), aside.display());
    }
    let fresh = suffixed(path, ".new");
    remove(&fresh);
    make(&fresh, path).inspect_err(|_| remove(&fresh))
}

/// Removes an unfinished file that a crash or an error left; nobody has ever used it.
fn remove(fresh: &Path) {
    for suffix in COMPANIONS.iter().chain(&[""]) {
        // Usually there is none; if it cannot be removed, creating the file fails and says so.
        drop(std::fs::remove_file(suffixed(fresh, suffix)));
    }
}

fn make(fresh: &Path, path: &Path) -> Result<Option<File>, OpenError> {
    let file = empty(fresh).map_err(|source| OpenError::cannot_create(path.to_owned(), source))?;
    let filled = connect(fresh).and_then(|mut db| {
        schema::migrate(&mut db)?;
        db.pragma_update(None, "journal_mode", "wal")
    });
    filled.map_err(|error| load_error(path, error).in_new_file(path))?;
    put(file, fresh, path).map_err(|source| OpenError::cannot_create(path.to_owned(), source))
}

/// An empty file with its final mode.
fn empty(fresh: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(fresh)?;
    // Regardless of the umask: the group may read it.
    file.set_permissions(Permissions::from_mode(0o640))?;
    Ok(file)
}

/// Moves the filled file to its path.
fn put(file: File, fresh: &Path, path: &Path) -> io::Result<Option<File>> {
    file.sync_all()?;
    // Locked before anybody can open it.
    let locked = lock_new(file)?;
    std::fs::rename(fresh, path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all())?;
    Ok(locked)
}

/// A file that was rebuilt from what can be read.
pub(crate) struct Rebuilt {
    pub(crate) locked: Option<File>,
    /// Registered rows that are missing.
    pub(crate) missing: u64,
    /// Where the damaged file is now.
    pub(crate) aside: PathBuf,
}

/// Copies what can be read of a damaged file into a new one at its path, and keeps the damaged one aside.
///
/// # Errors
/// Why it cannot be done; nothing was changed.
pub(crate) fn rebuild(path: &Path, detail: &str, now: UnixMs) -> Result<Rebuilt, String> {
    let fresh = suffixed(path, ".new");
    remove(&fresh);
    let copied = copy(path, &fresh, now).inspect_err(|_| remove(&fresh))?;
    let aside = set_aside(path, detail).map_err(|error| error.to_string())?;
    let locked =
        put(copied.0, &fresh, path).map_err(|error| format!("{} could not be renamed: {error}", fresh.display()))?;
    Ok(Rebuilt { locked, missing: copied.1, aside })
}

fn copy(path: &Path, fresh: &Path, now: UnixMs) -> Result<(File, u64), String> {
    let file = empty(fresh).map_err(|error| error.to_string())?;
    let of_sqlite = |error: rusqlite::Error| error.to_string();
    let mut to = connect(fresh).map_err(of_sqlite)?;
    schema::migrate(&mut to).map_err(of_sqlite)?;
    to.execute_batch("PRAGMA foreign_keys = 0; BEGIN").map_err(of_sqlite)?;
    let from = connect_aside(path).map_err(of_sqlite)?;
    let missing = salvage::copy(&from, &to, now)?;
    to.execute_batch("COMMIT; PRAGMA journal_mode = wal").map_err(of_sqlite)?;
    Ok((file, missing))
}
