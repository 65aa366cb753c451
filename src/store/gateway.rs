//! Reads the database of the Go microservice gateway, which Portolan succeeds: its table `service_infos`.
//!
//! In: a path. Out: its rows as texts, as they are; what they mean is the importer's affair. Nothing is written; the gateway may be running.
//!
//! The gateway's library makes a column of each field of its `ServiceInfo`. Programs that grew from it may lack some or have others, so
//! only `name` and `base_url` are required.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};

use super::schema;

/// How long to wait for a gateway that is writing.
const BUSY: Duration = Duration::from_secs(5);

const TABLE: &str = "service_infos";

/// The columns that are read, in the order of [`read_row`].
const COLUMNS: [&str; 9] =
    ["id", "name", "version", "description", "base_url", "health_url", "metadata", "registered_at", "updated_at"];
/// Columns without a meaning here: Portolan proves the health itself.
const PASSED_OVER: [&str; 2] = ["status", "last_health_check"];
/// Where a descendant of the gateway marks rows that it no longer shows.
const DELETED: &str = "deleted_at";

/// A row, each column as text; missing and null ones are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GatewayRow {
    /// Its primary key.
    pub id: String,
    /// The service's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Words about it.
    pub description: String,
    /// Where it is reached.
    pub base_url: String,
    /// Where it is probed.
    pub health_url: String,
    /// A JSON object as text.
    pub metadata: String,
    /// When it was first registered, as Go's SQLite driver writes times.
    pub registered_at: String,
    /// When it was changed last.
    pub updated_at: String,
    /// Columns that hold no text.
    pub unreadable: Vec<&'static str>,
}

/// Why the file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A store of Portolan.
    #[error(
        "{path} is a store of Portolan and needs no import: `DB_PATH={path} portolan serve` serves it, and `portolan export --db {path}` \
         writes lines that another store takes", path = .0.display()
    )]
    Ours(PathBuf),
    /// Another program's database.
    #[error("{} is an SQLite file without the gateway's table service_infos; the gateway's DB_PATH names its file", .0.display())]
    Foreign(PathBuf),
    /// The table lacks a column that every registration needs.
    #[error("{}: its table service_infos has no column {column}, so it holds nothing that can be registered", .path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
    },
    /// The gateway was killed while it wrote.
    #[error(
        "{path} was not closed in order; start and stop the gateway once, or run `sqlite3 {path} .tables`, so that SQLite repairs it",
        path = .0.display()
    )]
    Unclean(PathBuf),
    /// The gateway writes to it.
    #[error("{} is locked: the gateway, or another program, writes to it; try again", .0.display())]
    Locked(PathBuf),
    /// SQLite failed.
    #[error("{} could not be read: {source}", .path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's error.
        source: rusqlite::Error,
    },
}

/// The gateway's file, open.
pub struct GatewayFile {
    db: Connection,
    path: PathBuf,
    columns: Vec<String>,
}

impl GatewayFile {
    /// Opens it. Blocks.
    ///
    /// # Errors
    /// [`GatewayError`], with the remedy.
    pub fn open(path: &Path) -> Result<Self, GatewayError> {
        let failed = |error| failure(path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags).map_err(failed)?;
        db.busy_timeout(BUSY).map_err(failed)?;
        let application: u32 = db.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
        if application == schema::APPLICATION_ID {
            return Err(GatewayError::Ours(path.to_owned()));
        }
        let columns = columns(&db).map_err(failed)?;
        if columns.is_empty() {
            return Err(GatewayError::Foreign(path.to_owned()));
        }
        let file = Self { db, path: path.to_owned(), columns };
        match ["name", "base_url"].into_iter().find(|column| !file.has(column)) {
            Some(column) => Err(GatewayError::Column { path: path.to_owned(), column }),
            None => Ok(file),
        }
    }

    /// Columns of the table that nothing here knows.
    pub fn unknown(&self) -> Vec<&str> {
        let known = |column: &str| COLUMNS.contains(&column) || PASSED_OVER.contains(&column) || column == DELETED;
        self.columns.iter().map(String::as_str).filter(|column| !known(column)).collect()
    }

    /// Hands every row to `take`, in the table's order, until that is false. Blocks.
    ///
    /// # Errors
    /// [`GatewayError`].
    pub fn each(&self, take: impl FnMut(GatewayRow) -> bool) -> Result<(), GatewayError> {
        self.rows(take).map_err(|error| failure(&self.path, error))
    }

    fn rows(&self, mut take: impl FnMut(GatewayRow) -> bool) -> rusqlite::Result<()> {
        let columns = COLUMNS.map(|column| if self.has(column) { format!("\"{column}\"") } else { "NULL".to_owned() });
        let shown = if self.has(DELETED) { format!(" WHERE {DELETED} IS NULL") } else { String::new() };
        let mut statement = self.db.prepare(&format!("SELECT {} FROM {TABLE}{shown}", columns.join(", ")))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if !take(read_row(row)?) {
                break;
            }
        }
        Ok(())
    }

    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|has| has == column)
    }
}

fn columns(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = db.prepare("SELECT lower(name) FROM pragma_table_info(?1)")?;
    statement.query_map([TABLE], |row| row.get(0))?.collect()
}

fn read_row(row: &Row<'_>) -> rusqlite::Result<GatewayRow> {
    let mut unreadable = Vec::new();
    let mut at = 0;
    let mut next = || {
        let (value, column) = (row.get_ref(at)?, COLUMNS[at]);
        at += 1;
        Ok::<_, rusqlite::Error>(text(value).unwrap_or_else(|| {
            unreadable.push(column);
            String::new()
        }))
    };
    Ok(GatewayRow {
        id: next()?,
        name: next()?,
        version: next()?,
        description: next()?,
        base_url: next()?,
        health_url: next()?,
        metadata: next()?,
        registered_at: next()?,
        updated_at: next()?,
        unreadable,
    })
}

/// SQLite keeps any value in any column.
fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => Some(String::new()),
        ValueRef::Integer(n) => Some(n.to_string()),
        ValueRef::Real(n) => Some(n.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
    }
}

fn failure(path: &Path, source: rusqlite::Error) -> GatewayError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => GatewayError::Unclean(path),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => GatewayError::Locked(path),
        Some(ErrorCode::NotADatabase) => GatewayError::Foreign(path),
        _ => GatewayError::Sqlite { path, source },
    }
}
