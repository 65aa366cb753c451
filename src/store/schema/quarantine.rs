//! Rows that cannot be read are kept aside and named, so that a damaged row costs only its own content.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use serde_json::{Map, Value, json};

use super::codec::int;
use crate::model::text;
use crate::model::time::UnixMs;
use crate::telemetry::metrics::Metrics;

/// The schema that has the table.
pub(crate) const SINCE: u32 = 3;
/// Most rows that are kept, the newest.
const MAX_ROWS: u64 = 10_000;
/// Rows that the log and `/readyz?verbose` name individually.
pub(crate) const NAMED_ROWS: usize = 5;

/// A table with rows that may be moved into quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Meta,
    Service,
    Instance,
    Probe,
    Transition,
    Change,
    Span,
}

impl Table {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Service => "service",
            Self::Instance => "instance",
            Self::Probe => "probe",
            Self::Transition => "transition",
            Self::Change => "change",
            Self::Span => "span",
        }
    }
}

/// A row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRow {
    pub(crate) table: Table,
    /// Its rowid.
    pub(crate) row: i64,
    /// What it belongs to, as far as that is readable.
    pub(crate) name: String,
    /// The row of the service, for an instance.
    pub(crate) service: Option<i64>,
    pub(crate) reason: String,
}

impl BadRow {
    pub(crate) fn new(table: Table, row: i64, reason: &impl ToString) -> Self {
        Self { table, row, name: String::new(), service: None, reason: text::escape(&reason.to_string(), 300) }
    }

    /// Whether readers of the catalog miss something because of it.
    pub(crate) fn is_registered(&self) -> bool {
        matches!(self.table, Table::Service | Table::Instance)
    }
}

impl std::fmt::Display for BadRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = if self.name.is_empty() { String::new() } else { format!(" ({})", text::escape(&self.name, 140)) };
        write!(f, "{} row {}{name}: {}", self.table.name(), self.row, self.reason)
    }
}

/// What is in quarantine, shared with readers.
#[derive(Debug)]
pub(crate) struct Quarantine {
    rows: AtomicU64,
    newest: Mutex<Vec<String>>,
    metrics: Metrics,
}

impl Quarantine {
    pub(crate) fn new(summary: QuarantineSummary, metrics: Metrics) -> Self {
        let quarantine = Self { rows: AtomicU64::default(), newest: Mutex::default(), metrics };
        quarantine.set(summary);
        quarantine
    }

    /// Updates it to what the file holds.
    pub(crate) fn set(&self, summary: QuarantineSummary) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = summary.newest;
        self.rows.store(summary.rows, Ordering::Relaxed);
        self.metrics.quarantined_rows.set(int(summary.rows));
    }

    /// How many rows there are, with the newest few.
    pub(crate) fn read(&self) -> (u64, Vec<String>) {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.rows.load(Ordering::Relaxed), newest)
    }
}

/// Logs rows.
pub(crate) fn log(bad: &[BadRow]) {
    for row in bad.iter().take(NAMED_ROWS) {
        tracing::error!("a row of the store cannot be read and goes into quarantine: {row}");
    }
    if bad.len() > NAMED_ROWS {
        tracing::error!(
            "{} more rows go into quarantine; `portolan quarantine` prints them all",
            bad.len() - NAMED_ROWS
        );
    }
}

/// What a file holds in quarantine.
#[derive(Debug, Default)]
pub(crate) struct QuarantineSummary {
    rows: u64,
    newest: Vec<String>,
}

impl QuarantineSummary {
    /// Reads it; empty for a file of an older schema.
    pub(crate) fn of(db: &Connection) -> rusqlite::Result<Self> {
        if !is_there(db)? {
            return Ok(Self::default());
        }
        let rows = db.query_row("SELECT count(*) FROM quarantine", [], |row| row.get::<_, u32>(0))?;
        let mut newest = db.prepare("SELECT source, row, name, reason FROM quarantine ORDER BY id DESC LIMIT ?1")?;
        let newest = newest.query_map([int(NAMED_ROWS as u64)], |row| {
            let text = |at: usize| row.get_ref(at).map(shown);
            let (source, name, reason) = (text(0)?, text(2)?, text(3)?);
            Ok(format!("{source} row {} ({name}): {reason}", text(1)?))
        })?;
        Ok(Self { rows: rows.into(), newest: newest.collect::<rusqlite::Result<_>>()? })
    }

    /// Adds rows that are not in quarantine yet.
    pub(crate) fn and(mut self, bad: &[BadRow]) -> Self {
        self.newest.splice(0..0, bad.iter().rev().take(NAMED_ROWS).map(BadRow::to_string));
        self.newest.truncate(NAMED_ROWS);
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

/// Moves a row into quarantine, inside the caller's transaction. A row that no longer exists is skipped.
pub(crate) fn put_away(db: &Connection, bad: &BadRow, now: UnixMs) -> rusqlite::Result<()> {
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
        // An index that does not match the row.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            db.execute_batch(&format!("REINDEX {table}"))?;
            delete().map(drop)
        }
        done => done.map(drop),
    }
}

/// Forgets the oldest rows beyond [`MAX_ROWS`].
pub(crate) fn trim(db: &Connection) -> rusqlite::Result<()> {
    let sql = "DELETE FROM quarantine WHERE id <= (SELECT id FROM quarantine ORDER BY id DESC LIMIT 1 OFFSET ?1)";
    db.execute(sql, [int(MAX_ROWS)]).map(drop)
}

/// A row's columns as JSON.
pub(crate) fn columns(row: &Row<'_>) -> Value {
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
pub(crate) fn all(db: &Connection) -> rusqlite::Result<Vec<Value>> {
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
