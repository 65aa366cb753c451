//! Begins a run that could not begin at the start, and checkpoints the write-ahead log while the server is idle.

use std::path::Path;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::Engine;
use crate::model::ports::WriteError;
use crate::store::file::connect::{Gate, connect};
use crate::store::file::damage::{is_writable, write_error};
use crate::store::file::first_write;
use crate::store::file::lock::FileLock;
use crate::store::file::open::PostponedStart;
use crate::store::schema::quarantine::QuarantineSummary;

/// Time between two attempts to begin.
const RETRY: Duration = Duration::from_millis(250);
/// Time without writes after which the log is checkpointed.
const QUIET: Duration = Duration::from_secs(1);

/// A run that has not begun.
pub(crate) struct StartRetry {
    pub(crate) start: PostponedStart,
    pub(crate) gate: Gate,
    /// The last attempt.
    pub(crate) tried: Instant,
}

impl Engine {
    /// Begins the run if it has not begun, before anything else is written.
    ///
    /// # Errors
    /// [`WriteError`] while it cannot begin.
    pub(crate) fn start_run(&mut self) -> Result<(), WriteError> {
        let Some(start_retry) = &mut self.start_retry else { return Ok(()) };
        if start_retry.tried.elapsed() < RETRY {
            return Err(start_retry.start.why.clone());
        }
        self.files.check()?;
        // Nothing was recorded until now.
        start_retry.start.first_write.now = self.clock.now().wall;
        let begun = start_retry.attempt(&self.path, &mut self.lock);
        start_retry.tried = Instant::now();
        match begun {
            Ok(db) => {
                self.db = Some(db);
                self.start_retry = None;
                self.files.extend(&self.path)?;
                self.prove(self.state.snapshot.revision());
                self.count_quarantine();
                Ok(())
            }
            Err(why) => {
                start_retry.start.why = why.clone();
                Err(why)
            }
        }
    }

    /// Runs at intervals, when nothing else is to be done.
    pub(crate) fn idle(&mut self) {
        if self.start_retry.is_some() {
            match self.start_run() {
                Ok(()) => self.succeeded(),
                Err(error) => self.failed(&error),
            }
        }
        if self.log_pending && self.written.elapsed() >= QUIET && self.state.mirror.is_none() {
            self.checkpoint();
        }
    }

    /// Moves the write-ahead log into the file, so that a copy of the file alone is complete. Tried again if it fails.
    fn checkpoint(&mut self) {
        let Some(db) = &self.db else { return };
        match first_write::checkpoint(db) {
            Ok(true) => {
                self.log_pending = false;
                self.settled();
            }
            Ok(false) => {}
            Err(error) => tracing::debug!("{}: a checkpoint failed: {error}", self.path.display()),
        }
    }

    /// The database file names this run from now on; the lock file says so, too.
    pub(crate) fn settled(&mut self) {
        if !self.in_main_file && self.state.mirror.is_none() {
            self.in_main_file = true;
            self.prove(self.state.snapshot.revision());
        }
    }

    /// Counts the rows in quarantine.
    pub(crate) fn count_quarantine(&self) {
        // If they cannot be counted now, the next start counts them.
        if let Some(Ok(summary)) = self.db.as_ref().map(QuarantineSummary::of) {
            self.quarantine.set(summary);
        }
    }
}

impl StartRetry {
    fn attempt(&self, path: &Path, lock: &mut FileLock) -> Result<Connection, WriteError> {
        if !is_writable(path) {
            return Err(WriteError::ReadOnly);
        }
        let mut begun = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let db = connect(path).and_then(|db| begin_with(db, path, &self.start, lock));
        let db = db.map_err(|error| write_error(path, &error))?;
        *begun = true;
        Ok(db)
    }
}

fn begin_with(
    mut db: Connection,
    path: &Path,
    start: &PostponedStart,
    lock: &mut FileLock,
) -> rusqlite::Result<Connection> {
    start.base.announce(&start.first_write.meta, lock, path);
    // Until the run has begun, the file must keep naming the run that was announced as its own.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    start.first_write.write(&mut db)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    Ok(db)
}
