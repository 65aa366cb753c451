//! Making a file: aside, then renamed, so that a crash leaves either none or a whole one. Nothing is ever deleted.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::damage::{COMPANIONS, fault, set_aside};
use super::error::OpenError;
use super::lock::{cannot_create, lock_new, suffixed};
use super::open::connect;
use super::schema;

/// Makes the file; returns it locked.
pub(super) fn create(path: &Path) -> Result<Option<File>, OpenError> {
    if COMPANIONS.iter().any(|suffix| suffixed(path, suffix).exists()) {
        // The write-ahead log of a file that was taken away would be played into the new one.
        let aside = set_aside(path, "its file is gone")?;
        tracing::warn!("what was left beside {} was set aside as {}-*", path.display(), aside.display());
    }
    let fresh = suffixed(path, ".new");
    remove(&fresh);
    make(&fresh, path).inspect_err(|_| remove(&fresh))
}

/// Removes what a crash or an error left of a file in the making; nobody has ever used it.
fn remove(fresh: &Path) {
    for suffix in COMPANIONS.iter().chain(&[""]) {
        // It is mostly not there; what cannot be removed is found again when the file is made.
        drop(std::fs::remove_file(suffixed(fresh, suffix)));
    }
}

fn make(fresh: &Path, path: &Path) -> Result<Option<File>, OpenError> {
    let io_error = |source| cannot_create(path.to_owned(), source);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(fresh).map_err(io_error)?;
    // Whatever the umask: a group may read it, from another process too.
    file.set_permissions(Permissions::from_mode(0o640)).map_err(io_error)?;
    fill(fresh).map_err(|error| fault(path, error).in_new_file(path))?;
    file.sync_all().map_err(io_error)?;
    // Locked before it can be found.
    let locked = lock_new(file).map_err(io_error)?;
    std::fs::rename(fresh, path).map_err(io_error)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error)?;
    Ok(locked)
}

fn fill(path: &Path) -> rusqlite::Result<()> {
    let mut db = connect(path)?;
    schema::migrate(&mut db)?;
    db.pragma_update(None, "journal_mode", "wal")
}
