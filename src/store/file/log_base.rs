//! The run that the database file itself names, and whether the write-ahead log beside it was written on this state of the file.

use std::fs::File;
use std::path::Path;

use rusqlite::Connection;

use super::connect::{alone, connect_aside};
use super::lock::{FileLock, Proof};
use super::paths::suffixed;
use crate::catalog::Epoch;
use crate::store::schema;
use crate::store::schema::meta::{Kind, Meta};

/// What the file names, without its log.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Base {
    /// None in a new file, in one of an older schema, and where it cannot be read.
    run: Option<String>,
    /// Whether a power cut leaves it so.
    durable: bool,
}

impl Base {
    /// Reads it, after a sync: a server that was killed may have left what no disk holds yet. To be asked before this process has a
    /// connection, whose locks it would drop.
    pub(in crate::store) fn of(path: &Path) -> Self {
        let durable = File::open(path).and_then(|file| file.sync_all()).is_ok();
        let read = alone(path).and_then(|db| Ok((schema::version(&db)?, run(&db)?)));
        // A page that was cut off half way may hold anything.
        let run = read.ok().filter(|(version, run)| *version >= 3 && run.parse::<Epoch>().is_ok());
        Self { run: run.map(|(_, run)| run), durable }
    }

    /// Whether the log beside the file was written on another state of it: an older copy was put in its place, or it was served under
    /// another name meanwhile. Played into this one, it would damage it.
    ///
    /// A run writes its word into the file itself before it writes anything else, so the two agree, or the start was cut off, and then the
    /// lock file, written and synced before the run's first commit, names what the file can name.
    pub(in crate::store) fn has_foreign_log(&self, path: &Path, proof: Option<&Proof>) -> bool {
        let Some(base) = &self.run else { return false };
        let Ok(run) = connect_aside(path).and_then(|db| run(&db)) else { return false };
        let known = proof.is_some_and(|proof| proof.names(base) || proof.base.is_none() && proof.names(&run));
        *base != run && !known
    }

    /// Announces the run that is about to begin on it. Without that, a start that is cut off may be refused as one with a foreign log.
    pub(in crate::store) fn announce(&self, next: &Meta, lock: &mut FileLock, path: &Path) {
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
