//! Reading a store's file beside the server that writes it, as another process and perhaps another user.
//!
//! Nothing is created, locked against the server or written: the file, its folder and its companions stay as they are.

mod file_access;
mod rows;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use uuid::Uuid;

use crate::catalog::{Entry, Epoch};
use crate::model::check::Check;
use crate::model::name::InstanceName;
use crate::model::ports::ServiceRef;
use crate::model::probe::ProbeRow;
use crate::store::error::StoreError;
use crate::store::history::{self, HistoryPage, HistoryQuery};
use crate::store::schema::codec::{Id, int, is_content};
use crate::store::schema::meta::{self, Kind, Meta};
use crate::store::schema::quarantine;
use file_access::FileAccess;
pub use file_access::ReaderError;

/// Changed services that are read one by one; of more the whole file is read.
const ONE_BY_ONE: usize = 1000;
/// A mirror tells no changes, so all of it is read again, at most this often.
const MIRROR: Duration = Duration::from_secs(2);

/// An open file.
pub struct FileReader {
    db: Connection,
    /// As it was given; it may be a link.
    named: PathBuf,
    path: PathBuf,
    access: FileAccess,
    /// What was read last; none before.
    known: Option<Known>,
}

struct Known {
    epoch: Epoch,
    revision: u64,
    /// SQLite's word for "somebody committed": it says that, and not what.
    version: i64,
    read: Instant,
}

/// What is new in the file, each service as a `T`.
#[derive(Debug)]
pub enum Seen<T> {
    /// Nothing.
    Same,
    /// All of it, in place of what was known.
    All(Vec<T>),
    /// New and changed services, and ids of those that are gone.
    Some(Vec<T>, Vec<Uuid>),
}

/// What probing left behind of one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    /// Which.
    pub instance: InstanceName,
    /// How it is probed.
    pub check: Check,
    /// What is known, at most 2 s old while a server runs.
    pub row: ProbeRow,
}

impl FileReader {
    /// Opens the file. Blocks.
    ///
    /// # Errors
    /// [`ReaderError`], saying what helps.
    pub fn open(path: &Path) -> Result<Self, ReaderError> {
        let whole = file_access::whole(path)?;
        let (db, access) = FileAccess::open(&whole)?;
        Ok(Self { db, named: path.to_owned(), path: whole, access, known: None })
    }

    /// What is new since the last call; everything at the first. Blocks, for microseconds where nothing is new. Each service becomes what
    /// `each` makes of it as soon as it is read, so that ten thousand are never held twice.
    ///
    /// # Errors
    /// [`ReaderError::Replaced`] when the path names another file by now, or the file is open in another way: open it again.
    pub fn poll<T>(&mut self, each: impl Fn(&Entry) -> T) -> Result<Seen<T>, ReaderError> {
        if !file_access::whole(&self.named).is_ok_and(|whole| whole == self.path) || !self.access.is_current(&self.path)
        {
            return Err(ReaderError::Replaced);
        }
        self.news(each).map_err(|error| ReaderError::of(&self.path, error))
    }

    fn news<T>(&mut self, each: impl Fn(&Entry) -> T) -> rusqlite::Result<Seen<T>> {
        let version = self.db.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if self.known.as_ref().is_some_and(|known| known.version == version) {
            return Ok(Seen::Same);
        }
        // One transaction, so that all of it is of one moment.
        let moment = self.db.unchecked_transaction()?;
        let Some(meta) = meta::read(&moment)? else { return Ok(Seen::Same) };
        if meta.kind != Kind::Record && self.known.as_ref().is_some_and(|known| known.read.elapsed() < MIRROR) {
            return Ok(Seen::Same);
        }
        let seen = match changed(&moment, &meta, self.known.as_ref())? {
            Some(ids) if ids.is_empty() => Seen::Same,
            Some(ids) => some(&moment, &ids, each)?,
            None => Seen::All(rows::all(&moment, each)?),
        };
        drop(moment);
        self.known = Some(Known { epoch: meta.epoch, revision: meta.revision, version, read: Instant::now() });
        Ok(seen)
    }

    /// What is known of the probing of a service's instances, in order of name; none when the service is not there. Blocks.
    ///
    /// # Errors
    /// [`ReaderError`].
    pub fn probing(&self, service: Uuid) -> Result<Option<Vec<Probed>>, ReaderError> {
        rows::probing(&self.db, service).map_err(|error| ReaderError::of(&self.path, error))
    }

    /// History of a service, newest first, also of one that was removed: at most `limit` entries older than `before`. Blocks.
    ///
    /// # Errors
    /// [`ReaderError`].
    pub fn history(&self, id: Uuid, before: Option<i64>, limit: usize) -> Result<Option<HistoryPage>, ReaderError> {
        let query = HistoryQuery { service: ServiceRef::Id(id), instance: None, before, limit };
        // What cannot be read is left out; the server that has the file keeps and names it.
        match history::page(&self.db, &query, None, &mut Vec::new()) {
            Ok(page) => Ok(Some(page)),
            Err(StoreError::Sqlite(error)) => Err(ReaderError::of(&self.path, error)),
            // Nothing was ever noted of it.
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
}

/// Services that changed since what is known; none where that cannot be told.
fn changed(db: &Connection, meta: &Meta, known: Option<&Known>) -> rusqlite::Result<Option<Vec<Uuid>>> {
    let Some(known) = known.filter(|known| known.epoch == meta.epoch && meta.kind == Kind::Record) else {
        return Ok(None);
    };
    if known.revision < meta.floor || known.revision > meta.revision {
        return Ok(None);
    }
    let most = int(ONE_BY_ONE as u64 + 1);
    let mut statement = db.prepare_cached("SELECT DISTINCT service FROM change WHERE revision > ?1 LIMIT ?2")?;
    let ids = statement.query_map([int(known.revision), most], |row| row.get::<_, Id>(0).map(|id| id.0))?;
    let ids = match ids.collect::<rusqlite::Result<Vec<_>>>() {
        Err(error) if is_content(&error) => return Ok(None),
        ids => ids?,
    };
    Ok((ids.len() <= ONE_BY_ONE).then_some(ids))
}

fn some<T>(db: &Connection, ids: &[Uuid], each: impl Fn(&Entry) -> T) -> rusqlite::Result<Seen<T>> {
    let (mut changed, mut gone) = (Vec::new(), Vec::new());
    for id in ids {
        match rows::one(db, *id)? {
            Some(entry) => changed.push(each(&entry)),
            None => gone.push(*id),
        }
    }
    Ok(Seen::Some(changed, gone))
}
