//! Rows that cannot be read: kept aside and named, so that one of them costs what it holds and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use serde_json::{Map, Value, json};

use super::codec::int;
use crate::model::text;
use crate::model::time::UnixMs;
use crate::telemetry::metrics::Metrics;

/// Rows that are kept, the newest.
const MOST: u64 = 10_000;
/// Rows that the log and `/readyz?verbose` name one by one.
pub(in crate::store) const NAMED: usize = 5;

/// A table that rows are taken out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Table {
    Meta,
    Service,
    Instance,
    Probe,
    Transition,
    Change,
}

impl Table {
    pub(in crate::store) fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Service => "service",
            Self::Instance => "instance",
            Self::Probe => "probe",
            Self::Transition => "transition",
            Self::Change => "change",
        }
    }
}

/// A row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct BadRow {
    pub(in crate::store) table: Table,
    /// Its rowid.
    pub(in crate::store) row: i64,
    /// What it belongs to, as far as that can be read.
    pub(in crate::store) name: String,
    /// Of an instance, the row of its service.
    pub(in crate::store) service: Option<i64>,
    pub(in crate::store) reason: String,
}

impl BadRow {
    pub(in crate::store) fn new(table: Table, row: i64, reason: &impl ToString) -> Self {
        Self { table, row, name: String::new(), service: None, reason: text::escape(&reason.to_string(), 300) }
    }

    /// Whether readers of the catalog miss something.
    pub(in crate::store) fn is_registered(&self) -> bool {
        matches!(self.table, Table::Service | Table::Instance)
    }
}

impl std::fmt::Display for BadRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.name.is_empty() { String::new() } else { format!(" ({})", text::escape(&self.name, 140)) };
        write!(f, "{} row {}{name}: {}", self.table.name(), self.row, self.reason)
    }
}

/// What there is in quarantine, for whoever asks.
#[derive(Debug)]
pub(in crate::store) struct Quarantine {
    rows: AtomicU64,
    newest: Mutex<Vec<String>>,
    metrics: Metrics,
}

impl Quarantine {
    pub(in crate::store) fn new(kept: Kept, metrics: Metrics) -> Self {
        let quarantine = Self { rows: AtomicU64::default(), newest: Mutex::default(), metrics };
        quarantine.set(kept);
        quarantine
    }

    /// Takes what the file keeps by now.
    pub(in crate::store) fn set(&self, kept: Kept) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = kept.newest;
        self.rows.store(kept.rows, Ordering::Relaxed);
        self.metrics.quarantined_rows.set(int(kept.rows));
    }

    /// How many rows there are, and the newest few.
    pub(in crate::store) fn read(&self) -> (u64, Vec<String>) {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.rows.load(Ordering::Relaxed), newest)
    }
}

/// Names rows in the log.
pub(in crate::store) fn log(bad: &[BadRow]) {
    for row in bad.iter().take(NAMED) {
        tracing::error!("a row of the store cannot be read and goes into quarantine: {row}");
    }
    if bad.len() > NAMED {
        tracing::error!("{} more rows go there; `portolan quarantine` prints them all", bad.len() - NAMED);
    }
}

/// What a file keeps.
#[derive(Debug, Default)]
pub(in crate::store) struct Kept {
    rows: u64,
    newest: Vec<String>,
}

impl Kept {
    /// Reads it; nothing in a file of an older schema.
    pub(in crate::store) fn of(db: &Connection) -> rusqlite::Result<Self> {
        if !is_there(db)? {
            return Ok(Self::default());
        }
        let rows = db.query_row("SELECT count(*) FROM quarantine", [], |row| row.get::<_, u32>(0))?;
        let mut newest = db.prepare("SELECT source, row, name, reason FROM quarantine ORDER BY id DESC LIMIT ?1")?;
        let newest = newest.query_map([int(NAMED as u64)], |row| {
            let text = |at: usize| row.get_ref(at).map(shown);
            let (source, name, reason) = (text(0)?, text(2)?, text(3)?);
            Ok(format!("{source} row {} ({name}): {reason}", text(1)?))
        })?;
        Ok(Self { rows: rows.into(), newest: newest.collect::<rusqlite::Result<_>>()? })
    }

    /// With rows that it does not keep yet.
    pub(in crate::store) fn and(mut self, bad: &[BadRow]) -> Self {
        self.newest.splice(0..0, bad.iter().rev().take(NAMED).map(BadRow::to_string));
        self.newest.truncate(NAMED);
        self.rows += u64::try_from(bad.len()).unwrap_or(u64::MAX);
        self
    }
}

fn is_there(db: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'quarantine'";
    db.query_row(sql, [], |_| Ok(())).optional().map(|found| found.is_some())
}

fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(bytes) => text::escape(&String::from_utf8_lossy(bytes), 300),
        ValueRef::Integer(n) => n.to_string(),
        _ => String::new(),
    }
}

/// Moves a row into quarantine, inside the caller's transaction. One that is gone by now is none any more.
pub(in crate::store) fn put_away(db: &Connection, bad: &BadRow, now: UnixMs) -> rusqlite::Result<()> {
    let table = bad.table.name();
    let content = db
        .prepare_cached(&format!("SELECT * FROM {table} WHERE rowid = ?1"))?
        .query_row([bad.row], |row| Ok(columns(row)))
        .optional()?;
    let Some(content) = content else { return Ok(()) };
    let sql = "INSERT INTO quarantine (at, source, row, name, reason, content) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    db.prepare_cached(sql)?.execute(params![now.0, table, bad.row, bad.name, bad.reason, content.to_string()])?;
    let delete = || db.prepare_cached(&format!("DELETE FROM {table} WHERE rowid = ?1"))?.execute([bad.row]);
    match delete() {
        // An index that no longer goes with the row.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            db.execute_batch(&format!("REINDEX {table}"))?;
            delete().map(drop)
        }
        done => done.map(drop),
    }
}

/// Forgets the oldest beyond [`MOST`].
pub(in crate::store) fn trim(db: &Connection) -> rusqlite::Result<()> {
    let sql = "DELETE FROM quarantine WHERE id <= (SELECT id FROM quarantine ORDER BY id DESC LIMIT 1 OFFSET ?1)";
    db.execute(sql, [int(MOST)]).map(drop)
}

/// A row's columns as JSON.
pub(in crate::store) fn columns(row: &Row<'_>) -> Value {
    let names = row.as_ref().column_names();
    let all = names.into_iter().enumerate().map(|(at, name)| {
        let value = row.get_ref(at).map_or(Value::Null, value);
        (name.to_owned(), value)
    });
    Value::Object(all.collect::<Map<_, _>>())
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => n.into(),
        ValueRef::Real(n) => n.into(),
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).map_or_else(|_| hex(bytes), Value::from),
        ValueRef::Blob(bytes) => hex(bytes),
    }
}

fn hex(bytes: &[u8]) -> Value {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    json!({ "hex": text })
}

/// Every row in quarantine as one JSON object, oldest first.
pub(in crate::store) fn all(db: &Connection) -> rusqlite::Result<Vec<Value>> {
    let mut rows = db.prepare("SELECT id, at, source, row, name, reason, content FROM quarantine ORDER BY id")?;
    let rows = rows.query_map([], |row| {
        let at = row.get::<_, i64>("at").map(UnixMs)?;
        let content: String = row.get("content")?;
        Ok(json!({
            "id": row.get::<_, i64>("id")?,
            "at": at,
            "table": row.get::<_, String>("source")?,
            "row": row.get::<_, i64>("row")?,
            "name": row.get::<_, String>("name")?,
            "reason": row.get::<_, String>("reason")?,
            "content": serde_json::from_str::<Value>(&content).unwrap_or(Value::String(content)),
        }))
    })?;
    rows.collect()
}
