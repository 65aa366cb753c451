//! One server a file: a lock on `<db>.lock`, which also proves the last revision.
//!
//! The lock file tells a person who holds it, and repeats the newest committed revision. At the next start the file's
//! line of revisions goes on only if both files name the same run and the database is not behind: a restored backup,
//! a copy without its lock file or a database made anew fails that, and gets a new epoch. A power cut, or a write that
//! fails with a warning, may leave the lock file behind the database, never ahead of it: a sound database passes all the
//! same, but one set back to a revision in between would pass too.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::OpenError;

/// What the lock file says of the database beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proof {
    /// The random word of the server run that wrote it.
    pub(super) run: String,
    /// The newest revision committed then.
    pub(super) revision: u64,
}

/// The lock, held until dropped.
#[derive(Debug)]
pub(super) struct FileLock(File);

impl FileLock {
    /// Takes the lock of `db`, and returns what the lock file said. A file of several names would have a lock for each.
    pub(super) fn acquire(db: &Path) -> Result<(Self, Option<Proof>), OpenError> {
        // One that cannot be looked at is one that cannot be opened.
        if std::fs::metadata(db).is_ok_and(|about| about.nlink() > 1) {
            return Err(OpenError::HardLinked(db.to_owned()));
        }
        let path = suffixed(db, ".lock");
        let mut open = OpenOptions::new();
        let file = open.read(true).write(true).create(true).truncate(false).mode(0o640).open(&path);
        let mut file = file.map_err(|source| cannot_create(path, source))?;
        match patiently(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { path: db.to_owned(), pid: field(&text(&mut file), "pid") });
            }
            Err(TryLockError::Error(source)) => return Err(OpenError::Unreadable { path: db.to_owned(), source }),
        }
        let text = text(&mut file);
        let proof = field(&text, "run").zip(field(&text, "revision")).map(|(run, revision)| Proof { run, revision });
        Ok((Self(file), proof))
    }

    /// Writes `proof` in place: always the same length, so a full disk does not matter.
    pub(super) fn record(&self, proof: &Proof) -> io::Result<()> {
        let Proof { run, revision } = proof;
        let text = format!("pid {:>10}\nrun {run:>16}\nrevision {revision:>20}\n", std::process::id());
        self.0.write_all_at(text.as_bytes(), 0)
    }
}

/// Takes the lock. Who only asks whether it is held has it for microseconds, so one refusal is not believed.
fn patiently(file: &File) -> Result<(), TryLockError> {
    for _ in 0..3 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            ended => return ended,
        }
    }
    file.try_lock()
}

/// Whether a server holds the lock of `db`; one whose lock file cannot be opened is taken to be there.
pub(super) fn is_held(db: &Path) -> bool {
    match File::open(suffixed(db, ".lock")) {
        Ok(file) => matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// `path` with `suffix` behind its name.
pub(super) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The error for a file that could not be made.
pub(super) fn cannot_create(path: PathBuf, source: io::Error) -> OpenError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::DiskFull(path),
        _ => OpenError::FolderReadOnly { path, source },
    }
}

/// The file's text; an unreadable one proves nothing, as does an empty one.
fn text(file: &mut File) -> String {
    let mut text = String::new();
    match file.take(4096).read_to_string(&mut text) {
        Ok(_) => text,
        Err(_) => String::new(),
    }
}

fn field<T: std::str::FromStr>(text: &str, name: &str) -> Option<T> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}
