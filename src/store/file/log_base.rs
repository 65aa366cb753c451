//! Whether the write-ahead log was written on this state of the database file.

use std::fs::File;
use std::path::Path;

use rusqlite::Connection;

use super::connect::{alone, connect_aside};
use super::lock::{FileLock, Proof};
use super::paths::suffixed;
use crate::catalog::Epoch;
use crate::store::schema;
use crate::store::schema::meta::{Kind, Meta};

/// What the database file says without its log.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogBase {
    /// The run that it names; none in a new file, in one of an older schema, and if it cannot be read.
    run: Option<String>,
    /// Whether that survives a power cut.
    durable: bool,
}

impl LogBase {
    /// Reads the file, after a sync: a server that was killed may have left data that is not on disk yet. Call it before this process
    /// has a connection, because it would drop that connection's locks.
    pub(crate) fn of(path: &Path) -> Self {
        let durable = File::open(path).and_then(|file| file.sync_all()).is_ok();
        let read = alone(path).and_then(|db| Ok((schema::version(&db)?, run(&db)?)));
        // A page that was written only in part may hold anything.
        let run = read.ok().filter(|(version, run)| *version >= 3 && run.parse::<Epoch>().is_ok());
        Self { run: run.map(|(_, run)| run), durable }
    }

    /// Whether the log was written on another state of the file: somebody replaced the file by an older copy, or served it under another
    /// name meanwhile. Applying such a log would damage the file.
    ///
    /// A run writes its name into the database file before it writes anything else, so both name the same run unless the start was cut
    /// off. In that case the lock file, which is written and synced before the run's first commit, names every run that the file can name.
    pub(crate) fn has_foreign_log(&self, path: &Path, proof: Option<&Proof>) -> bool {
        let Some(base) = &self.run else { return false };
        let Ok(run) = connect_aside(path).and_then(|db| run(&db)) else { return false };
        let known = proof.is_some_and(|proof| proof.names(base) || proof.base.is_none() && proof.names(&run));
        *base != run && !known
    }

    /// Announces the run that is about to begin. Without this, the start after one that was cut off might be refused because of a foreign
    /// log.
    pub(crate) fn announce(&self, next: &Meta, lock: &mut FileLock, path: &Path) {
        if next.kind != Kind::Record {
            return;
        }
        let base = self.run.as_deref().filter(|_| self.durable);
        if let Err(error) = lock.announce(&next.run, base) {
            tracing::warn!("{} cannot be written: {error}", suffixed(path, ".lock").display());
        }
    }
}

fn run(db: &Connection) -> rusqlite::Result<String> {
    db.query_row("SELECT run FROM meta", [], |row| row.get(0))
}
