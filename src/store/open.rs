//! Opening: nothing that is not Portolan's own is changed, and nothing is ever deleted.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::codec::{Count, Parsed};
use super::damage::{COMPANIONS, Fault, fault, set_aside};
use super::error::OpenError;
use super::load::{self, Kind, Meta, Registered};
use super::lock::{FileLock, Proof, cannot_create, suffixed};
use super::schema;
use crate::catalog::Epoch;
use crate::model::text;
use crate::model::time::UnixMs;

/// How long a statement waits for another process that reads the file.
const BUSY: Duration = Duration::from_secs(5);

/// What is to be opened.
pub(super) struct Wanted {
    /// The line of revisions that is mirrored; none where the file is the record itself.
    pub(super) epoch: Option<Epoch>,
    /// Whether a commit outlasts a power cut.
    pub(super) durable: bool,
    /// This moment, wall clock.
    pub(super) now: UnixMs,
}

/// An open file and what was in it.
pub(super) struct Loaded {
    pub(super) path: PathBuf,
    pub(super) lock: FileLock,
    pub(super) contents: Contents,
}

/// A connection, and what it found.
pub(super) struct Contents {
    pub(super) db: Connection,
    pub(super) meta: Meta,
    pub(super) registered: Registered,
    /// Rows of history.
    pub(super) remembered: u64,
}

/// What there is at the path.
pub(super) enum Found {
    Nothing,
    Ours,
}

/// Locks, creates or checks, and loads.
pub(super) fn open(path: &Path, wanted: &Wanted) -> Result<Loaded, OpenError> {
    let path = locate(path)?;
    // Looked at before the lock too: beside another program's file not even a lock file is left.
    inspect(&path)?;
    let (lock, proof) = FileLock::acquire(&path)?;
    if matches!(inspect(&path)?, Found::Nothing) {
        create(&path)?;
    }
    let contents = match load(&path, wanted, proof) {
        Ok(loaded) => loaded,
        Err(Fault::Other(error)) => return Err(error),
        Err(Fault::Damaged(detail)) => start_over(&path, wanted, &detail)?,
    };
    let proof = Proof { run: contents.meta.run.clone(), revision: contents.meta.revision };
    lock.record(&proof).map_err(|source| OpenError::Unreadable { path: suffixed(&path, ".lock"), source })?;
    Ok(Loaded { path, lock, contents })
}

/// The whole path with links followed, in a folder that is there.
fn locate(path: &Path) -> Result<PathBuf, OpenError> {
    let name = path.file_name().ok_or_else(|| OpenError::NotAFile(path.to_owned()))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let missing = || OpenError::FolderMissing(folder.to_owned());
    let whole = std::fs::canonicalize(folder).ok().filter(|folder| folder.is_dir()).ok_or_else(missing)?.join(name);
    Ok(std::fs::canonicalize(&whole).unwrap_or(whole))
}

/// Tells whose file it is by its first bytes, without opening it as a database.
pub(super) fn inspect(path: &Path) -> Result<Found, OpenError> {
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(source) => return Err(OpenError::Unreadable { path: path.to_owned(), source }),
    };
    if !about.is_file() {
        return Err(OpenError::NotAFile(path.to_owned()));
    }
    let mut head = Vec::with_capacity(100);
    let file = OpenOptions::new().read(true).write(true).open(path);
    let read = file.and_then(|file| file.take(100).read_to_end(&mut head));
    read.map_err(|source| OpenError::Unreadable { path: path.to_owned(), source })?;
    match application(&head) {
        _ if head.is_empty() => Ok(Found::Nothing),
        None => Err(OpenError::NotSqlite(path.to_owned())),
        Some(schema::APPLICATION_ID) => Ok(Found::Ours),
        Some(_) if is_seed(path) => Err(OpenError::Seed(path.to_owned())),
        Some(_) => Err(OpenError::Foreign(path.to_owned())),
    }
}

/// The `application_id` at offset 68 of an SQLite file's header
/// ([file format](https://www.sqlite.org/fileformat2.html#the_database_header)).
fn application(head: &[u8]) -> Option<u32> {
    let id = head.strip_prefix(b"SQLite format 3\0").and(head.get(68..72))?;
    id.try_into().ok().map(u32::from_be_bytes)
}

/// Whether it is the Go gateway's: read as immutable, so that nothing is created beside it.
fn is_seed(path: &Path) -> bool {
    let Ok(url) = url::Url::from_file_path(path) else { return false };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'service_infos'";
    Connection::open_with_flags(format!("{url}?immutable=1"), flags)
        .and_then(|db| db.query_row(sql, [], |_| Ok(())))
        .is_ok()
}

/// Makes the file aside and renames it, so that a crash leaves either none or a whole one.
fn create(path: &Path) -> Result<(), OpenError> {
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

fn make(fresh: &Path, path: &Path) -> Result<(), OpenError> {
    let io_error = |source| cannot_create(path.to_owned(), source);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(fresh).map_err(io_error)?;
    // Whatever the umask: a group may read it, from another process too.
    file.set_permissions(std::fs::Permissions::from_mode(0o640)).map_err(io_error)?;
    fill(fresh).map_err(|error| fault(path, error).in_new_file(path))?;
    file.sync_all().map_err(io_error)?;
    std::fs::rename(fresh, path).map_err(io_error)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error)
}

fn fill(path: &Path) -> rusqlite::Result<()> {
    let mut db = connect(path)?;
    schema::migrate(&mut db)?;
    db.pragma_update(None, "journal_mode", "wal")
}

pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    Ok(db)
}

/// A second connection, for history.
pub(super) fn connect_reader(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(BUSY)?;
        Ok(db)
    };
    open().map_err(|error| fault(path, error).in_new_file(path))
}

fn load(path: &Path, wanted: &Wanted, proof: Option<Proof>) -> Result<Contents, Fault> {
    read(path, wanted, proof).map_err(|error| match error {
        ReadError::Newer(found) if wanted.epoch.is_some() => {
            Fault::Damaged(format!("its schema is {found}, this version knows {}", schema::NEWEST))
        }
        ReadError::Newer(found) => {
            Fault::Other(OpenError::NewerSchema { path: path.to_owned(), found, known: schema::NEWEST })
        }
        ReadError::Mirror => Fault::Other(OpenError::Mirror(path.to_owned())),
        ReadError::Record => Fault::Other(OpenError::Record(path.to_owned())),
        ReadError::Unsound(detail) => Fault::Damaged(detail),
        ReadError::Sqlite(error) => fault(path, error),
    })
}

enum ReadError {
    Newer(u32),
    Mirror,
    Record,
    Unsound(String),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn read(path: &Path, wanted: &Wanted, proof: Option<Proof>) -> Result<Contents, ReadError> {
    let mut db = connect(path)?;
    // Until it is known to be sound, closing it must not move its write-ahead log into it.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let found = schema::version(&db)?;
    if found > schema::NEWEST {
        return Err(ReadError::Newer(found));
    }
    let check: String = db.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if check != "ok" {
        return Err(ReadError::Unsound(check));
    }
    suits(&db, found, wanted)?;
    tune(&db, wanted)?;
    schema::migrate(&mut db)?;
    let last = load::meta(&db)?;
    let meta = match &wanted.epoch {
        None => next_run(last, proof, wanted.now),
        Some(epoch) => next_run_of_mirror(last, epoch, wanted.now),
    };
    let registered = load::everything(&db, &meta)?;
    let remembered = db.query_row("SELECT count(*) FROM transition", [], |row| row.get::<_, Count>(0))?.0;
    // Nothing is written before all was read: a file that is set aside is as it was found.
    begin(&db, &meta)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(Contents { db, meta, registered, remembered })
}

/// Whether the file is of the kind that is wanted.
fn suits(db: &Connection, schema: u32, wanted: &Wanted) -> Result<(), ReadError> {
    // The first schema knew no mirrors.
    let sql = if schema < 2 { "SELECT epoch, 0 FROM meta" } else { "SELECT epoch, mirror FROM meta" };
    let found = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Parsed<Epoch>>(0)?.0, row.get::<_, Kind>(1)?));
    let found = db.prepare(sql)?.query_row([], found).optional()?;
    match (found, &wanted.epoch) {
        (Some((_, Kind::Record)), Some(_)) => Err(ReadError::Record),
        (Some((_, Kind::Mirror { .. })), None) => Err(ReadError::Mirror),
        (Some((found, _)), Some(wanted)) if found != *wanted => {
            Err(ReadError::Unsound("it mirrors another cluster".to_owned()))
        }
        _ => Ok(()),
    }
}

fn tune(db: &Connection, wanted: &Wanted) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(64);
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", if wanted.durable { "full" } else { "off" })?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    db.pragma_update(None, "cache_size", -8_192)
}

/// The next run: the line of revisions goes on only if the lock file proves the last one.
fn next_run(last: Option<Meta>, proof: Option<Proof>, now: UnixMs) -> Meta {
    let run = Epoch::random().to_string();
    match last {
        None => first_run(Epoch::random(), run, Kind::Record, now),
        Some(last) if proof.is_some_and(|p| p.run == last.run && p.revision <= last.revision) => Meta { run, ..last },
        Some(last) => {
            tracing::warn!(
                "the store's last revision cannot be proved (a restored or copied file?); readers start afresh"
            );
            Meta { epoch: Epoch::random(), run, floor: last.revision, ..last }
        }
    }
}

/// The next run of a mirror: its line of revisions is another's, and needs no proof here.
fn next_run_of_mirror(last: Option<Meta>, epoch: &Epoch, now: UnixMs) -> Meta {
    let run = Epoch::random().to_string();
    match last {
        None => first_run(epoch.clone(), run, Kind::Mirror { complete: false }, now),
        Some(last) => Meta { run, ..last },
    }
}

fn first_run(epoch: Epoch, run: String, kind: Kind, began: UnixMs) -> Meta {
    Meta { epoch, run, revision: 0, serial: 0, floor: 0, kind, began }
}

/// Writes down that the run began. Revisions up to the floor belong to another line, or are forgotten.
fn begin(db: &Connection, meta: &Meta) -> rusqlite::Result<()> {
    let [revision, serial, floor] = [meta.revision, meta.serial, meta.floor].map(super::codec::int);
    db.execute("DELETE FROM change WHERE revision <= ?1", [floor])?;
    let sql = "REPLACE INTO meta (one, epoch, run, revision, serial, floor, mirror, began)
        VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let (kind, began) = (meta.kind.number(), meta.began.0);
    db.execute(sql, rusqlite::params![meta.epoch.as_str(), meta.run, revision, serial, floor, kind, began]).map(drop)
}

fn start_over(path: &Path, wanted: &Wanted, detail: &str) -> Result<Contents, OpenError> {
    let aside = set_aside(path, detail)?;
    let (shown, detail, aside) = (path.display(), text::escape(detail, 300), aside.display());
    if wanted.epoch.is_some() {
        tracing::warn!("the mirror {shown} cannot be used ({detail}); it was set aside as {aside} and is made anew");
    } else {
        tracing::error!(
            "the store {shown} is damaged ({detail}); it was set aside as {aside}; starting empty: what was registered \
             must register again"
        );
    }
    create(path)?;
    load(path, wanted, None).map_err(|fault| fault.in_new_file(path))
}
