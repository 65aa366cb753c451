//! Handing over to the store, and the end.

pub(crate) mod changes;
pub(crate) mod rows;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;

use crate::model::ports::WriteError;
use crate::model::service::InstanceId;
use crate::model::time::UnixMs;
use crate::prober::engine::{Prober, Stored};

/// Time that storing may take at the end.
const LAST_WORDS: Duration = Duration::from_millis(1500);
/// Failed writes at the end before what is left is given up.
const LAST_TRIES: u32 = 10;
/// Pause after each.
const LAST_PAUSE: Duration = Duration::from_millis(20);
/// How long to wait before asking again whether this process leads.
const NOT_LEADING: Duration = Duration::from_secs(1);

impl Prober {
    /// Hands over what may go now: one batch of changes and one chunk of rows at a time.
    pub(crate) fn write(&mut self, now: UnixMs) {
        if !self.commits.is_empty() && !self.leadership.probes() {
            self.commits.postpone(now.plus(NOT_LEADING));
        } else if let Some(changes) = self.commits.take(now) {
            let (store, leadership) = (self.store.clone(), Arc::clone(&self.leadership));
            self.writes.spawn(async move { Stored::Changes(store.commit_health(changes, leadership).await) });
        }
        let (tracked, finished) = (&self.tracked, self.commits.finished());
        // A row must not run ahead of its change: after a crash the two would say different things.
        let ids = self.rows.take(now, |id| tracked.get(&id).is_none_or(|tracked| tracked.newest_change <= finished));
        if !ids.is_empty() {
            self.write_rows(ids);
        }
    }

    fn write_rows(&mut self, ids: Vec<InstanceId>) {
        let mut rows = Vec::with_capacity(ids.len());
        for id in &ids {
            if let Some(tracked) = self.tracked.get_mut(id) {
                tracked.dirty = false;
                rows.push(tracked.row());
            }
        }
        let store = self.store.clone();
        self.writes.spawn(async move { Stored::Rows(ids, store.record_probes(rows).await) });
    }

    /// Takes in the store's answer.
    pub(crate) fn take_stored(&mut self, joined: Result<Stored, JoinError>) {
        let now = self.clock.now().steady;
        match joined {
            Ok(Stored::Changes(Ok(_))) => {
                if self.commits.failing() {
                    tracing::info!("changes of health are stored again");
                }
                // Stale ones were dropped: what they spoke of is gone, as the feed will tell.
                self.commits.done();
            }
            Ok(Stored::Changes(Err(error))) => self.not_stored(&error, now),
            Ok(Stored::Rows(ids, result)) => self.rows_stored(ids, result.err().map(|error| error.to_string())),
            Err(error) => {
                // Only a bug in the store ends here; which of the two it was cannot be told, and both can be repeated.
                tracing::error!("a write of the prober broke: {error}");
                self.commits.failed(now);
                self.rows.done(false);
            }
        }
    }

    fn not_stored(&mut self, error: &WriteError, now: UnixMs) {
        if *error == WriteError::Busy {
            // Registrations fill the writer's queue: our turn comes, and those who wait for it go on waiting.
            self.commits.busy(now);
            return;
        }
        if self.commits.failed(now) {
            let waiting = self.commits.len();
            tracing::error!(waiting, "changes of health could not be stored; they are kept and tried again: {error}");
        }
    }

    fn rows_stored(&mut self, ids: Vec<InstanceId>, error: Option<String>) {
        let first = self.rows.done(error.is_none());
        let Some(error) = error else { return };
        if first {
            tracing::warn!("what probing found could not be stored; it is kept and tried again: {error}");
        }
        for id in ids {
            if let Some(tracked) = self.tracked.get_mut(&id).filter(|tracked| !tracked.dirty) {
                tracked.dirty = true;
                self.rows.push(id);
            }
        }
    }

    /// Cancels what is under way, uncounted, and stores what is known.
    pub(crate) async fn stop(mut self) {
        self.probes.shutdown().await;
        if tokio::time::timeout(LAST_WORDS, self.store_all()).await.is_err() {
            tracing::warn!("the store took too long; the newest probe results of some instances are not stored");
        }
    }

    async fn store_all(&mut self) {
        let mut failures = 0;
        while failures < LAST_TRIES {
            self.commits.hurry();
            self.rows.hurry();
            self.write(self.clock.now().steady);
            let Some(stored) = self.writes.join_next().await else { return };
            let failed = matches!(&stored, Ok(Stored::Changes(Err(_)) | Stored::Rows(_, Err(_))) | Err(_));
            self.take_stored(stored);
            if failed {
                failures += 1;
                tokio::time::sleep(LAST_PAUSE).await;
            }
        }
    }
}
