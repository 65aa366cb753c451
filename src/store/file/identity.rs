//! Whether the open files are still those at their paths: what is written into a deleted file is durable for nobody.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::paths::suffixed;
use crate::model::ports::WriteError;

/// The database and its write-ahead log, as they were found at the start. Once one is lost the place stays lost: what was committed in
/// between is unknown, so only a start that reads the file again can go on.
#[derive(Debug)]
pub(in crate::store) struct Place {
    files: Vec<(PathBuf, Option<Id>)>,
    lost: bool,
}

/// A file, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Id {
    device: u64,
    inode: u64,
}

impl Place {
    /// Of a database that was opened a moment ago.
    pub(in crate::store) fn of(db: &Path) -> io::Result<Self> {
        Self::at([db.to_owned(), suffixed(db, "-wal")])
    }

    /// Of a database that cannot be written yet: its log may still be made.
    pub(in crate::store) fn without_log(db: &Path) -> io::Result<Self> {
        Self::at([db.to_owned()])
    }

    fn at(files: impl IntoIterator<Item = PathBuf>) -> io::Result<Self> {
        let files = files.into_iter().map(|path| id(&path).map(|id| (path, id)));
        Ok(Self { files: files.collect::<io::Result<_>>()?, lost: false })
    }

    /// Takes in the log that was made since.
    ///
    /// # Errors
    /// [`WriteError::FileLost`] when the database is another one.
    pub(in crate::store) fn extend(&mut self, db: &Path) -> Result<(), WriteError> {
        self.check()?;
        match Self::of(db) {
            Ok(place) => *self = place,
            Err(_) => self.lost = true,
        }
        self.check()
    }

    /// Looks (three microseconds).
    ///
    /// # Errors
    /// [`WriteError::FileLost`], from the first time on.
    pub(in crate::store) fn check(&mut self) -> Result<(), WriteError> {
        // A path that cannot be looked at now proves nothing.
        self.lost = self.lost || self.files.iter().any(|(path, was)| id(path).is_ok_and(|is| is != *was));
        if self.lost { Err(WriteError::FileLost) } else { Ok(()) }
    }
}

/// None where nothing is.
fn id(path: &Path) -> io::Result<Option<Id>> {
    match std::fs::metadata(path) {
        Ok(about) => Ok(Some(Id { device: about.dev(), inode: about.ino() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
