//! History: a reader thread of its own, so that no question about the past delays a write.

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::model::name::{InstanceName, ServiceKey};
use crate::model::outcome::{Health, Outcome, Reason};
use crate::model::ports::ServiceRef;
use crate::model::time::UnixMs;

use super::codec::{Count, Id, Json, Parsed, damaged, int, time};
use super::error::StoreError;

/// Questions that may wait.
pub(super) const QUEUE: usize = 64;
/// Most entries of one page.
pub const MAX_PAGE: usize = 500;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The service; also one that was removed. By key it is the one registered now, else the one removed last.
    pub service: ServiceRef,
    /// Only this instance.
    pub instance: Option<InstanceName>,
    /// Only entries older than this one, for the next page.
    pub before: Option<i64>,
    /// Most entries, 1 to [`MAX_PAGE`]; others are brought into that range.
    pub limit: usize,
}

/// What an entry tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HistoryEvent {
    /// Health changed.
    Health,
    /// The instance was deregistered.
    Removed,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    /// Its number, growing with time: the cursor.
    pub id: i64,
    /// What happened.
    pub event: HistoryEvent,
    /// To which instance.
    pub instance: InstanceName,
    /// When.
    pub at: UnixMs,
    /// Health before.
    pub from: Health,
    /// Health after; none for [`HistoryEvent::Removed`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Health>,
    /// Why; none for [`HistoryEvent::Removed`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// One sentence built by Portolan.
    pub message: String,
    /// The probe that decided it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Outcome>,
}

/// A page, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// The service.
    pub service: Uuid,
    /// Its namespace and name, to judge who may see it.
    pub key: ServiceKey,
    /// Its entries.
    pub entries: Vec<HistoryEntry>,
    /// `before` of the next page; none on the last.
    pub next: Option<i64>,
}

/// Services that were removed.
pub type Removals = Vec<(ServiceKey, Uuid)>;
/// Most removals that are looked up: whoever missed more takes everything anew.
const MAX_REMOVALS: usize = 10_000;

/// A question on its way to the reader.
pub(super) enum Question {
    /// Answer this. The key is known where the service is registered now.
    Page(HistoryQuery, Option<(Uuid, ServiceKey)>, oneshot::Sender<Result<HistoryPage, StoreError>>),
    /// What was removed after that revision; none where that is no longer known.
    Removed(u64, oneshot::Sender<Result<Option<Removals>, StoreError>>),
    /// No more questions after those that are queued.
    Stop,
}

/// What the reader's thread owns.
pub(super) struct Reader {
    pub(super) db: Connection,
    pub(super) questions: mpsc::Receiver<Question>,
}

impl Reader {
    /// Answers until it is told to stop or nobody can ask any more.
    pub(super) fn serve(mut self) {
        while let Some(question) = self.questions.blocking_recv() {
            self.answer(question);
        }
    }

    pub(super) fn answer(&mut self, question: Question) {
        match question {
            Question::Stop => self.questions.close(),
            // A waiter that went away needs no answer.
            Question::Removed(since, reply) => {
                drop(reply.send(removed_since(&self.db, since).map_err(StoreError::from)));
            }
            Question::Page(query, known, reply) => drop(reply.send(page(&self.db, &query, known))),
        }
    }
}

/// A page; `known` is the service where it is registered now.
pub(super) fn page(
    db: &Connection,
    query: &HistoryQuery,
    known: Option<(Uuid, ServiceKey)>,
) -> Result<HistoryPage, StoreError> {
    let (service, key) = match known {
        Some(known) => known,
        None => removed(db, &query.service)?.ok_or(StoreError::ServiceNotFound)?,
    };
    let limit = query.limit.clamp(1, MAX_PAGE);
    let one_more = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(
        "SELECT id, instance, at, from_health, to_health, reason, message, evidence FROM transition
         WHERE service = ?1 AND id < ?2 AND (?3 IS NULL OR instance = ?3) ORDER BY id DESC LIMIT ?4",
    )?;
    let before = query.before.unwrap_or(i64::MAX);
    let instance = query.instance.as_ref().map(InstanceName::as_str);
    let rows = statement.query_map(params![service.as_bytes().as_slice(), before, instance, one_more], entry)?;
    let mut entries = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|e| e.id);
    Ok(HistoryPage { service, key, entries, next })
}

fn removed_since(db: &Connection, since: u64) -> rusqlite::Result<Option<Removals>> {
    let floor = db.prepare_cached("SELECT floor FROM meta")?.query_row([], |row| row.get::<_, Count>(0))?.0;
    if since < floor {
        return Ok(None);
    }
    let mut statement =
        db.prepare_cached("SELECT service, key FROM change WHERE revision > ?1 AND deleted = 1 LIMIT ?2")?;
    let most = i64::try_from(MAX_REMOVALS + 1).unwrap_or(i64::MAX);
    let rows = statement
        .query_map(params![int(since), most], |row| Ok((key(&row.get::<_, String>(1)?)?, row.get::<_, Id>(0)?.0)))?;
    let removed = rows.collect::<rusqlite::Result<Removals>>()?;
    Ok((removed.len() <= MAX_REMOVALS).then_some(removed))
}

/// The removed service that is meant.
fn removed(db: &Connection, service: &ServiceRef) -> rusqlite::Result<Option<(Uuid, ServiceKey)>> {
    let found = |row: &Row<'_>| Ok((row.get::<_, Id>(0)?.0, key(&row.get::<_, String>(1)?)?));
    match service {
        ServiceRef::Id(id) => db
            .prepare_cached("SELECT service, key FROM transition WHERE service = ?1 LIMIT 1")?
            .query_row([id.as_bytes().as_slice()], found),
        ServiceRef::Key(key) => db
            .prepare_cached(
                "SELECT service, key FROM transition WHERE key = ?1 AND to_health IS NULL ORDER BY id DESC LIMIT 1",
            )?
            .query_row([key.as_str()], found),
    }
    .optional()
}

fn key(text: &str) -> rusqlite::Result<ServiceKey> {
    let parts = text.split_once('/').and_then(|(ns, name)| ns.parse().ok().zip(name.parse().ok()));
    parts.map(|(ns, name)| ServiceKey::new(&ns, &name)).ok_or_else(|| damaged("a key").into())
}

fn entry(row: &Row<'_>) -> rusqlite::Result<HistoryEntry> {
    let to = row.get::<_, Option<Parsed<Health>>>("to_health")?.map(|h| h.0);
    Ok(HistoryEntry {
        id: row.get("id")?,
        event: if to.is_some() { HistoryEvent::Health } else { HistoryEvent::Removed },
        instance: row.get::<_, Parsed<_>>("instance")?.0,
        at: time(row, "at")?,
        from: row.get::<_, Parsed<_>>("from_health")?.0,
        to,
        reason: row.get::<_, Option<Parsed<_>>>("reason")?.map(|r| r.0),
        message: row.get("message")?,
        evidence: row.get::<_, Option<Json<_>>>("evidence")?.map(|e| e.0),
    })
}
