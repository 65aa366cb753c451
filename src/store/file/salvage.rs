//! Copies what can be read of a file with broken pages into a new one.
//!
//! A table is read from both ends up to the break. The indexes lie in other pages and tell which rows are missing; each of these is named
//! in quarantine. If too much is missing, or what is missing is unknown, the whole file counts as damaged. The damaged file is kept.

use std::collections::HashSet;

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, ErrorCode, Row, params, params_from_iter};
use serde_json::json;

use crate::catalog::Epoch;
use crate::model::time::UnixMs;
use crate::store::schema::quarantine::columns;
use crate::store::schema::spans;

/// Every table, referenced tables first.
const TABLES: &[&str] =
    &["meta", "service", "instance", "probe", "transition", "change", "quarantine", "recorded", "gap", "span"];
/// Those that older files may not have.
const ADDED: &[&str] = &["quarantine", "recorded", "gap", "span"];
/// What is recorded for availability: a part of it would count as time without an outage.
const RECORD: &[&str] = &["recorded", "gap", "span"];

/// Indexes that contain every registered row: what they hold of a row identifies it.
const NAMES: &[(&str, &str)] = &[
    ("service", "SELECT rowid, 'id ' || lower(hex(id)) FROM service INDEXED BY sqlite_autoindex_service_1"),
    (
        "instance",
        "SELECT rowid, 'service row ' || service || '/' || name FROM instance INDEXED BY sqlite_autoindex_instance_1",
    ),
];

/// Copies everything that can be read into a new file of the newest schema. Returns the number of registered rows that are missing.
///
/// # Errors
/// What is missing, if that is too much.
pub(crate) fn copy(from: &Connection, to: &Connection, now: UnixMs) -> Result<u64, String> {
    let (mut missing, mut recorded) = (0, true);
    for table in TABLES {
        let copied = Table::of(from, to, table).and_then(|copy| copy.map_or(Ok(true), |mut copy| copy.run(now)));
        let whole = copied.map_err(|error| format!("{table}: {error}"))?;
        recorded &= whole || !RECORD.contains(table);
        if let Some((_, names)) = NAMES.iter().find(|(named, _)| named == table).filter(|_| !whole) {
            missing += name_missing(from, to, table, names, now).map_err(|error| format!("{table}: {error}"))?;
        }
    }
    let left: u32 = to.query_row("SELECT count(*) FROM service", [], |row| row.get(0)).map_err(|e| e.to_string())?;
    if u64::from(left) <= missing {
        return Err(format!("{missing} rows of what was registered cannot be read"));
    }
    if !recorded {
        spans::begin_again(to).map_err(|error| error.to_string())?;
    }
    // No lock file proves what is missing.
    let run = Epoch::random().to_string();
    to.execute("UPDATE meta SET run = ?1", [run]).map_err(|error| error.to_string())?;
    Ok(missing)
}

/// A table that is being copied.
struct Table<'c> {
    from: &'c Connection,
    to: &'c Connection,
    name: &'static str,
    /// The columns that both files have.
    columns: String,
    insert: String,
    copied: HashSet<i64>,
}

impl<'c> Table<'c> {
    /// None if an older file has no such table.
    fn of(from: &'c Connection, to: &'c Connection, name: &'static str) -> rusqlite::Result<Option<Self>> {
        let (theirs, ours) = (column_names(from, name)?, column_names(to, name)?);
        if theirs.is_empty() && ADDED.contains(&name) {
            return Ok(None);
        }
        let both: Vec<_> = ours.into_iter().filter(|column| theirs.contains(column)).collect();
        let marks = vec!["?"; both.len()].join(", ");
        let columns = both.join(", ");
        let insert = format!("INSERT INTO {name} ({columns}) VALUES ({marks})");
        Ok(Some(Self { from, to, name, columns, insert, copied: HashSet::new() }))
    }

    /// Copies the table from both ends. Returns whether that was all of it.
    fn run(&mut self, now: UnixMs) -> rusqlite::Result<bool> {
        if self.pass("ASC", now)? {
            return Ok(true);
        }
        self.pass("DESC", now)?;
        Ok(false)
    }

    /// Copies rows up to a break or to a row that was copied already. Returns whether there was no break.
    fn pass(&mut self, order: &str, now: UnixMs) -> rusqlite::Result<bool> {
        let sql = format!("SELECT {}, rowid FROM {} ORDER BY rowid {order}", self.columns, self.name);
        let mut statement = self.from.prepare(&sql)?;
        let width = statement.column_count() - 1;
        let mut rows = statement.query([])?;
        loop {
            let number = match rows.next().and_then(|row| row.map(|row| take(self, row, width, now)).transpose()) {
                Ok(None) => return Ok(true),
                Ok(Some(number)) => number,
                Err(error) if is_break(&error) => return Ok(false),
                Err(error) => return Err(error),
            };
            if !self.copied.insert(number) {
                return Ok(true);
            }
        }
    }
}

/// Copies a row unless it was copied before; one that violates a constraint goes into quarantine. Returns its number.
fn take(table: &Table<'_>, row: &Row<'_>, width: usize, now: UnixMs) -> rusqlite::Result<i64> {
    let number = row.get(width)?;
    if table.copied.contains(&number) {
        return Ok(number);
    }
    let values =
        (0..width).map(|at| row.get_ref(at).map(ToSqlOutput::Borrowed)).collect::<rusqlite::Result<Vec<_>>>()?;
    match table.to.prepare_cached(&table.insert)?.execute(params_from_iter(values)) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            let (reason, content) = (error.to_string(), columns(row).to_string());
            put(table.to, table.name, number, "", &reason, &content, now)?;
        }
        done => drop(done?),
    }
    Ok(number)
}

fn is_break(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::TooBig))
}

/// Names the rows that the index has and the copy lacks. Returns how many there are.
fn name_missing(
    from: &Connection,
    to: &Connection,
    table: &'static str,
    names: &str,
    now: UnixMs,
) -> rusqlite::Result<u64> {
    let (mut missing, mut names) = (0, from.prepare(names)?);
    let mut is_there = to.prepare(&format!("SELECT 1 FROM {table} WHERE rowid = ?1"))?;
    let mut rows = names.query([])?;
    while let Some(row) = rows.next()? {
        let (number, name): (i64, String) = (row.get(0)?, row.get(1)?);
        if !is_there.exists([number])? {
            put(
                to,
                table,
                number,
                &name,
                "its page is damaged; the file that was set aside has what is left",
                &json!({}).to_string(),
                now,
            )?;
            missing += 1;
        }
    }
    Ok(missing)
}

fn put(
    to: &Connection,
    table: &str,
    row: i64,
    name: &str,
    reason: &str,
    content: &str,
    now: UnixMs,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO quarantine (at, source, row, name, reason, content) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    to.prepare_cached(sql)?.execute(params![now.0, table, row, name, reason, content]).map(drop)
}

fn column_names(db: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut columns = db.prepare("SELECT name FROM pragma_table_info(?1)")?;
    columns.query_map([table], |row| row.get(0))?.collect()
}
