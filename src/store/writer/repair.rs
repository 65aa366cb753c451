//! Rebuilds indexes that do not match their tables.
//!
//! A start checks only the indexes of what is registered. A damaged byte in any other row shows when the row is changed or deleted, and
//! would fail every transaction that tries.

use rusqlite::{Connection, ErrorCode};

use super::recording::Recording;
use super::{Due, Engine, Retained};
use crate::store::rules::state::Draft;

/// The tables with indexes, those of history and availability first.
const INDEXED: &[&str] = &["span", "transition", "probe", "instance", "service"];

/// Whether rebuilding the indexes may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repair {
    Possible,
    /// It did not help in this run, so it is not tried with every batch.
    Failed,
}

impl Engine {
    /// Commits a transaction. If that finds the file damaged, rebuilds the indexes and tries once more.
    pub(super) fn transact_or_repair(&mut self, draft: &Draft, due: Due) -> rusqlite::Result<(Retained, Recording)> {
        let error = match self.transact(draft, due) {
            Err(error) if is_corrupt(&error) && self.repair == Repair::Possible => error,
            done => return done,
        };
        // The failed transaction was rolled back.
        let rebuilt = self.db.as_ref().map_or(Ok(()), rebuild);
        let except = rebuilt.as_ref().err().map(|error| format!(", except: {error}")).unwrap_or_default();
        tracing::error!("{}: {error}; the indexes are rebuilt{except}", self.path.display());
        let done = self.transact(draft, due);
        if done.as_ref().is_err_and(is_corrupt) && !rebuilt.as_ref().err().is_some_and(passes) {
            self.repair = Repair::Failed;
        }
        done
    }
}

fn is_corrupt(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt)
}

/// Whether the cause of a failed rebuild may be gone by the next batch, as when the disk was full.
fn passes(error: &rusqlite::Error) -> bool {
    let lasting = [ErrorCode::DatabaseCorrupt, ErrorCode::ConstraintViolation];
    error.sqlite_error_code().is_none_or(|code| !lasting.contains(&code))
}

/// Rebuilds the indexes of every table, each in a transaction of its own, so that a table that fails leaves the others rebuilt.
///
/// # Errors
/// The first failure.
fn rebuild(db: &Connection) -> rusqlite::Result<()> {
    let mut first = Ok(());
    for table in INDEXED {
        let done = db.execute_batch(&format!("REINDEX {table}"));
        first = first.and(done);
    }
    first
}
