//! One server per file: a lock on the database's own inode, and a file `<db>.lock` beside it that proves the last revision.
//!
//! The lock is a `flock` on the database itself, so it covers every name of the file: links, bind mounts, a second container. On
//! Linux it is independent of the POSIX locks that SQLite uses between connections. Closing *any* descriptor of a file drops this
//! process's POSIX locks on it, so the locked descriptor stays open until SQLite's connections are closed. On a network file system
//! (NFS, SMB) Linux turns `flock` into a byte-range lock over the whole file, which would shut SQLite out; other systems do that on
//! every file system. There only the lock file is locked, and an alias of the database goes unnoticed.
//!
//! The lock file is locked too, which keeps older versions out. It names the holder and repeats the newest committed revision. The
//! next start continues the line of revisions only if both files name the same run and the database is not behind. A copy without its
//! lock file, or a restored backup, gets a new epoch; a database that is behind its own run has lost commits, and so has one that is behind
//! a run which only its write-ahead log named. A power cut, or a write that fails with a warning, may leave the lock file behind the
//! database, never ahead of it. Before a run's first commit the lock file names that run as well, so it knows every run that the database
//! can name, whenever the start is cut off.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use super::paths::suffixed;
use crate::store::error::OpenError;

/// How often, and how long apart, a lock that is held is looked at again.
const LOOKS: u32 = 50;
const LOOK: Duration = Duration::from_millis(20);

/// What the lock file says about the database beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    /// The random name of the server run that wrote it.
    pub(crate) run: String,
    /// The newest revision committed then.
    pub(crate) revision: u64,
    /// The run that the database file names without its write-ahead log; none if that is uncertain.
    pub(crate) base: Option<String>,
    /// The run that was about to begin; none once it has begun.
    pub(crate) next: Option<String>,
}

/// The lock, held until dropped.
#[derive(Debug)]
pub(crate) struct FileLock {
    /// The locked database; none where a lock would shut SQLite out.
    database: Option<File>,
    beside: Beside,
    path: PathBuf,
    /// As last read or written.
    proof: Option<Proof>,
}

/// The lock file.
#[derive(Debug)]
enum Beside {
    Writable(File),
    ReadOnly(File),
    /// It does not exist and cannot be created: a full or read-only disk.
    Absent,
}

impl FileLock {
    /// Locks `db`, and returns what the lock file says. If there is a database to serve, a lock file that cannot be created or written
    /// does not prevent that.
    pub(crate) fn acquire(db: &Path) -> Result<(Self, Option<Proof>), OpenError> {
        let path = suffixed(db, ".lock");
        let about = std::fs::metadata(db).ok();
        // The write-ahead log lies beside one of the names; under the other name its content would be missing.
        if about.as_ref().is_some_and(|about| about.nlink() > 1) {
            return Err(OpenError::HardLinked(db.to_owned()));
        }
        let database = if about.is_some() { lock_inode(db, &path)? } else { None };
        let beside = match beside(&path) {
            Err(error) if is_link(&path, &error) => return Err(OpenError::PlantedLink(path)),
            Err(error) if about.is_none() => return Err(OpenError::cannot_create(path, error)),
            Err(error) => {
                tracing::warn!("{} cannot be created: {error}", path.display());
                Beside::Absent
            }
            Ok(beside) => beside,
        };
        let mut content = String::new();
        if let Beside::Writable(file) | Beside::ReadOnly(file) = &beside {
            content = text(file);
            take(file, db, &content)?;
        }
        let proof = Proof::read(&content);
        Ok((Self { database, beside, path, proof: proof.clone() }, proof))
    }

    /// Takes over the lock of a database that was just created in place of another.
    pub(crate) fn adopt(&mut self, database: Option<File>) {
        self.database = database;
        if let Some(proof) = &mut self.proof {
            (proof.base, proof.next) = (None, None);
        }
    }

    /// Announces the run `next` durably, before its first commit. `base` is the run that the database file names, if that survives a power
    /// cut. The proof stays.
    pub(crate) fn announce(&mut self, next: &str, base: Option<&str>) -> io::Result<()> {
        let (run, revision) = self.proof.take().map(|proof| (proof.run, proof.revision)).unwrap_or_default();
        let (base, next) = (base.map(str::to_owned), Some(next.to_owned()));
        self.proof = Some(Proof { run, revision, base, next });
        self.hold()
    }

    /// Records a commit of `run`, which has begun. As long as the commit is only in the log, the database file names the run that it named
    /// before.
    pub(crate) fn record(&mut self, run: &str, revision: u64, in_file: bool) -> io::Result<()> {
        let base = if in_file { Some(run.to_owned()) } else { self.proof.take().and_then(|proof| proof.base) };
        self.proof = Some(Proof { run: run.to_owned(), revision, base, next: None });
        self.write()
    }

    /// Names this process as the holder, durably. The proof stays.
    pub(crate) fn hold(&mut self) -> io::Result<()> {
        self.write()?;
        self.sync()
    }

    /// Writes in place. The length is always the same, so a full disk does not matter.
    fn write(&mut self) -> io::Result<()> {
        let Some(proof) = &self.proof else { return Ok(()) };
        let text = proof.text();
        self.writable()?.write_all_at(text.as_bytes(), 0)
    }

    /// Makes the record survive a power cut.
    pub(crate) fn sync(&self) -> io::Result<()> {
        match &self.beside {
            Beside::Writable(file) => file.sync_data(),
            Beside::ReadOnly(_) | Beside::Absent => Ok(()),
        }
    }

    /// The lock file, opened again if it could not be written at the start.
    fn writable(&mut self) -> io::Result<&File> {
        if !matches!(self.beside, Beside::Writable(_)) {
            self.beside = Beside::Absent;
            self.beside = beside(&self.path)?;
            if let Beside::Writable(file) | Beside::ReadOnly(file) = &self.beside {
                file.try_lock()?;
            }
        }
        match &self.beside {
            Beside::Writable(file) => Ok(file),
            _ => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

impl Proof {
    fn read(text: &str) -> Option<Self> {
        let (run, revision) = field(text, "run").zip(field(text, "revision"))?;
        let other = |name| field(text, name).filter(|run: &String| !run.is_empty());
        Some(Self { run, revision, base: other("file"), next: other("next") })
    }

    /// Fits one disk sector, so that a power cut leaves all of it or nothing.
    fn text(&self) -> String {
        let Self { run, revision, base, next } = self;
        let (base, next) = (base.as_deref().unwrap_or_default(), next.as_deref().unwrap_or_default());
        let pid = std::process::id();
        format!("pid {pid:>10}\nrun {run:>16}\nrevision {revision:>20}\nfile {base:>16}\nnext {next:>16}\n")
    }

    /// Whether it names that run: the last one proved, the file's own, or the one that was about to begin.
    pub(crate) fn names(&self, run: &str) -> bool {
        self.run == run || [&self.base, &self.next].into_iter().any(|named| named.as_deref() == Some(run))
    }

    /// What the lock file of `db` says, read without locking it.
    pub(crate) fn peek(db: &Path) -> Option<Self> {
        let file = OpenOptions::new().read(true).custom_flags(no_follow()).open(suffixed(db, ".lock")).ok()?;
        Self::read(&text(&file))
    }
}

/// Locks the database itself.
fn lock_inode(db: &Path, beside: &Path) -> Result<Option<File>, OpenError> {
    let unreadable = |source| OpenError::Unreadable { path: db.to_owned(), source };
    let file = File::open(db).map_err(unreadable)?;
    if !is_lockable(&file) {
        return Ok(None);
    }
    let holder = OpenOptions::new().read(true).custom_flags(no_follow()).open(beside);
    // An alias has another lock file or none; only a locked one names the holder.
    let content = holder.ok().filter(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)));
    let content = content.map(|file| text(&file)).unwrap_or_default();
    take(&file, db, &content)?;
    let (opened, named) = (file.metadata().map_err(unreadable)?, std::fs::metadata(db).map_err(unreadable)?);
    if (opened.dev(), opened.ino()) == (named.dev(), named.ino()) {
        return Ok(Some(file));
    }
    Err(unreadable(io::Error::other("it was replaced while it was being opened; start again")))
}

/// Locks a database that only this process knows.
pub(crate) fn lock_new(file: File) -> io::Result<Option<File>> {
    if is_lockable(&file) {
        file.try_lock()?;
        return Ok(Some(file));
    }
    Ok(None)
}

/// Whether `flock` is independent of SQLite's locks on this file.
#[cfg(target_os = "linux")]
fn is_lockable(file: &File) -> bool {
    /// `statfs` numbers of NFS, SMB, CIFS, SMB2 and Lustre ([statfs(2)](https://man7.org/linux/man-pages/man2/statfs.2.html)).
    const REMOTE: [i128; 5] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x0bd0_0bd0];
    rustix::fs::fstatfs(file).is_ok_and(|about| !REMOTE.contains(&(i128::from(about.f_type) & 0xffff_ffff)))
}

#[cfg(not(target_os = "linux"))]
fn is_lockable(_: &File) -> bool {
    false
}

/// Opens or creates the lock file. A link in its place is not followed, and only a plain file with a single name is written.
fn beside(path: &Path) -> io::Result<Beside> {
    let open = |write: bool| {
        let mut open = OpenOptions::new();
        open.read(true).write(write).create(write).truncate(false).mode(0o640).custom_flags(no_follow()).open(path)
    };
    let is_new = std::fs::symlink_metadata(path).is_err();
    let (file, writable) = match open(true) {
        Ok(file) => (file, true),
        Err(error) => (open(false).map_err(|_| error)?, false),
    };
    let about = file.metadata()?;
    if !about.is_file() || about.nlink() > 1 {
        return Err(io::Error::other("it is not a plain file with a single name"));
    }
    if is_new {
        // Regardless of the umask: the group may read who holds the lock.
        file.set_permissions(Permissions::from_mode(0o640))?;
    }
    Ok(if writable { Beside::Writable(file) } else { Beside::ReadOnly(file) })
}

/// Does not follow a link, and does not wait for the other end of a pipe.
fn no_follow() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

/// Whether something else than a plain file lies in the lock file's place.
fn is_link(path: &Path, error: &io::Error) -> bool {
    let plain = |about: std::fs::Metadata| about.is_file() && about.nlink() == 1;
    error.kind() != io::ErrorKind::NotFound && std::fs::symlink_metadata(path).is_ok_and(|about| !plain(about))
}

/// Locks `file` for the server of `db`.
fn take(file: &File, db: &Path, content: &str) -> Result<(), OpenError> {
    match patiently(file) {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: db.to_owned(), pid: field(content, "pid") }),
        Err(TryLockError::Error(source)) => Err(OpenError::Unreadable { path: db.to_owned(), source }),
    }
}

/// Takes the lock. Somebody who only tests it, or a child that this process has forked and that has not yet become another program, holds
/// it for a moment, which on a busy machine can last long. So it counts as held only after a second.
fn patiently(file: &File) -> Result<(), TryLockError> {
    for _ in 0..LOOKS {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK),
            ended => return ended,
        }
    }
    file.try_lock()
}

/// Whether a server holds the lock of `db`; if the lock file cannot be opened, it is assumed to. The database itself is not opened for
/// this, because closing it would drop the locks of a reader in this process.
pub(crate) fn is_held(db: &Path) -> bool {
    match OpenOptions::new().read(true).custom_flags(no_follow()).open(suffixed(db, ".lock")) {
        Ok(file) => matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// The file's text, empty if it cannot be read.
fn text(file: &File) -> String {
    let mut text = String::new();
    match file.take(4096).read_to_string(&mut text) {
        Ok(_) => text,
        Err(_) => String::new(),
    }
}

fn field<T: std::str::FromStr>(text: &str, name: &str) -> Option<T> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}
