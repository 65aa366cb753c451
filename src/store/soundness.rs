//! Whether a file is damaged as a whole, or only in rows and indexes.

use rusqlite::Connection;

/// Messages of SQLite's checks that are about one row's content, about an index that can be made again, or about unused space
/// ([`integrity_check`](https://www.sqlite.org/pragma.html#pragma_integrity_check)); of the rest a table or the file is broken.
const OF_ROWS: &[&str] = &["NULL value in ", " value in ", "CHECK constraint failed"];
const OF_INDEXES: &[&str] =
    &["missing from index", "differ from index", "entries in index", "entry in index", " of index "];
const HARMLESS: &[&str] = &["never used"];
/// The tables whose indexes are checked too: what is registered. Those of history take longer, and an error there shows later.
const INDEXED: &[&str] = &["service", "instance"];

/// Checks the file: whether an index has to be made again, or else what is wrong with it.
pub(super) fn check(db: &Connection) -> rusqlite::Result<Result<bool, String>> {
    let mut said = messages(db, "PRAGMA quick_check")?;
    for table in INDEXED {
        if is_table(db, table)? {
            said.extend(messages(db, &format!("PRAGMA integrity_check({table})"))?);
        }
    }
    said.retain(|line| line != "ok");
    let is = |line: &str, kinds: &[&str]| kinds.iter().any(|kind| line.contains(kind));
    let whole = said.iter().find(|line| [OF_ROWS, OF_INDEXES, HARMLESS].iter().all(|kinds| !is(line, kinds)));
    Ok(match whole {
        Some(broken) => Err(broken.replace('\n', " ")),
        None => Ok(said.iter().any(|line| is(line, OF_INDEXES))),
    })
}

fn messages(db: &Connection, pragma: &str) -> rusqlite::Result<Vec<String>> {
    db.prepare(pragma)?.query_map([], |row| row.get(0))?.collect()
}

fn is_table(db: &Connection, name: &str) -> rusqlite::Result<bool> {
    db.prepare("SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1")?.exists([name])
}
