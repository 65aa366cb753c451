//! History, read by a thread of its own, so that no query delays a write.
//!
//! In: a query and a connection. Out: a page; rows that cannot be read are left out and named.
//!
//! 1. This file: the queries of history. [`availability`]: those of availability and outages.
//! 2. [`thread`]: the thread that answers them.

pub(crate) mod availability;
pub(crate) mod thread;

use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

pub use crate::model::history::{HistoryEntry, HistoryEvent};
use crate::model::name::{InstanceName, ServiceKey};
use crate::model::outcome::Health;
use crate::model::ports::ServiceRef;

use crate::store::error::StoreError;
use crate::store::schema::codec::{Count, Id, Json, Parsed, damaged, int, is_content, time};
use crate::store::schema::quarantine::{BadRow, Table};
use crate::store::schema::rows::describe;

/// Most entries of one page.
pub const MAX_PAGE: usize = 500;

/// A query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The service, which may have been removed. A key means the service registered now, else the one removed last.
    pub service: ServiceRef,
    /// Only this instance.
    pub instance: Option<InstanceName>,
    /// Only entries older than this one, for the next page.
    pub before: Option<i64>,
    /// Most entries, clamped to 1 to [`MAX_PAGE`].
    pub limit: usize,
}

/// A page, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// The service.
    pub service: Uuid,
    /// Namespace and name, by which access is decided.
    pub key: ServiceKey,
    /// Its entries.
    pub entries: Vec<HistoryEntry>,
    /// `before` of the next page; none on the last.
    pub next: Option<i64>,
}

/// Services that were removed.
pub type Removals = Vec<(ServiceKey, Uuid)>;
/// Most removals that are looked up; a reader that missed more starts over.
const MAX_REMOVALS: usize = 10_000;

/// A page. `known` is the service as registered now. Rows that cannot be read are left out and added to `bad`.
pub(crate) fn page(
    db: &Connection,
    query: &HistoryQuery,
    known: Option<(Uuid, ServiceKey)>,
    bad: &mut Vec<BadRow>,
) -> Result<HistoryPage, StoreError> {
    let (service, key) = match known {
        Some(known) => known,
        None => removed(db, &query.service, bad)?.ok_or(StoreError::ServiceNotFound)?,
    };
    let limit = query.limit.clamp(1, MAX_PAGE);
    let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(
        "SELECT id, instance, at, event, from_health, to_health, reason, check_name, message, evidence FROM transition
         WHERE service = ?1 AND id < ?2 AND (?3 IS NULL OR instance = ?3) ORDER BY id DESC LIMIT ?4",
    )?;
    let before = query.before.unwrap_or(i64::MAX);
    let instance = query.instance.as_ref().map(InstanceName::as_str);
    let mut rows = statement.query(params![service.as_bytes().as_slice(), before, instance, one_more])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let name = || format!("{} {}", key.as_str(), row.get::<_, String>("instance").unwrap_or_default());
        found.push((row.get(0)?, readable(row, entry(row), Table::Transition, name, bad)?));
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(id, _)| *id);
    Ok(HistoryPage { service, key, entries: found.into_iter().filter_map(|(_, entry)| entry).collect(), next })
}

/// What was read of a row whose first column is its number; none if it cannot be read.
fn readable<T>(
    row: &Row<'_>,
    read: rusqlite::Result<T>,
    table: Table,
    name: impl FnOnce() -> String,
    bad: &mut Vec<BadRow>,
) -> rusqlite::Result<Option<T>> {
    match read {
        Err(error) if is_content(&error) => {
            bad.push(BadRow { name: name(), ..BadRow::new(table, row.get(0)?, &describe(row, &error)) });
            Ok(None)
        }
        read => read.map(Some),
    }
}

pub(super) fn removed_since(db: &Connection, since: u64, bad: &mut Vec<BadRow>) -> rusqlite::Result<Option<Removals>> {
    let floor = db.prepare_cached("SELECT floor FROM meta")?.query_row([], |row| row.get::<_, Count>(0))?.0;
    if since < floor {
        return Ok(None);
    }
    let mut statement =
        db.prepare_cached("SELECT revision, service, key FROM change WHERE revision > ?1 AND deleted <> 0 LIMIT ?2")?;
    let most = i64::try_from(MAX_REMOVALS + 1).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![int(since), most])?;
    let mut removed = Removals::new();
    while let Some(row) = rows.next()? {
        let read = row.get::<_, String>(2).and_then(|text| Ok((key(&text)?, row.get::<_, Id>(1)?.0)));
        removed.extend(readable(row, read, Table::Change, String::new, bad)?);
    }
    Ok((bad.is_empty() && removed.len() <= MAX_REMOVALS).then_some(removed))
}

/// The removed service that `service` refers to.
fn removed(
    db: &Connection,
    service: &ServiceRef,
    bad: &mut Vec<BadRow>,
) -> rusqlite::Result<Option<(Uuid, ServiceKey)>> {
    let mut found = |row: &Row<'_>| {
        let read = row.get::<_, String>(2).and_then(|text| Ok((row.get::<_, Id>(1)?.0, key(&text)?)));
        readable(row, read, Table::Transition, String::new, bad)
    };
    let found = match service {
        ServiceRef::Id(id) => db
            .prepare_cached("SELECT id, service, key FROM transition WHERE service = ?1 LIMIT 1")?
            .query_row([id.as_bytes().as_slice()], &mut found),
        ServiceRef::Key(key) => db
            .prepare_cached(
                "SELECT id, service, key FROM transition WHERE key = ?1 AND to_health IS NULL ORDER BY id DESC LIMIT 1",
            )?
            .query_row([key.as_str()], &mut found),
    };
    Ok(found.optional()?.flatten())
}

fn key(text: &str) -> rusqlite::Result<ServiceKey> {
    let parts = text.split_once('/').and_then(|(ns, name)| ns.parse().ok().zip(name.parse().ok()));
    parts.map(|(ns, name)| ServiceKey::new(&ns, &name)).ok_or_else(|| damaged("a key").into())
}

fn entry(row: &Row<'_>) -> rusqlite::Result<HistoryEntry> {
    let to = row.get::<_, Option<Parsed<Health>>>("to_health")?.map(|h| h.0);
    Ok(HistoryEntry {
        id: row.get("id")?,
        event: match row.get::<_, Option<Parsed<HistoryEvent>>>("event")? {
            Some(event) => event.0,
            None if to.is_some() => HistoryEvent::Health,
            None => HistoryEvent::Removed,
        },
        instance: row.get::<_, Parsed<_>>("instance")?.0,
        at: time(row, "at")?,
        from: row.get::<_, Parsed<_>>("from_health")?.0,
        to,
        reason: row.get::<_, Option<Parsed<_>>>("reason")?.map(|r| r.0),
        check: row.get::<_, Option<Parsed<_>>>("check_name")?.map(|name| name.0).unwrap_or_default(),
        message: row.get("message")?,
        evidence: row.get::<_, Option<Json<_>>>("evidence")?.map(|e| e.0),
    })
}
