//! Opening: only Portolan's own files are changed, nothing is ever deleted, and a registry with content never starts empty unless
//! the operator asks for that.
//!
//! Everything is read before anything is written. If nothing can be written (a full or read-only disk, another program's lock), the
//! server serves what it read, and the writer begins its run as soon as it can.

use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};

use super::connect::{connect, connect_aside};
use super::create::{Rebuilt, create, rebuild};
use super::damage::{self, AsideReason, LoadError, load_error, set_aside_as, set_log_aside};
use super::first_write::{self, FirstWrite};
use super::inspect::{self, Found, inspect, locate};
use super::integrity;
use super::load::{self, Registered};
use super::lock::{FileLock, Proof};
use super::log_base::LogBase;
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

/// How to open the file.
pub(crate) struct OpenRequest {
    /// The line of revisions that the file mirrors; none if the file is the record itself.
    pub(crate) epoch: Option<Epoch>,
    /// Whether a commit outlasts a power cut.
    pub(crate) durable: bool,
    /// The wall clock at the start.
    pub(crate) now: UnixMs,
    /// What may be lost.
    pub(crate) consent: Consent,
}

/// An open file with its contents.
pub(crate) struct Loaded {
    pub(crate) path: PathBuf,
    pub(crate) lock: FileLock,
    pub(crate) contents: Contents,
}

/// What was read from a file.
pub(crate) struct Contents {
    pub(crate) meta: Meta,
    pub(crate) registered: Registered,
    /// Rows of history.
    pub(crate) remembered: u64,
    pub(crate) quarantined: quarantine::QuarantineSummary,
    pub(crate) start: RunStart,
}

/// Whether the run has begun.
pub(crate) enum RunStart {
    /// The connection, and whether the database file itself holds everything, so that its write-ahead log holds nothing more.
    Begun(Connection, bool),
    /// Nothing can be written yet.
    Postponed(PostponedStart),
}

/// A run that cannot begin yet.
pub(crate) struct PostponedStart {
    pub(crate) first_write: FirstWrite,
    pub(crate) base: LogBase,
    pub(crate) why: WriteError,
    /// Whether even reading needs a connection that locks and writes nothing.
    pub(crate) read_only: bool,
}

/// Locks the file, creates or checks it, and loads it.
pub(crate) fn open(path: &Path, request: &OpenRequest) -> Result<Loaded, OpenError> {
    let path = locate(path)?;
    inspect::no_planted_links(&path)?;
    // Checked before locking too: not even a lock file may be left beside another program's file.
    let unrecognized = match inspect(&path) {
        // Its first bytes are lost: that it is ours is known only from the lock file or from `--start-empty`.
        Err(OpenError::NotSqlite(_)) if request.consent.start_empty || Proof::peek(&path).is_some() => true,
        looked => looked.map(|_| false)?,
    };
    let (mut lock, proof) = FileLock::acquire(&path)?;
    let loaded = if unrecognized {
        Err(LoadError::Damaged("its first bytes are not those of an SQLite file".to_owned()))
    } else {
        if let Found::Nothing { empty } = inspect(&path)? {
            if request.epoch.is_none() && !request.consent.start_empty {
                inspect::was_never_used(&path, empty, proof.as_ref())?;
            }
            lock.adopt(create(&path)?);
        }
        load(&path, request, proof, &mut lock)
    };
    let contents = match loaded {
        Ok(contents) => contents,
        Err(LoadError::Broken(detail)) if request.epoch.is_none() => {
            rebuild_damaged(&path, request, &detail, &mut lock)?
        }
        Err(LoadError::Damaged(detail) | LoadError::Broken(detail)) => {
            start_over(&path, request, (AsideReason::Corrupt, &detail), &mut lock)?
        }
        Err(LoadError::Unfit(what, detail)) => start_over(&path, request, (what, &detail), &mut lock)?,
        Err(LoadError::Other(error)) => return Err(error),
        Err(LoadError::NotWritable(_, error)) => return Err(*error),
    };
    let meta = &contents.meta;
    let proved = match contents.start {
        RunStart::Begun(_, settled) => lock.record(&meta.run, meta.revision, settled).and_then(|()| lock.sync()),
        // The file still belongs to the last run; only the holder of the lock is new.
        RunStart::Postponed(_) => lock.hold(),
    };
    if let Err(error) = proved {
        // The next start cannot prove the last revision, so readers start over.
        tracing::warn!("{} cannot be written: {error}", suffixed(&path, ".lock").display());
    }
    Ok(Loaded { path, lock, contents })
}

fn load(path: &Path, request: &OpenRequest, proof: Option<Proof>, lock: &mut FileLock) -> Result<Contents, LoadError> {
    // Checked before anything opens the file, because SQLite creates the log.
    let has_log = suffixed(path, "-wal").exists();
    let base = if request.epoch.is_none() { LogBase::of(path) } else { LogBase::default() };
    if base.has_foreign_log(path, proof.as_ref()) {
        let detail = "the write-ahead log beside it belongs to another state of the file";
        if !request.consent.accept_loss {
            return Err(LoadError::Other(OpenError::LogLost { path: path.to_owned(), detail: detail.to_owned() }));
        }
        let aside = set_log_aside(path, detail).map_err(LoadError::Other)?;
        tracing::warn!("{}: {detail}; it was set aside as {}-wal", path.display(), aside.display());
    }
    let input = Input { request, proof, has_log, base };
    if !damage::is_writable(path) {
        // Not even tried: SQLite would create its own files with the modes of this one, and could not write them later.
        return read_only(path, &input, WriteError::ReadOnly);
    }
    match read_writable(path, &input, lock) {
        // What another program may be writing at this moment can only be read by SQLite's rules.
        Err(LoadError::NotWritable(WriteError::Locked, error)) => Err(LoadError::Other(*error)),
        Err(LoadError::NotWritable(why, error)) => match read_only(path, &input, why) {
            // Both ways of reading find damage; anything else that fails here has the first attempt's cause.
            Err(LoadError::NotWritable(..)) => Err(LoadError::Other(*error)),
            read => read,
        },
        read => read,
    }
}

/// What reading a file needs.
struct Input<'a> {
    request: &'a OpenRequest,
    proof: Option<Proof>,
    /// Whether there was a write-ahead log.
    has_log: bool,
    base: LogBase,
}

/// What was read from it.
struct Read {
    registered: Registered,
    remembered: u64,
    quarantined: quarantine::QuarantineSummary,
    first_write: FirstWrite,
}

/// Reads the file through the writer's own connection, and begins the run.
fn read_writable(path: &Path, input: &Input<'_>, lock: &mut FileLock) -> Result<Contents, LoadError> {
    let failed = |error| load_error(path, error);
    let mut db = connect(path).map_err(failed)?;
    // Until it is known to be sound, closing it must not move its write-ahead log into it.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(failed)?;
    let Read { registered, remembered, quarantined, first_write } =
        read(&db, input).map_err(|error| error.of(path, input.request))?;
    let meta = first_write.meta.clone();
    input.base.announce(&meta, lock, path);
    let start = match first_write.write(&mut db).map_err(failed) {
        Ok(()) => {
            db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(failed)?;
            // If it cannot be moved now, it will be once the server is idle.
            let settled = first_write::checkpoint(&db).unwrap_or(false);
            RunStart::Begun(db, settled)
        }
        Err(LoadError::NotWritable(why, _)) => {
            RunStart::Postponed(PostponedStart { first_write, base: input.base.clone(), why, read_only: false })
        }
        Err(load_error) => return Err(load_error),
    };
    Ok(Contents { meta, registered, remembered, quarantined, start })
}

/// Reads a file without writing anything.
fn read_only(path: &Path, input: &Input<'_>, why: WriteError) -> Result<Contents, LoadError> {
    let db = connect_aside(path).map_err(|error| load_error(path, error))?;
    let Read { registered, remembered, quarantined, first_write } =
        read(&db, input).map_err(|error| error.of(path, input.request))?;
    let meta = first_write.meta.clone();
    Ok(Contents {
        meta,
        registered,
        remembered,
        quarantined,
        start: RunStart::Postponed(PostponedStart { first_write, base: input.base.clone(), why, read_only: true }),
    })
}

/// A mirror's epoch is the uid of the CustomResourceDefinition.
const OTHER_CLUSTER: &str =
    "it mirrors another cluster, or this one before services.portolan.dev was deleted and installed again";

enum ReadError {
    Newer(u32),
    Mirror,
    Record,
    Unsound(String),
    /// It holds another line of revisions.
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
    fn of(self, path: &Path, request: &OpenRequest) -> LoadError {
        let path = path.to_owned();
        LoadError::Other(match self {
            Self::Newer(found) if request.epoch.is_some() => {
                let detail = format!("its schema is {found}, this version knows {}", schema::NEWEST);
                return LoadError::Unfit(AsideReason::Newer, detail);
            }
            Self::Newer(found) => OpenError::NewerSchema { path, found, known: schema::NEWEST },
            Self::Mirror => OpenError::Mirror(path),
            Self::Record => OpenError::Record(path),
            Self::Unsound(detail) => return LoadError::Damaged(detail),
            Self::OtherCluster => return LoadError::Unfit(AsideReason::OtherCluster, OTHER_CLUSTER.to_owned()),
            Self::Broken(detail) => return LoadError::Broken(detail),
            Self::Lost(detail) => OpenError::LogLost { path, detail },
            Self::Sqlite(error) => return load_error(&path, error),
        })
    }
}

/// Reads everything; writes nothing.
fn read(db: &Connection, input: &Input<'_>) -> Result<Read, ReadError> {
    let request = input.request;
    let found = schema::version(db)?;
    if found > schema::NEWEST {
        return Err(ReadError::Newer(found));
    }
    let reindex = integrity::check(db)?.map_err(ReadError::Broken)?;
    schema::read_as_newest(db)?;
    check_kind(db, request)?;
    let (last, mut bad) = last_run(db, request)?;
    let mut meta = match &request.epoch {
        None => next_run(last, input, is_served(db, found)?)?,
        Some(epoch) => next_run_of_mirror(last, epoch, request.now),
    };
    let registered = registered(db, &mut meta)?;
    if request.epoch.is_some() && !registered.bad.is_empty() {
        return Err(ReadError::Unsound(registered.bad.iter().take(1).map(BadRow::to_string).collect()));
    }
    bad.extend(registered.bad.iter().cloned());
    let remembered = db.query_row("SELECT count(*) FROM transition", [], |row| row.get::<_, Count>(0))?.0;
    quarantine::log(&bad);
    let quarantined = quarantine::QuarantineSummary::of(db)?.and(&bad);
    let first_write = FirstWrite { meta, bad, reindex, durable: request.durable, now: request.now };
    Ok(Read { registered, remembered, quarantined, first_write })
}

/// What was registered. If part of it cannot be read, the catalog differs from that of the last revision, so a new line of revisions
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

/// Refuses a file of another kind than the requested one.
fn check_kind(db: &Connection, request: &OpenRequest) -> Result<(), ReadError> {
    let found = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Parsed<Epoch>>(0)?.0, row.get::<_, Kind>(1)?));
    let found = match db.prepare("SELECT epoch, mirror FROM meta")?.query_row([], found).optional() {
        // The other tables say what it is.
        Err(error) if is_content(&error) => None,
        found => found?,
    };
    match (found, &request.epoch) {
        (Some((_, Kind::Record)), Some(_)) => Err(ReadError::Record),
        (Some((_, Kind::Mirror { .. })), None) => Err(ReadError::Mirror),
        (Some((found, _)), Some(request)) if found != *request => Err(ReadError::OtherCluster),
        _ => Ok(()),
    }
}

/// The meta row; none in a new file. If it cannot be read, it is derived from the other tables.
fn last_run(db: &Connection, request: &OpenRequest) -> Result<(Option<Meta>, Vec<BadRow>), ReadError> {
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
    match &request.epoch {
        Some(_) if !is_mirror && has_content => return Err(ReadError::Record),
        Some(_) => return Err(ReadError::Unsound("what it says of itself cannot be read".to_owned())),
        None if is_mirror => return Err(ReadError::Mirror),
        None => tracing::error!("the store's meta row cannot be read; it is derived again from the other tables"),
    }
    let (revision, serial) = meta::least(db)?;
    let run = Epoch::random().to_string();
    let meta = Meta { revision, serial, floor: revision, ..first_run(Epoch::random(), run, Kind::Record, request.now) };
    Ok((Some(meta), bad.into_iter().collect()))
}

/// Whether its last server ended without closing it.
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
/// [`ReadError::Lost`] when it proves that commits are missing, without `--accept-loss`.
fn next_run(last: Option<Meta>, input: &Input<'_>, served: bool) -> Result<Meta, ReadError> {
    let run = Epoch::random().to_string();
    let Some(last) = last else { return Ok(first_run(Epoch::random(), run, Kind::Record, input.request.now)) };
    // A run that was announced and has begun continues the one before it, even if its own record never reached the lock file.
    let began = |proof: &Proof| proof.next.as_ref() == Some(&last.run) && proof.revision <= last.revision;
    // A run whose name is only in the log: the file names the run before it.
    let logged = |proof: &Proof| proof.base.as_ref() == Some(&last.run) && proof.revision > last.revision;
    let proof = input.proof.as_ref().filter(|proof| proof.run == last.run || began(proof) || logged(proof));
    let mut meta = Meta { run, ..last };
    match proof {
        Some(proof) if proof.revision <= meta.revision => return Ok(meta),
        Some(proof) if !input.request.consent.accept_loss => {
            let missing = if input.has_log { "" } else { ", and its write-ahead log is not beside it" };
            let (found, known) = (meta.revision, proof.revision);
            return Err(ReadError::Lost(format!("it ends at revision {found}, and {known} was committed{missing}")));
        }
        Some(_) => tracing::warn!("the store continues without the commits after revision {}", meta.revision),
        None if served && !input.has_log => tracing::warn!(
            "the store was not closed cleanly and its write-ahead log (-wal) is missing (a copy of only the file of a running server?): \
             the last writes may be missing; readers start over"
        ),
        None => tracing::warn!(
            "the store's last revision cannot be proved (a restored or copied file?); readers start over"
        ),
    }
    renew(&mut meta);
    Ok(meta)
}

/// Begins a new line of revisions: every reader's cursor becomes invalid.
fn renew(meta: &mut Meta) {
    meta.epoch = Epoch::random();
    meta.floor = meta.revision;
}

/// The next run of a mirror. Its line of revisions comes from the cluster and needs no proof here.
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

/// Rebuilds a file with broken pages from what can be read, if that is most of it.
fn rebuild_damaged(
    path: &Path,
    request: &OpenRequest,
    detail: &str,
    lock: &mut FileLock,
) -> Result<Contents, OpenError> {
    let Rebuilt { locked, missing, aside } = match rebuild(path, detail, request.now) {
        Ok(rebuilt) => rebuilt,
        Err(why) => {
            tracing::error!("{} cannot be rebuilt: {}", path.display(), text::escape(&why, 300));
            return start_over(path, request, (AsideReason::Corrupt, detail), lock);
        }
    };
    let detail = text::escape(detail, 300);
    tracing::error!(
        "the store {} was damaged ({detail}) and is rebuilt from what can be read: {missing} registered rows are missing and named in \
         quarantine; the damaged file is kept as {}",
        path.display(),
        aside.display()
    );
    lock.adopt(locked);
    load(path, request, None, lock).map_err(|load_error| load_error.in_new_file(path))
}

/// Sets an unusable file aside and creates a new one: a mirror is filled again by the cluster, a record needs `--start-empty`.
fn start_over(
    path: &Path,
    request: &OpenRequest,
    (what, detail): (AsideReason, &str),
    lock: &mut FileLock,
) -> Result<Contents, OpenError> {
    let shown = text::escape(detail, 300);
    if request.epoch.is_none() && !request.consent.start_empty {
        return Err(OpenError::Damaged { path: path.to_owned(), detail: shown });
    }
    let aside = set_aside_as(what, path, detail)?;
    let (path_shown, aside) = (path.display(), aside.display());
    if request.epoch.is_some() {
        tracing::warn!(
            "the mirror {path_shown} cannot be used ({shown}); it was set aside as {aside}, and a new one is created"
        );
    } else {
        tracing::error!(
            "the store {path_shown} is damaged ({shown}); because of --start-empty it was set aside as {aside}, and the registry starts \
             without services: all have to register again"
        );
    }
    lock.adopt(create(path)?);
    load(path, request, None, lock).map_err(|load_error| load_error.in_new_file(path))
}
