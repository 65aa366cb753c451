//! The status writer: writes the status of each object whose status differs from the catalog. Only the leader does.
//!
//! In: keys from the catalog's feed and from [`ingest`](super::ingest); all keys when this process begins to lead. Out: status writes. A
//! difference is written once, however often the status changed meanwhile; the worst news first, and no faster than a token bucket
//! allows.
//!
//! 1. This file: the task. [`plan`]: what to write of an object, and how urgent it is.
//! 2. [`super::queue`]: which object is next. [`mod@write`]: one write.
//! 3. [`failures`]: when to try again, and what to log. [`drain_ends`]: when a drain is over.

mod drain_ends;
mod failures;
mod plan;
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

use crate::catalog::Catalog;
use crate::model::name::ServiceKey;
use crate::model::ports::Leadership;
use crate::model::time::UnixMs;
use crate::operator::catalog_changes::{CatalogChange, CatalogChanges, CatalogEnded};
use crate::operator::events::Events;
use crate::operator::events::bucket::Bucket;
use crate::operator::ingest::Ingest;
use crate::operator::publish::Publications;
use crate::operator::queue::{Queue, Urgency};
use crate::operator::replicas::installs::Installs;
use crate::telemetry::metrics::Metrics;
use drain_ends::DrainEnds;
use failures::Failures;
use plan::Plan;
use write::{StatusWriter, WriteOutcome};

/// Status writes per second, and at once.
const RATE: (u32, u32) = (50, 100);
/// Most concurrent status writes.
const MAX_WRITES: usize = 8;
/// Objects that one tick looks at.
const CHUNK: usize = 128;
/// Time between two checks of the role; a write in progress ends at most this long after leadership did.
const TICK: Duration = Duration::from_millis(100);
/// Time for a first verdict, so that one write reports it together with the new spec.
const SETTLE: Duration = Duration::from_millis(250);

/// The task that writes status.
pub struct StatusTask {
    writer: StatusWriter,
    events: Events,
    metrics: Metrics,
    dirty: HashSet<ServiceKey>,
    queue: Queue,
    bucket: Bucket,
    writes: FuturesUnordered<BoxFuture<'static, (ServiceKey, WriteOutcome)>>,
    /// Objects with a write in progress; changes meanwhile are looked at afterwards.
    busy: HashSet<ServiceKey>,
    failures: Failures,
    drain_ends: DrainEnds,
    leads: bool,
}

impl StatusTask {
    /// A writer of what `ingest` and `catalog` report, except for objects that `installs` assigns to others.
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
            writer: StatusWriter { client, ingest, catalog, installs, publications: Publications::off(), leadership },
            events,
            metrics,
            dirty: HashSet::new(),
            queue: Queue::default(),
            bucket: Bucket::new(RATE.0, RATE.1),
            writes: FuturesUnordered::new(),
            busy: HashSet::new(),
            failures: Failures::default(),
            drain_ends: DrainEnds::default(),
            leads: false,
        }
    }

    /// Reports what became of endpoints, too; without this, that publishing is off.
    #[must_use]
    pub fn with_publications(mut self, publications: Publications) -> Self {
        self.writer.publications = publications;
        self
    }

    /// Writes until `stop`. A write in progress is aborted; the next leader writes what still differs.
    ///
    /// # Errors
    /// [`CatalogEnded`] when the store ends first.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), CatalogEnded> {
        let changed = self.writer.ingest.changed().clone();
        let mut feed = CatalogChanges::of(&self.writer.catalog);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.due(Instant::now());
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some((key, outcome)) = self.writes.next() => self.finish(key, &outcome),
                () = changed.marked() => self.dirty.extend(changed.take()),
                batch = feed.next() => batch?.into_iter().for_each(|change| self.on_change(change)),
                () = tokio::task::yield_now(), if !self.dirty.is_empty() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
                _ = ticks.tick() => {}
            }
            self.tick();
        }
    }

    fn on_change(&mut self, change: CatalogChange) {
        match change {
            CatalogChange::Service { key, .. } => drop(self.dirty.insert(key)),
            CatalogChange::Any => self.mark_all(),
        }
    }

    fn tick(&mut self) {
        let leads = self.writer.leadership.leads();
        if leads && !self.leads {
            self.mark_all();
        } else if self.leads && !leads {
            // Dropping a write closes its connection.
            self.writes.clear();
            self.busy.clear();
            self.queue.clear();
            self.failures = Failures::default();
            self.drain_ends = DrainEnds::default();
        }
        self.leads = leads;
        if leads {
            self.dirty.extend(self.drain_ends.take_due(UnixMs::wall()));
            self.plan_some(Instant::now());
            self.start(Instant::now());
        } else {
            self.dirty.clear();
        }
        self.metrics.cluster.status_queue_depth.set(i64::try_from(self.queue.len()).unwrap_or(i64::MAX));
    }

    fn mark_all(&mut self) {
        let ingest = &self.writer.ingest;
        self.dirty.extend(ingest.objects().keys().chain(ingest.aside().keys()).cloned());
    }

    /// Plans writes for some of the objects that changed.
    fn plan_some(&mut self, now: Instant) {
        let some: Vec<ServiceKey> = self.dirty.iter().take(CHUNK).cloned().collect();
        for key in some {
            self.dirty.remove(&key);
            if self.busy.contains(&key) {
                continue;
            }
            let observed = self.writer.ingest.known(&key);
            let end = observed.and_then(|observed| drain_ends::next_end(&observed, UnixMs::wall()));
            self.drain_ends.note(&key, end);
            match self.writer.plan(&key) {
                Some(plan) => self.enqueue(&key, &plan, now),
                None => drop(self.queue.remove(&key)),
            }
        }
    }

    fn enqueue(&mut self, key: &ServiceKey, plan: &Plan, now: Instant) {
        let settled = if plan.urgency == Urgency::Other && plan.is_provisional { now + SETTLE } else { now };
        let from = self.failures.wait(key, plan.observed.revision()).map_or(settled, |until| until.max(settled));
        self.queue.push(key, plan.urgency, (from > now).then_some(from));
    }

    fn may_write(&self, now: Instant) -> bool {
        self.writes.len() < MAX_WRITES && self.failures.paused_until().is_none_or(|until| until <= now)
    }

    fn start(&mut self, now: Instant) {
        while self.may_write(now) && self.queue.is_ready(now) && self.bucket.take(now) {
            let Some(key) = self.queue.pop(now) else { return };
            self.busy.insert(key.clone());
            self.writes.push(Box::pin(self.writer.clone().write(key)));
        }
    }

    /// When there is something to do that no event announces.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        if self.writes.len() >= MAX_WRITES {
            return None;
        }
        let first = if self.queue.is_ready(now) { Some(now) } else { self.queue.next_due() }?;
        let paused = self.failures.paused_until().unwrap_or(now);
        Some(first.max(paused).max(now + self.bucket.wait(now)))
    }

    fn finish(&mut self, key: ServiceKey, outcome: &WriteOutcome) {
        self.busy.remove(&key);
        if let Some(result) = outcome.label() {
            self.metrics.cluster.status_written(result);
        }
        if let WriteOutcome::Written(written) = outcome {
            self.dirty.extend(self.failures.forget(&key));
            self.events.transitions(&written.observed, &written.status);
        }
        let ingest = &self.writer.ingest;
        let known = ingest.known(&key).or_else(|| ingest.known_aside(&key));
        let revision = known.map(|observed| observed.revision());
        self.failures.note(&key, revision, outcome, Instant::now());
        // Covers what changed meanwhile, and what failed.
        self.dirty.insert(key);
    }
}
