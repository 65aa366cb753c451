//! Whether the open files are still those at their paths: what is written into a deleted file could never be read again.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::paths::suffixed;
use crate::model::ports::WriteError;

/// The database and its write-ahead log, as found at the start. Once one of them is lost, it stays lost: what was committed meanwhile
/// is unknown, so the server must start again and read the file.
#[derive(Debug)]
pub(crate) struct FileIdentity {
    files: Vec<(PathBuf, Option<Inode>)>,
    lost: bool,
}

/// Identifies a file whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inode {
    device: u64,
    inode: u64,
}

impl FileIdentity {
    /// For a database that was opened a moment ago.
    pub(crate) fn of(db: &Path) -> io::Result<Self> {
        Self::at([db.to_owned(), suffixed(db, "-wal")])
    }

    /// For a database that cannot be written yet: its log may still be created.
    pub(crate) fn without_log(db: &Path) -> io::Result<Self> {
        Self::at([db.to_owned()])
    }

    fn at(files: impl IntoIterator<Item = PathBuf>) -> io::Result<Self> {
        let files = files.into_iter().map(|path| inode(&path).map(|id| (path, id)));
        Ok(Self { files: files.collect::<io::Result<_>>()?, lost: false })
    }

    /// Adds the log that was created since.
    ///
    /// # Errors
    /// [`WriteError::FileLost`] when the database is another one.
    pub(crate) fn extend(&mut self, db: &Path) -> Result<(), WriteError> {
        self.check()?;
        match Self::of(db) {
            Ok(identity) => *self = identity,
            Err(_) => self.lost = true,
        }
        self.check()
    }

    /// Compares the files (3 µs).
    ///
    /// # Errors
    /// [`WriteError::FileLost`], also for every later call.
    pub(crate) fn check(&mut self) -> Result<(), WriteError> {
        // A path that cannot be read now proves nothing.
        self.lost = self.lost || self.files.iter().any(|(path, was)| inode(path).is_ok_and(|is| is != *was));
        if self.lost { Err(WriteError::FileLost) } else { Ok(()) }
    }
}

/// None if there is no file.
fn inode(path: &Path) -> io::Result<Option<Inode>> {
    match std::fs::metadata(path) {
        Ok(about) => Ok(Some(Inode { device: about.dev(), inode: about.ino() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
