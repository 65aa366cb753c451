//! Opening: nothing that is not Portolan's own is changed, nothing is ever deleted, and a registry with content never starts empty by
//! itself.
//!
//! Everything is read before anything is written. Where nothing can be written, on a full or read-only disk or beside another
//! program's lock, what was read is served all the same, and the writer begins its run once that is possible.

use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};

use super::begin::{self, Begin};
use super::connect::{connect, connect_aside};
use super::create::{Rebuilt, create, rebuild};
use super::damage::{self, Aside, Fault, fault, set_aside_as, set_log_aside};
use super::inspect::{self, Found, inspect, locate};
use super::integrity;
use super::load::{self, Registered};
use super::lock::{FileLock, Proof};
use super::log_base::Base;
use super::paths::suffixed;
use crate::catalog::Epoch;
use crate::model::ports::WriteError;
use crate::model::text;
use crate::model::time::UnixMs;
use crate::store::error::OpenError;
use crate::store::schema::codec::{Count, Parsed, is_content};
use crate::store::schema::meta::{self, Kind, Meta};
use crate::store::schema::quarantine::{self, BadRow, Table};
use crate::store::{Consent, schema};

/// What is to be opened.
pub(in crate::store) struct Wanted {
    /// The line of revisions that is mirrored; none where the file is the record itself.
    pub(in crate::store) epoch: Option<Epoch>,
    /// Whether a commit outlasts a power cut.
    pub(in crate::store) durable: bool,
    /// This moment, wall clock.
    pub(in crate::store) now: UnixMs,
    /// What may be lost.
    pub(in crate::store) consent: Consent,
}

/// An open file and what was in it.
pub(in crate::store) struct Loaded {
    pub(in crate::store) path: PathBuf,
    pub(in crate::store) lock: FileLock,
    pub(in crate::store) contents: Contents,
}

/// What was found in a file.
pub(in crate::store) struct Contents {
    pub(in crate::store) meta: Meta,
    pub(in crate::store) registered: Registered,
    /// Rows of history.
    pub(in crate::store) remembered: u64,
    pub(in crate::store) quarantined: quarantine::Kept,
    pub(in crate::store) writing: Writing,
}

/// Whether the run has begun.
pub(in crate::store) enum Writing {
    /// The connection, and whether the file itself holds all by now.
    Begun(Connection, bool),
    /// Not yet.
    Waiting(Waiting),
}

/// A run that cannot begin yet.
pub(in crate::store) struct Waiting {
    pub(in crate::store) begin: Begin,
    pub(in crate::store) base: Base,
    pub(in crate::store) why: WriteError,
    /// Whether not even reading is possible in the usual way.
    pub(in crate::store) aside: bool,
}

/// Locks, creates or checks, and loads.
pub(in crate::store) fn open(path: &Path, wanted: &Wanted) -> Result<Loaded, OpenError> {
    let path = locate(path)?;
    inspect::no_planted_links(&path)?;
    // Looked at before the lock too: beside another program's file not even a lock file is left.
    let strange = match inspect(&path) {
        // Its first bytes are lost, and only the lock file knows that it is ours, or whoever starts the server.
        Err(OpenError::NotSqlite(_)) if wanted.consent.start_empty || Proof::peek(&path).is_some() => true,
        looked => looked.map(|_| false)?,
    };
    let (mut lock, proof) = FileLock::acquire(&path)?;
    let loaded = if strange {
        Err(Fault::Damaged("its first bytes are not those of an SQLite file".to_owned()))
    } else {
        if let Found::Nothing { empty } = inspect(&path)? {
            if wanted.epoch.is_none() && !wanted.consent.start_empty {
                inspect::was_never_used(&path, empty, proof.as_ref())?;
            }
            lock.adopt(create(&path)?);
        }
        load(&path, wanted, proof, &mut lock)
    };
    let contents = match loaded {
        Ok(contents) => contents,
        Err(Fault::Broken(detail)) if wanted.epoch.is_none() => mend(&path, wanted, &detail, &mut lock)?,
        Err(Fault::Damaged(detail) | Fault::Broken(detail)) => {
            start_over(&path, wanted, (Aside::Corrupt, &detail), &mut lock)?
        }
        Err(Fault::Unfit(what, detail)) => start_over(&path, wanted, (what, &detail), &mut lock)?,
        Err(Fault::Other(error)) => return Err(error),
        Err(Fault::Hindered(_, error)) => return Err(*error),
    };
    let meta = &contents.meta;
    let proved = match contents.writing {
        Writing::Begun(_, settled) => lock.record(&meta.run, meta.revision, settled).and_then(|()| lock.sync()),
        // Still the last run's: only the holder is another.
        Writing::Waiting(_) => lock.hold(),
    };
    if let Err(error) = proved {
        // The next start proves nothing, and readers start afresh.
        tracing::warn!("{} cannot be written: {error}", suffixed(&path, ".lock").display());
    }
    Ok(Loaded { path, lock, contents })
}

fn load(path: &Path, wanted: &Wanted, proof: Option<Proof>, lock: &mut FileLock) -> Result<Contents, Fault> {
    // Looked at before anything opens the file, since SQLite makes it.
    let has_log = suffixed(path, "-wal").exists();
    let base = if wanted.epoch.is_none() { Base::of(path) } else { Base::default() };
    if base.has_foreign_log(path, proof.as_ref()) {
        let detail = "the write-ahead log beside it belongs to another state of the file";
        if !wanted.consent.accept_loss {
            return Err(Fault::Other(OpenError::LogLost { path: path.to_owned(), detail: detail.to_owned() }));
        }
        let aside = set_log_aside(path, detail).map_err(Fault::Other)?;
        tracing::warn!("{}: {detail}; it was set aside as {}-wal", path.display(), aside.display());
    }
    let ask = Ask { wanted, proof, has_log, base };
    if !damage::is_writable(path) {
        // Not even to be tried: SQLite would give its own files the modes of this one, and not be able to write them later.
        return aside(path, &ask, WriteError::ReadOnly);
    }
    match usual(path, &ask, lock) {
        // What another program may be writing just now can only be read by SQLite's rules.
        Err(Fault::Hindered(WriteError::Locked, error)) => Err(Fault::Other(*error)),
        Err(Fault::Hindered(why, error)) => match aside(path, &ask, why) {
            // Damage is found in either way; what else fails here failed for the first reason.
            Err(Fault::Hindered(..)) => Err(Fault::Other(*error)),
            read => read,
        },
        read => read,
    }
}

/// What is asked of a file.
struct Ask<'a> {
    wanted: &'a Wanted,
    proof: Option<Proof>,
    /// Whether there was a write-ahead log.
    has_log: bool,
    base: Base,
}

/// What was read.
struct Read {
    registered: Registered,
    remembered: u64,
    quarantined: quarantine::Kept,
    begin: Begin,
}

/// Reads the file as its one writer will, and begins.
fn usual(path: &Path, ask: &Ask<'_>, lock: &mut FileLock) -> Result<Contents, Fault> {
    let failed = |error| fault(path, error);
    let mut db = connect(path).map_err(failed)?;
    // Until it is known to be sound, closing it must not move its write-ahead log into it.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    let Read { registered, remembered, quarantined, begin } =
        read(&db, ask).map_err(|error| error.of(path, ask.wanted))?;
    let meta = begin.meta.clone();
    ask.base.announce(&meta, lock, path);
    let writing = match begin.write(&mut db).map_err(failed) {
        Ok(()) => {
            db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failed)?;
            // Where it cannot be moved now, it is once the server is idle.
            let settled = begin::checkpoint(&db).unwrap_or(false);
            Writing::Begun(db, settled)
        }
        Err(Fault::Hindered(why, _)) => Writing::Waiting(Waiting { begin, base: ask.base.clone(), why, aside: false }),
        Err(fault) => return Err(fault),
    };
    Ok(Contents { meta, registered, remembered, quarantined, writing })
}

/// Reads a file for which nothing can be written.
fn aside(path: &Path, ask: &Ask<'_>, why: WriteError) -> Result<Contents, Fault> {
    let db = connect_aside(path).map_err(|error| fault(path, error))?;
    let Read { registered, remembered, quarantined, begin } =
        read(&db, ask).map_err(|error| error.of(path, ask.wanted))?;
    let meta = begin.meta.clone();
    Ok(Contents {
        meta,
        registered,
        remembered,
        quarantined,
        writing: Writing::Waiting(Waiting { begin, base: ask.base.clone(), why, aside: true }),
    })
}

/// The epoch of a mirror is that of the definition of our kind.
const OTHER_CLUSTER: &str =
    "it mirrors another cluster, or this one before services.portolan.dev was deleted and installed again";

enum ReadError {
    Newer(u32),
    Mirror,
    Record,
    Unsound(String),
    /// It is of another line of revisions.
    OtherCluster,
    Broken(String),
    Lost(String),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl ReadError {
    fn of(self, path: &Path, wanted: &Wanted) -> Fault {
        let path = path.to_owned();
        Fault::Other(match self {
            Self::Newer(found) if wanted.epoch.is_some() => {
                let detail = format!("its schema is {found}, this version knows {}", schema::NEWEST);
                return Fault::Unfit(Aside::Newer, detail);
            }
            Self::Newer(found) => OpenError::NewerSchema { path, found, known: schema::NEWEST },
            Self::Mirror => OpenError::Mirror(path),
            Self::Record => OpenError::Record(path),
            Self::Unsound(detail) => return Fault::Damaged(detail),
            Self::OtherCluster => return Fault::Unfit(Aside::OtherCluster, OTHER_CLUSTER.to_owned()),
            Self::Broken(detail) => return Fault::Broken(detail),
            Self::Lost(detail) => OpenError::LogLost { path, detail },
            Self::Sqlite(error) => return fault(&path, error),
        })
    }
}

/// Reads everything; writes nothing.
fn read(db: &Connection, ask: &Ask<'_>) -> Result<Read, ReadError> {
    let wanted = ask.wanted;
    let found = schema::version(db)?;
    if found > schema::NEWEST {
        return Err(ReadError::Newer(found));
    }
    let reindex = integrity::check(db)?.map_err(ReadError::Broken)?;
    schema::read_as_newest(db)?;
    suits(db, wanted)?;
    let (last, mut bad) = last_run(db, wanted)?;
    let mut meta = match &wanted.epoch {
        None => next_run(last, ask, is_served(db, found)?)?,
        Some(epoch) => next_run_of_mirror(last, epoch, wanted.now),
    };
    let registered = registered(db, &mut meta)?;
    if wanted.epoch.is_some() && !registered.bad.is_empty() {
        return Err(ReadError::Unsound(registered.bad.iter().take(1).map(BadRow::to_string).collect()));
    }
    bad.extend(registered.bad.iter().cloned());
    let remembered = db.query_row("SELECT count(*) FROM transition", [], |row| row.get::<_, Count>(0))?.0;
    quarantine::log(&bad);
    let quarantined = quarantine::Kept::of(db)?.and(&bad);
    let begin = Begin { meta, bad, reindex, durable: wanted.durable, now: wanted.now };
    Ok(Read { registered, remembered, quarantined, begin })
}

/// What was registered. Where a part of it cannot be read the catalog is another than the last revision's, so a new line of revisions
/// begins.
fn registered(db: &Connection, meta: &mut Meta) -> Result<Registered, ReadError> {
    let mut registered = load::everything(db, meta)?;
    if registered.differs && meta.kind == Kind::Record {
        renew(meta);
        registered = load::everything(db, meta)?;
    }
    meta.serial = meta.serial.max(registered.state.serial);
    let lost = registered.bad.iter().filter(|bad| bad.table == Table::Service).count();
    if lost > 1 && registered.state.snapshot.total().total() == 0 {
        return Err(ReadError::Unsound(format!("none of its {lost} services can be read")));
    }
    Ok(registered)
}

/// Whether the file is of the kind that is wanted.
fn suits(db: &Connection, wanted: &Wanted) -> Result<(), ReadError> {
    let found = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Parsed<Epoch>>(0)?.0, row.get::<_, Kind>(1)?));
    let found = match db.prepare("SELECT epoch, mirror FROM meta")?.query_row([], found).optional() {
        // What else the file holds says what it is.
        Err(error) if is_content(&error) => None,
        found => found?,
    };
    match (found, &wanted.epoch) {
        (Some((_, Kind::Record)), Some(_)) => Err(ReadError::Record),
        (Some((_, Kind::Mirror { .. })), None) => Err(ReadError::Mirror),
        (Some((found, _)), Some(wanted)) if found != *wanted => Err(ReadError::OtherCluster),
        _ => Ok(()),
    }
}

/// What the file says of itself; none in a new one. Where that cannot be read, it is what the rest of the file says at least.
fn last_run(db: &Connection, wanted: &Wanted) -> Result<(Option<Meta>, Vec<BadRow>), ReadError> {
    let bad = match meta::read(db) {
        Ok(Some(meta)) => return Ok((Some(meta), Vec::new())),
        Ok(None) => None,
        Err(error) if is_content(&error) => Some(BadRow::new(Table::Meta, 1, &error)),
        Err(error) => return Err(error.into()),
    };
    let (has_content, is_mirror) = meta::traces(db)?;
    if bad.is_none() && !has_content {
        return Ok((None, Vec::new()));
    }
    match &wanted.epoch {
        Some(_) if !is_mirror && has_content => return Err(ReadError::Record),
        Some(_) => return Err(ReadError::Unsound("what it says of itself cannot be read".to_owned())),
        None if is_mirror => return Err(ReadError::Mirror),
        None => tracing::error!("what the store says of itself cannot be read; it is made again from what it holds"),
    }
    let (revision, serial) = meta::least(db)?;
    let run = Epoch::random().to_string();
    let meta = Meta { revision, serial, floor: revision, ..first_run(Epoch::random(), run, Kind::Record, wanted.now) };
    Ok((Some(meta), bad.into_iter().collect()))
}

/// Whether its last server did not end in order.
fn is_served(db: &Connection, schema: u32) -> rusqlite::Result<bool> {
    if schema < 3 {
        return Ok(false);
    }
    let served = db.query_row("SELECT served FROM meta", [], |row| row.get_ref(0)?.as_i64().map_err(Into::into));
    match served.optional() {
        Err(error) if is_content(&error) => Ok(true),
        served => Ok(served? == Some(1)),
    }
}

/// The next run: the line of revisions goes on only if the lock file proves the last one.
///
/// # Errors
/// [`ReadError::Lost`] when it proves that commits are missing, and nobody agreed to that.
fn next_run(last: Option<Meta>, ask: &Ask<'_>, served: bool) -> Result<Meta, ReadError> {
    let run = Epoch::random().to_string();
    let Some(last) = last else { return Ok(first_run(Epoch::random(), run, Kind::Record, ask.wanted.now)) };
    // A run that was announced and has begun goes on where the one before it ended, though its own record never reached the lock file.
    let began = |proof: &Proof| proof.next.as_ref() == Some(&last.run) && proof.revision <= last.revision;
    let proof = ask.proof.as_ref().filter(|proof| proof.run == last.run || began(proof));
    let mut meta = Meta { run, ..last };
    match proof {
        Some(proof) if proof.revision <= meta.revision => return Ok(meta),
        Some(proof) if !ask.wanted.consent.accept_loss => {
            let missing = if ask.has_log { "" } else { ", and its write-ahead log is not beside it" };
            let (found, known) = (meta.revision, proof.revision);
            return Err(ReadError::Lost(format!("it ends at revision {found}, and {known} was committed{missing}")));
        }
        Some(_) => tracing::warn!("the store goes on without what was committed after revision {}", meta.revision),
        None if served && !ask.has_log => tracing::warn!(
            "the store was not closed in order and its write-ahead log (-wal) is not beside it (a copy of a running server's file \
             alone?): what was written last may be missing; readers start afresh"
        ),
        None => tracing::warn!(
            "the store's last revision cannot be proved (a restored or copied file?); readers start afresh"
        ),
    }
    renew(&mut meta);
    Ok(meta)
}

/// Begins a new line of revisions: no reader's cursor goes on.
fn renew(meta: &mut Meta) {
    meta.epoch = Epoch::random();
    meta.floor = meta.revision;
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

/// Goes on with what can be read of a file with broken pages, where that is most of it.
fn mend(path: &Path, wanted: &Wanted, detail: &str, lock: &mut FileLock) -> Result<Contents, OpenError> {
    let Rebuilt { locked, missing, aside } = match rebuild(path, detail, wanted.now) {
        Ok(rebuilt) => rebuilt,
        Err(why) => {
            tracing::error!("{} cannot be rebuilt: {}", path.display(), text::escape(&why, 300));
            return start_over(path, wanted, (Aside::Corrupt, detail), lock);
        }
    };
    let detail = text::escape(detail, 300);
    tracing::error!(
        "the store {} was damaged ({detail}) and is rebuilt from what can be read: {missing} rows of what was registered are missing, and \
         named in quarantine; the damaged file is kept as {}",
        path.display(),
        aside.display()
    );
    lock.adopt(locked);
    load(path, wanted, None, lock).map_err(|fault| fault.in_new_file(path))
}

/// Sets a file aside that is of no use and makes a new one: of a mirror, which is rebuilt, or where that was agreed to.
fn start_over(
    path: &Path,
    wanted: &Wanted,
    (what, detail): (Aside, &str),
    lock: &mut FileLock,
) -> Result<Contents, OpenError> {
    let shown = text::escape(detail, 300);
    if wanted.epoch.is_none() && !wanted.consent.start_empty {
        return Err(OpenError::Damaged { path: path.to_owned(), detail: shown });
    }
    let aside = set_aside_as(what, path, detail)?;
    let (path_shown, aside) = (path.display(), aside.display());
    if wanted.epoch.is_some() {
        tracing::warn!(
            "the mirror {path_shown} cannot be used ({shown}); it was set aside as {aside} and is made anew"
        );
    } else {
        tracing::error!(
            "the store {path_shown} is damaged ({shown}); as --start-empty says it was set aside as {aside}; starting empty: what was \
             registered must register again"
        );
    }
    lock.adopt(create(path)?);
    load(path, wanted, None, lock).map_err(|fault| fault.in_new_file(path))
}
