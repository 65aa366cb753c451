//! Deletes old rows in small batches, inside the writer's transactions.

use rusqlite::{Connection, params};

use crate::model::time::UnixMs;
use crate::store::schema::codec::int;

/// Revisions that `change` keeps.
const CHANGES: u64 = 65_536;
/// Most rows that one batch deletes.
const BITE: u64 = 1024;

/// How much history is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Most rows.
    pub(crate) rows: u64,
    /// Greatest age.
    pub(crate) age: std::time::Duration,
}

impl Bounds {
    /// The time before which history is too old.
    fn oldest(&self, now: UnixMs) -> i64 {
        now.0.saturating_sub(i64::try_from(self.age.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Deletes the oldest revisions beyond [`CHANGES`], one batch, and all up to `gap`. Returns the new floor.
pub(crate) fn changes(db: &Connection, revision: u64, floor: u64, gap: u64) -> rusqlite::Result<u64> {
    if gap > floor {
        let floor = gap.min(revision);
        db.prepare_cached("DELETE FROM change WHERE revision <= ?1")?.execute([int(floor)])?;
        return Ok(floor);
    }
    let excess = (revision - floor.min(revision)).saturating_sub(CHANGES);
    if excess < BITE {
        return Ok(floor);
    }
    let floor = floor + excess.min(4 * BITE);
    db.prepare_cached("DELETE FROM change WHERE revision <= ?1")?.execute([int(floor)])?;
    Ok(floor)
}

/// Deletes the oldest history beyond the bound. Returns how many rows it deleted.
pub(crate) fn surplus(db: &Connection, remembered: u64, bounds: &Bounds) -> rusqlite::Result<u64> {
    let excess = remembered.saturating_sub(bounds.rows).min(BITE);
    if excess == 0 {
        return Ok(0);
    }
    let sql = "DELETE FROM transition WHERE id <= (SELECT id FROM transition ORDER BY id LIMIT 1 OFFSET ?1)";
    db.prepare_cached(sql)?.execute([int(excess - 1)]).map(count)
}

/// Whether any of the oldest history is too old. Behind rows of a clock that was ahead, which seem young, there may be old ones.
pub(crate) fn is_aged(db: &Connection, now: UnixMs, bounds: &Bounds) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM (SELECT at FROM transition ORDER BY id LIMIT ?1) WHERE at < ?2";
    db.prepare_cached(sql)?.exists(params![int(BITE), bounds.oldest(now)])
}

/// Deletes what is too old of the oldest history, one batch. Returns how many rows it deleted. While the clock was behind, rows were written
/// that seem old after young ones.
pub(crate) fn aged(db: &Connection, now: UnixMs, bounds: &Bounds) -> rusqlite::Result<u64> {
    let sql = "DELETE FROM transition WHERE id IN
        (SELECT id FROM (SELECT id, at FROM transition ORDER BY id LIMIT ?1) WHERE at < ?2)";
    db.prepare_cached(sql)?.execute(params![int(BITE), bounds.oldest(now)]).map(count)
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
