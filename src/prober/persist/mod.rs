//! What goes to the store: changes of health at once, probe rows coalesced.
//!
//! - In: changes of health, and instances whose stored row is outdated.
//! - Out: the numbers of the changes that are committed; failures are kept and retried.
//!
//! Read the files in this order: `changes` (changes of health, in order), `rows` (the rows, a bounded number at a time). [`Persistence`] hands over one batch of
//! each at a time.

mod changes;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};

use self::changes::ChangeQueue;
use self::rows::RowQueue;
use crate::model::ports::{Leadership, WriteError};
use crate::model::probe::HealthChange;
use crate::model::service::CheckId;
use crate::model::time::{Clock, UnixMs};
use crate::prober::targets::{Targets, Tracked};
use crate::store::Store;

/// Time that the last writes may take at shutdown.
const LAST_WRITES: Duration = Duration::from_millis(1500);
/// Failed writes at shutdown before the rest is given up.
const LAST_TRIES: u32 = 10;
/// Pause after each.
const LAST_PAUSE: Duration = Duration::from_millis(20);
/// Pause before asking again whether this process leads.
const NOT_LEADING: Duration = Duration::from_secs(1);

/// A finished write.
#[derive(Debug)]
pub(crate) enum Written {
    Changes(Result<Vec<bool>, WriteError>),
    Rows(Vec<CheckId>, Result<(), WriteError>),
}

/// Everything that is on its way to the store.
pub(crate) struct Persistence {
    store: Store,
    leadership: Arc<dyn Leadership>,
    changes: ChangeQueue,
    rows: RowQueue,
    writes: JoinSet<Written>,
}

impl Persistence {
    pub(crate) fn new(store: Store, leadership: Arc<dyn Leadership>) -> Self {
        Self { store, leadership, changes: ChangeQueue::default(), rows: RowQueue::default(), writes: JoinSet::new() }
    }

    /// Drops everything that is not stored yet. The store itself drops what it was handed, since it checks the leadership too.
    pub(crate) fn clear(&mut self) {
        (self.changes, self.rows) = (ChangeQueue::default(), RowQueue::default());
        self.writes = JoinSet::new();
    }

    /// Queues a change that readers notice, and returns its number.
    pub(crate) fn push_change(&mut self, change: HealthChange) -> u64 {
        self.changes.push(change)
    }

    /// Notes that the instance's stored row is outdated.
    pub(crate) fn mark_dirty(&mut self, tracked: &mut Tracked) {
        if !tracked.dirty {
            tracked.dirty = true;
            self.rows.push(tracked.id);
        }
    }

    /// Every change up to this number is finished.
    pub(crate) fn finished(&self) -> u64 {
        self.changes.finished()
    }

    /// Whether the store refused the last batch of changes.
    pub(crate) fn failing(&self) -> bool {
        self.changes.failing()
    }

    /// The number of changes that are not committed.
    pub(crate) fn uncommitted(&self) -> usize {
        self.changes.len()
    }

    /// When something may be handed over.
    pub(crate) fn next(&self) -> Option<UnixMs> {
        [self.changes.next(), self.rows.next()].into_iter().flatten().min()
    }

    /// Waits for a write to finish; none while there is none.
    pub(crate) async fn join_next(&mut self) -> Option<Result<Written, JoinError>> {
        self.writes.join_next().await
    }

    /// Hands over what may go now: one batch of changes and one chunk of rows at a time.
    pub(crate) fn write(&mut self, targets: &mut Targets, now: UnixMs) {
        if !self.changes.is_empty() && !self.leadership.probes() {
            self.changes.postpone(now.plus(NOT_LEADING));
        } else if let Some(changes) = self.changes.take(now) {
            let (store, leadership) = (self.store.clone(), Arc::clone(&self.leadership));
            self.writes.spawn(async move { Written::Changes(store.commit_health(changes, leadership).await) });
        }
        let finished = self.changes.finished();
        // A row must not run ahead of its change: after a crash the two would disagree.
        let ids = self.rows.take(now, |id| targets.get(id).is_none_or(|tracked| tracked.newest_change <= finished));
        if !ids.is_empty() {
            self.write_rows(ids, targets);
        }
    }

    fn write_rows(&mut self, ids: Vec<CheckId>, targets: &mut Targets) {
        let mut rows = Vec::with_capacity(ids.len());
        for id in &ids {
            if let Some(tracked) = targets.get_mut(*id) {
                tracked.dirty = false;
                rows.push(tracked.row());
            }
        }
        let store = self.store.clone();
        self.writes.spawn(async move { Written::Rows(ids, store.record_probes(rows).await) });
    }

    /// Takes in a finished write.
    pub(crate) fn written(&mut self, joined: Result<Written, JoinError>, targets: &mut Targets, now: UnixMs) {
        match joined {
            Ok(Written::Changes(Ok(_))) => {
                if self.changes.failing() {
                    tracing::info!("health changes are stored again");
                }
                // Outdated ones were dropped: their instance is gone or changed, as the feed will tell.
                self.changes.done();
            }
            Ok(Written::Changes(Err(error))) => self.changes_failed(&error, now),
            Ok(Written::Rows(ids, result)) => self.rows_written(ids, result.err().as_ref(), targets),
            Err(error) => {
                // Only a bug in the store ends here. Which write it was is unknown, but both can be repeated.
                tracing::error!("a write of the prober panicked: {error}");
                self.changes.failed(now);
                self.rows.done(false);
            }
        }
    }

    fn changes_failed(&mut self, error: &WriteError, now: UnixMs) {
        if *error == WriteError::Busy {
            // Registrations fill the writer's queue: there will be room, and on-demand checks keep waiting.
            self.changes.busy(now);
            return;
        }
        if self.changes.failed(now) {
            let waiting = self.changes.len();
            tracing::error!(waiting, "health changes could not be stored; they are kept and retried: {error}");
        }
    }

    fn rows_written(&mut self, ids: Vec<CheckId>, error: Option<&WriteError>, targets: &mut Targets) {
        let first = self.rows.done(error.is_none());
        let Some(error) = error else { return };
        if first {
            tracing::warn!("probe results could not be stored; they are kept and retried: {error}");
        }
        for id in ids {
            if let Some(tracked) = targets.get_mut(id) {
                self.mark_dirty(tracked);
            }
        }
    }

    /// Stores everything that is known, for the shutdown; gives up after a while.
    pub(crate) async fn flush(&mut self, targets: &mut Targets, clock: &Clock) {
        if tokio::time::timeout(LAST_WRITES, self.write_all(targets, clock)).await.is_err() {
            tracing::warn!("the store took too long; the newest probe results of some instances are not stored");
        }
    }

    async fn write_all(&mut self, targets: &mut Targets, clock: &Clock) {
        let mut failures = 0;
        while failures < LAST_TRIES {
            self.changes.hurry();
            self.rows.hurry();
            self.write(targets, clock.now().steady);
            let Some(joined) = self.writes.join_next().await else { return };
            let failed = matches!(&joined, Ok(Written::Changes(Err(_)) | Written::Rows(_, Err(_))) | Err(_));
            self.written(joined, targets, clock.now().steady);
            if failed {
                failures += 1;
                tokio::time::sleep(LAST_PAUSE).await;
            }
        }
    }
}
