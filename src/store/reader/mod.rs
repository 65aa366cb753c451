//! Reads a store's file beside the server that writes it, from another process and perhaps as another user.
//!
//! Creates, writes and locks nothing: the file, its folder and its companions stay as they are.
//!
//! In: a path. Out: services, probe rows and history, and what changed since the last call.
//!
//! 1. This file: [`FileReader`].
//! 2. [`file_access`]: how the file is opened, and whether another one took its place. [`rows`]: rows as services and their probing.
//! 3. `past`: availability and outages.

pub(in crate::store) mod file_access;
mod past;
mod rows;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use uuid::Uuid;

use crate::catalog::Epoch;
use crate::model::check::Check;
use crate::model::name::InstanceName;
use crate::model::ports::ServiceRef;
use crate::model::probe::ProbeRow;
use crate::model::service::Service;
use crate::model::time::UnixMs;
use crate::store::error::StoreError;
use crate::store::file::paths::suffixed;
use crate::store::history::{self, HistoryPage, HistoryQuery};
use crate::store::schema::codec::{Id, int, is_content};
use crate::store::schema::meta::{self, Kind, Meta};
use crate::store::schema::quarantine;
use file_access::FileAccess;
pub use file_access::ReaderError;

/// Changed services that are read one by one; if more changed, the whole file is read.
const ONE_BY_ONE: usize = 1000;
/// A mirror records no changes, so all of it is read again, at most this often.
const MIRROR: Duration = Duration::from_secs(2);

/// An open file.
pub struct FileReader {
    db: Connection,
    /// As given; it may be a link.
    named: PathBuf,
    path: PathBuf,
    access: FileAccess,
    /// What was read last; none before the first call.
    last: Option<LastRead>,
}

struct LastRead {
    epoch: Epoch,
    revision: u64,
    /// SQLite's `data_version`: it changes with each commit, and says nothing about what changed.
    version: i64,
    read: Instant,
}

/// What changed in the file, each service as a `T`.
#[derive(Debug)]
pub enum FileChanges<T> {
    /// Nothing.
    None,
    /// Everything, in place of what was read before.
    All(Vec<T>),
    /// New and changed services, and ids of removed ones.
    Some(Vec<T>, Vec<Uuid>),
}

/// A check of an instance with its probe row.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    /// The instance.
    pub instance: InstanceName,
    /// How it is probed.
    pub check: Check,
    /// Whether its failure only sets a warning.
    pub advisory: bool,
    /// The row, which names the check; at most 2 s old while a server runs.
    pub row: ProbeRow,
}

impl FileReader {
    /// Opens the file. Blocks.
    ///
    /// # Errors
    /// [`ReaderError`], with the remedy.
    pub fn open(path: &Path) -> Result<Self, ReaderError> {
        let whole = file_access::whole(path)?;
        let (db, access) = FileAccess::open(&whole)?;
        Ok(Self { db, named: path.to_owned(), path: whole, access, last: None })
    }

    /// What changed since the last call; everything at the first. Blocks, for microseconds if nothing changed. Each service becomes what
    /// `each` makes of it as soon as it is read, so that ten thousand are never held twice. When each was probed last stands in its probe rows.
    ///
    /// # Errors
    /// [`ReaderError::Replaced`] when the path names another file, or the file must be opened differently: open it again.
    pub fn poll<T>(&mut self, each: impl Fn(&Service) -> T) -> Result<FileChanges<T>, ReaderError> {
        if !file_access::whole(&self.named).is_ok_and(|whole| whole == self.path) || !self.access.is_current(&self.path)
        {
            return Err(ReaderError::Replaced);
        }
        self.news(each).map_err(|error| ReaderError::of(&self.path, error))
    }

    fn news<T>(&mut self, each: impl Fn(&Service) -> T) -> rusqlite::Result<FileChanges<T>> {
        let version = self.db.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if self.last.as_ref().is_some_and(|last| last.version == version) {
            return Ok(FileChanges::None);
        }
        // One transaction, for a consistent view.
        let moment = self.db.unchecked_transaction()?;
        let Some(meta) = meta::read(&moment)? else { return Ok(FileChanges::None) };
        if meta.kind != Kind::Record && self.last.as_ref().is_some_and(|last| last.read.elapsed() < MIRROR) {
            return Ok(FileChanges::None);
        }
        let changes = match changed(&moment, &meta, self.last.as_ref())? {
            Some(ids) if ids.is_empty() => FileChanges::None,
            Some(ids) => some(&moment, &ids, each)?,
            None => FileChanges::All(rows::all(&moment, each)?),
        };
        drop(moment);
        self.last = Some(LastRead { epoch: meta.epoch, revision: meta.revision, version, read: Instant::now() });
        Ok(changes)
    }

    /// The checks of a service's instances with their probe rows, in order of the instances' names, the plain check first; none if the
    /// service does not exist. Blocks.
    ///
    /// # Errors
    /// [`ReaderError`].
    pub fn probing(&self, service: Uuid) -> Result<Option<Vec<Probed>>, ReaderError> {
        rows::probing(&self.db, service).map_err(|error| ReaderError::of(&self.path, error))
    }

    /// The history of a service, which may have been removed, newest first: at most `limit` entries older than `before`. Blocks.
    ///
    /// # Errors
    /// [`ReaderError`].
    pub fn history(&self, id: Uuid, before: Option<i64>, limit: usize) -> Result<Option<HistoryPage>, ReaderError> {
        let query = HistoryQuery { service: ServiceRef::Id(id), instance: None, before, limit };
        // Rows that cannot be read are left out; the file's server keeps and names them.
        match history::page(&self.db, &query, None, &mut Vec::new()) {
            Ok(page) => Ok(Some(page)),
            Err(StoreError::Sqlite(error)) => Err(ReaderError::of(&self.path, error)),
            // No history of it.
            Err(_) => Ok(None),
        }
    }

    /// Every row in quarantine as a JSON object with `id`, `at`, `table`, `row`, `name`, `reason` and `content`, oldest first. Blocks.
    ///
    /// # Errors
    /// [`ReaderError`].
    pub fn quarantine(&self) -> Result<Vec<serde_json::Value>, ReaderError> {
        quarantine::all(&self.db).map_err(|error| ReaderError::of(&self.path, error))
    }

    /// Whether a server has the file open.
    pub fn is_served(&self) -> bool {
        crate::store::file::lock::is_held(&self.path)
    }

    /// When the file or its write-ahead log was last written, as the file system says.
    pub fn written_at(&self) -> Option<UnixMs> {
        let files = [self.path.clone(), suffixed(&self.path, "-wal")];
        let known = files.iter().filter_map(|file| std::fs::metadata(file).ok());
        known.map(|of| UnixMs(of.mtime().saturating_mul(1000).saturating_add(of.mtime_nsec() / 1_000_000))).max()
    }
}

/// Services that changed since the last read; none if that cannot be determined.
fn changed(db: &Connection, meta: &Meta, last: Option<&LastRead>) -> rusqlite::Result<Option<Vec<Uuid>>> {
    let Some(last) = last.filter(|last| last.epoch == meta.epoch && meta.kind == Kind::Record) else {
        return Ok(None);
    };
    if last.revision < meta.floor || last.revision > meta.revision {
        return Ok(None);
    }
    let most = int(ONE_BY_ONE as u64 + 1);
    let mut statement = db.prepare_cached("SELECT DISTINCT service FROM change WHERE revision > ?1 LIMIT ?2")?;
    let ids = statement.query_map([int(last.revision), most], |row| row.get::<_, Id>(0).map(|id| id.0))?;
    let ids = match ids.collect::<rusqlite::Result<Vec<_>>>() {
        Err(error) if is_content(&error) => return Ok(None),
        ids => ids?,
    };
    Ok((ids.len() <= ONE_BY_ONE).then_some(ids))
}

fn some<T>(db: &Connection, ids: &[Uuid], each: impl Fn(&Service) -> T) -> rusqlite::Result<FileChanges<T>> {
    let (mut changed, mut removed) = (Vec::new(), Vec::new());
    for id in ids {
        match rows::one(db, *id)? {
            Some(service) => changed.push(each(&service)),
            None => removed.push(*id),
        }
    }
    Ok(FileChanges::Some(changed, removed))
}
