//! The one row of `meta`: what a file says of itself.

use rusqlite::Connection;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};

use super::codec::{Count, Parsed, time};
use crate::catalog::Epoch;
use crate::model::time::UnixMs;

/// The one row of `meta`.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    pub(crate) epoch: Epoch,
    pub(crate) run: String,
    pub(crate) revision: u64,
    pub(crate) serial: u64,
    pub(crate) floor: u64,
    pub(crate) kind: Kind,
    /// When the file was created.
    pub(crate) began: UnixMs,
}

/// Lower bounds for the numbers of a `meta` row that is lost or damaged, from the other tables: revision and serial.
pub(crate) fn least(db: &Connection) -> rusqlite::Result<(u64, u64)> {
    let sql =
        "SELECT max(coalesce((SELECT max(revision) FROM service), 0), coalesce((SELECT max(revision) FROM change), 0)),
        max(coalesce((SELECT max(row) FROM service), 0), coalesce((SELECT max(id) FROM instance), 0),
        coalesce((SELECT max(generation) FROM instance), 0))";
    db.query_row(sql, [], |row| {
        let number = |at| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
        Ok((number(0)?, number(1)?))
    })
}

/// Whether the file holds anything, and whether it looks like a mirror.
pub(crate) fn traces(db: &Connection) -> rusqlite::Result<(bool, bool)> {
    let sql = "SELECT exists (SELECT 1 FROM service) OR exists (SELECT 1 FROM instance),
        exists (SELECT 1 FROM instance WHERE fence IS NOT NULL)";
    db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The record.
    Record,
    /// A mirror of a cluster.
    Mirror {
        /// Whether it has ever held everything.
        complete: bool,
    },
}

impl Kind {
    /// Its number in the database.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Record => 0,
            Self::Mirror { complete } => 1 + u8::from(complete),
        }
    }
}

impl FromSql for Kind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::Record),
            1 => Ok(Self::Mirror { complete: false }),
            2 => Ok(Self::Mirror { complete: true }),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

/// Reads the row; none in a new file.
pub(crate) fn read(db: &Connection) -> rusqlite::Result<Option<Meta>> {
    let mut statement = db.prepare("SELECT epoch, run, revision, serial, floor, mirror, began FROM meta")?;
    let mut rows = statement.query_map([], |row| {
        Ok(Meta {
            epoch: row.get::<_, Parsed<Epoch>>("epoch")?.0,
            run: row.get("run")?,
            revision: row.get::<_, Count>("revision")?.0,
            serial: row.get::<_, Count>("serial")?.0,
            floor: row.get::<_, Count>("floor")?.0,
            kind: row.get("mirror")?,
            began: time(row, "began")?,
        })
    })?;
    rows.next().transpose()
}
