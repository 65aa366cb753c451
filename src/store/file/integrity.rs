//! Whether a file is damaged as a whole, or only in rows and indexes.

use rusqlite::{Connection, ErrorCode, ffi};

/// Messages of SQLite's checks about one row's content, about an index that can be rebuilt, or about unused space
/// ([`integrity_check`](https://www.sqlite.org/pragma.html#pragma_integrity_check)). Any other message means that a table or the file is
/// broken.
const OF_ROWS: &[&str] = &["NULL value in ", " value in ", "CHECK constraint failed"];
const OF_INDEXES: &[&str] =
    &["missing from index", "differ from index", "entries in index", "entry in index", " of index "];
const HARMLESS: &[&str] = &["never used"];
/// The tables whose indexes are checked too: those of what is registered. History's take longer, and errors there show later.
const INDEXED: &[&str] = &["service", "instance"];

/// Checks the file. Returns whether an index has to be rebuilt, or what is wrong with the file.
pub(crate) fn check(db: &Connection) -> rusqlite::Result<Result<bool, String>> {
    let mut lines = messages(db, "PRAGMA quick_check")?;
    for table in INDEXED {
        if is_table(db, table)? {
            lines.extend(messages(db, &format!("PRAGMA integrity_check({table})"))?);
        }
    }
    lines.retain(|line| line != "ok");
    if let Some(error) = lines.iter().find_map(|line| failure(line)) {
        return Err(error);
    }
    let is = |line: &str, kinds: &[&str]| kinds.iter().any(|kind| line.contains(kind));
    let whole = lines.iter().find(|line| [OF_ROWS, OF_INDEXES, HARMLESS].iter().all(|kinds| !is(line, kinds)));
    Ok(match whole {
        Some(broken) => Err(broken.replace('\n', " ")),
        None => Ok(lines.iter().any(|line| is(line, OF_INDEXES))),
    })
}

/// The error behind a message about a page that could not be read. A device or a system that fails now says nothing about the file's
/// content, and may deliver it later. Messages about a page's content are no such error.
fn failure(line: &str) -> Option<rusqlite::Error> {
    let (_, number) = line.split_once("unable to get the page. error code=")?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    let error = ffi::Error::new(digits.parse().ok()?);
    let damage = matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase);
    (!damage).then(|| rusqlite::Error::SqliteFailure(error, Some("a page cannot be read".to_owned())))
}

fn messages(db: &Connection, pragma: &str) -> rusqlite::Result<Vec<String>> {
    db.prepare(pragma)?.query_map([], |row| row.get(0))?.collect()
}

fn is_table(db: &Connection, name: &str) -> rusqlite::Result<bool> {
    db.prepare("SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1")?.exists([name])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_fails_is_no_damage() {
        let of = |line: &str| failure(line).and_then(|error| error.sqlite_error_code());
        // SQLITE_IOERR_CORRUPTFS, SQLITE_IOERR_READ, SQLITE_NOMEM; then SQLITE_CORRUPT.
        for code in ["8458", "266", "7"] {
            assert!(
                of(&format!("Tree 9 page 12 cell 3: unable to get the page. error code={code}")).is_some(),
                "{code}"
            );
        }
        assert_eq!(of("Tree 9 page 9: unable to get the page. error code=11"), None);
        assert_eq!(of("Tree 9 page 9: btreeInitPage() returns error code 11"), None);
        assert_eq!(of("NULL value in service.name"), None);
    }
}
