//! The status writer: what the catalog knows of an object and its status does not say yet is written, by the leader alone.
//!
//! An object is looked at when the catalog's feed or the ingest names it, and all are when this process begins to lead. Only a difference that
//! means something is written, once however often it changed meanwhile, the worst news first, and no faster than a token bucket lets it.

mod failures;
mod plan;
mod queue;
mod write;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kube::Client;
use tokio::time::{MissedTickBehavior, sleep_until};
use tokio_util::sync::CancellationToken;

pub use write::FIELD_MANAGER;

use crate::catalog::{Batch, Catalog, Feed, FeedError};
use crate::model::backoff::Backoff;
use crate::model::name::ServiceKey;
use crate::model::ports::Leadership;
use crate::operator::events::Events;
use crate::operator::events::bucket::Bucket;
use crate::operator::ingest::Ingest;
use crate::operator::replicas::installs::Installs;
use crate::telemetry::metrics::Metrics;
use failures::Failures;
use plan::Plan;
use queue::{Queue, Urgency};
use write::{Done, Pen};

/// Status writes a second, and at once.
const RATE: (u32, u32) = (50, 100);
/// Status writes under way at most.
const AT_ONCE: usize = 8;
/// Objects that are looked at before others get a turn.
const CHUNK: usize = 128;
/// How often the role is looked at: a write under way ends at most this long after leadership did.
const LOOK: Duration = Duration::from_millis(100);
/// Time for a first verdict, so that one write tells it together with the new spec.
const SETTLE: Duration = Duration::from_millis(250);
/// Pauses of all writes while the Kubernetes API takes none.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// The feed ended: the store is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the catalog's feed has ended")]
pub struct ReportError;

/// The part that writes status.
pub struct Reporter {
    pen: Pen,
    events: Events,
    metrics: Metrics,
    dirty: HashSet<ServiceKey>,
    queue: Queue,
    bucket: Bucket,
    writes: FuturesUnordered<BoxFuture<'static, (ServiceKey, Done)>>,
    /// Whose write is under way; what happens to them meanwhile is looked at afterwards.
    busy: HashSet<ServiceKey>,
    failures: Failures,
    pauses: Backoff,
    paused_until: Option<Instant>,
    leads: bool,
}

impl Reporter {
    /// A writer that takes from `ingest` and `catalog`, and leaves alone what `installs` says is another's.
    pub fn new(
        client: Client,
        ingest: Ingest,
        catalog: Arc<Catalog>,
        installs: Installs,
        leadership: Arc<dyn Leadership>,
        events: Events,
        metrics: Metrics,
    ) -> Self {
        Self {
            pen: Pen { client, ingest, catalog, installs, leadership },
            events,
            metrics,
            dirty: HashSet::new(),
            queue: Queue::default(),
            bucket: Bucket::new(RATE.0, RATE.1),
            writes: FuturesUnordered::new(),
            busy: HashSet::new(),
            failures: Failures::default(),
            pauses: PAUSES,
            paused_until: None,
            leads: false,
        }
    }

    /// Writes until `stop`; what is under way then is cut off, and written by the next leader where it still differs.
    ///
    /// # Errors
    /// [`ReportError`] when the store ends first.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), ReportError> {
        let changed = self.pen.ingest.changed().clone();
        let (_, mut feed) = self.pen.catalog.subscribe();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.due(Instant::now());
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some((key, done)) = self.writes.next() => self.finish(key, &done),
                () = changed.marked() => self.dirty.extend(changed.take()),
                batch = feed.next() => self.hear(batch, &mut feed)?,
                () = tokio::task::yield_now(), if !self.dirty.is_empty() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
                _ = look.tick() => {}
            }
            self.turn();
        }
    }

    fn hear(&mut self, batch: Result<Arc<Batch>, FeedError>, feed: &mut Feed) -> Result<(), ReportError> {
        match batch {
            Ok(batch) => self.dirty.extend(batch.upserts.iter().map(|entry| entry.service().key.clone())),
            Err(FeedError::Lagged) => {
                *feed = self.pen.catalog.subscribe().1;
                self.look_at_all();
            }
            Err(FeedError::Ended) => return Err(ReportError),
        }
        Ok(())
    }

    fn turn(&mut self) {
        let leads = self.pen.leadership.leads();
        if leads && !self.leads {
            self.look_at_all();
        } else if self.leads && !leads {
            // Dropping a write cuts its connection.
            self.writes.clear();
            self.busy.clear();
            self.queue.clear();
            self.failures = Failures::default();
        }
        self.leads = leads;
        if leads {
            self.assess(Instant::now());
            self.start(Instant::now());
        } else {
            self.dirty.clear();
        }
        self.metrics.cluster.status_queue_depth.set(i64::try_from(self.queue.len()).unwrap_or(i64::MAX));
    }

    fn look_at_all(&mut self) {
        self.dirty.extend(self.pen.ingest.objects().keys().cloned());
    }

    /// Looks at some of what changed.
    fn assess(&mut self, now: Instant) {
        let some: Vec<ServiceKey> = self.dirty.iter().take(CHUNK).cloned().collect();
        for key in some {
            self.dirty.remove(&key);
            if self.busy.contains(&key) {
                continue;
            }
            match self.pen.plan(&key) {
                Some(plan) => self.enqueue(&key, &plan, now),
                None => drop(self.queue.remove(&key)),
            }
        }
    }

    fn enqueue(&mut self, key: &ServiceKey, plan: &Plan, now: Instant) {
        let settled = if plan.urgency == Urgency::Rest && plan.is_provisional { now + SETTLE } else { now };
        let from = self.failures.wait(key, plan.known.revision()).map_or(settled, |until| until.max(settled));
        self.queue.push(key, plan.urgency, from, now);
    }

    fn may_write(&self, now: Instant) -> bool {
        self.writes.len() < AT_ONCE && self.paused_until.is_none_or(|until| until <= now)
    }

    fn start(&mut self, now: Instant) {
        while self.may_write(now) && self.queue.is_ready(now) && self.bucket.take(now) {
            let Some(key) = self.queue.pop(now) else { return };
            self.busy.insert(key.clone());
            self.writes.push(Box::pin(self.pen.clone().write(key)));
        }
    }

    /// When there is something to do that nothing else announces.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        if self.writes.len() >= AT_ONCE {
            return None;
        }
        let first = if self.queue.is_ready(now) { Some(now) } else { self.queue.next_due() }?;
        let paused = self.paused_until.unwrap_or(now);
        Some(first.max(paused).max(now + self.bucket.wait(now)))
    }

    fn finish(&mut self, key: ServiceKey, done: &Done) {
        self.busy.remove(&key);
        if let Some(result) = done.label() {
            self.metrics.cluster.status_written(result);
        }
        match done {
            Done::Written(written) => {
                self.failures.forget(&key);
                self.pauses.reset();
                self.events.transitions(&written.known, &written.status);
            }
            Done::Forbidden(_) | Done::Away(_) => self.paused_until = Some(Instant::now() + self.pauses.next()),
            Done::Needless | Done::NotLeading | Done::Conflict | Done::Gone | Done::Refused(_) => {}
        }
        let revision = self.pen.ingest.known(&key).map(|known| known.revision());
        self.failures.note(&key, revision, done, Instant::now());
        // Whatever came meanwhile, and what did not succeed.
        self.dirty.insert(key);
    }
}
