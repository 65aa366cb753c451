//! Beginning a run that could not begin at the start, and moving what was written into the file once the server is idle.

use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::Engine;
use crate::model::ports::WriteError;
use crate::store::file::begin;
use crate::store::file::connect::{Gate, connect};
use crate::store::file::damage::{is_writable, write_error};
use crate::store::file::lock::FileLock;
use crate::store::file::open::Waiting;
use crate::store::schema::quarantine::Kept;

/// Time between two attempts to begin.
const RETRY: Duration = Duration::from_millis(250);
/// Time without writes after which the file itself is brought up to date.
const QUIET: Duration = Duration::from_secs(1);

/// A run that waits for its beginning.
pub(in crate::store) struct Postponed {
    pub(in crate::store) waiting: Waiting,
    pub(in crate::store) gate: Gate,
    /// The last attempt.
    pub(in crate::store) tried: Instant,
}

impl Engine {
    /// Begins the run where that is still to be done: before anything else is written.
    ///
    /// # Errors
    /// [`WriteError`] while it cannot.
    pub(in crate::store) fn settle(&mut self) -> Result<(), WriteError> {
        let Some(postponed) = &mut self.postponed else { return Ok(()) };
        if postponed.tried.elapsed() < RETRY {
            return Err(postponed.waiting.why.clone());
        }
        self.place.check()?;
        let begun = postponed.attempt(&self.path, &mut self.lock);
        postponed.tried = Instant::now();
        match begun {
            Ok(db) => {
                self.db = Some(db);
                self.postponed = None;
                self.place.extend(&self.path)?;
                self.prove(self.state.snapshot.revision());
                self.count_quarantine();
                Ok(())
            }
            Err(why) => {
                postponed.waiting.why = why.clone();
                Err(why)
            }
        }
    }

    /// Now and then, when there is nothing else to do.
    pub(in crate::store) fn rest(&mut self) {
        if self.postponed.is_some() {
            match self.settle() {
                Ok(()) => self.succeeded(),
                Err(error) => self.failed(&error),
            }
        }
        if self.unsettled && self.written.elapsed() >= QUIET && self.state.mirror.is_none() {
            self.bring_up_to_date();
        }
    }

    /// Moves the write-ahead log into the file, so that a copy of the file alone is whole. What cannot be moved now is tried again.
    fn bring_up_to_date(&mut self) {
        let Some(db) = &self.db else { return };
        match begin::checkpoint(db) {
            Ok(true) => {
                self.unsettled = false;
                if !self.based {
                    self.based = true;
                    self.prove(self.state.snapshot.revision());
                }
            }
            Ok(false) => {}
            Err(error) => tracing::debug!("{}: a checkpoint failed: {error}", self.path.display()),
        }
    }

    /// Counts what the file keeps by now.
    pub(in crate::store) fn count_quarantine(&self) {
        // What cannot be counted now is at the next start.
        if let Some(Ok(kept)) = self.db.as_ref().map(Kept::of) {
            self.quarantine.set(kept);
        }
    }
}

impl Postponed {
    fn attempt(&self, path: &Path, lock: &mut FileLock) -> Result<Connection, WriteError> {
        if !is_writable(path) {
            return Err(WriteError::ReadOnly);
        }
        let mut settled = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = connect(path).and_then(|db| begin_on(db, path, &self.waiting, lock));
        let db = begun.map_err(|error| write_error(path, &error))?;
        *settled = true;
        Ok(db)
    }
}

fn begin_on(mut db: Connection, path: &Path, waiting: &Waiting, lock: &mut FileLock) -> rusqlite::Result<Connection> {
    waiting.base.announce(&waiting.begin.meta, lock, path);
    // Until it has begun, the file goes on to name the run that was announced as its own.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    waiting.begin.write(&mut db)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(db)
}
