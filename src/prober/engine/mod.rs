//! The engine: one task that knows every instance, decides which is probed when, and what the outcomes mean.
//!
//! - In: the catalog's feed, ended probes, requests, the store's answers, the clock.
//! - Out: probes that start, changes of health and rows for the store, answers to requests.
//!
//! It waits for the next event, handles it, and then has one tick: what is due is queued, what may start is started, what changed is
//! handed to the store. Only this task touches the state, which lies in the parts that [`Prober`] combines.
//!
//! Read the files in this order, the path of a probe: this one (the loop), `follow` (which instances there are), `tick` (what starts), `probe_task` and
//! `probes` (the probes that run), `outcomes` (what they mean), `guarding` (the mass-failure guard), `on_demand` (checks on demand),
//! `probe_report` (queries about probing), `reports` (what programs report of themselves, and leases that expire), `leaving` (registrations that
//! end by themselves), `policies` (what namespaces' policies change), `role` (taking over and stepping down).

mod follow;
mod guarding;
mod leaving;
mod on_demand;
mod outcomes;
mod policies;
mod probe_report;
mod probe_task;
mod probes;
mod reports;
mod role;
#[cfg(test)]
mod tests;
mod tick;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use self::probe_task::{Done, Tools};
use self::probes::Probes;
use super::departures::{Departure, Departures, Remover};
use super::dialer::Dialer;
use super::guard::GuardDriver;
use super::leases::{LeaseClock, Leases};
use super::limits::{AddressQueues, Budget, Capacity, Limits};
use super::on_demand::{ProberHandle, Request, Requests, Tickets};
use super::persist::{Persistence, Written};
use super::schedule::{DueQueue, Scheduler, TICK};
use super::targets::Targets;
use super::telemetry::Report;
use crate::catalog::{Batch, Catalog, Feed, FeedError};
use crate::model::name::CheckName;
use crate::model::ports::{AnyNamespace, Leadership, NamespacePolicies, Registrar};
use crate::model::probe::ProbeRow;
use crate::model::reachability::Reachability;
use crate::model::service::InstanceId;
use crate::model::time::{Clock, UnixMs};
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

/// Longest sleep: a clock that is moved by hand is noticed within it.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// Ended probes handled before the next tick.
const MAX_ENDED: usize = 128;

/// The prober's settings.
#[derive(Debug, Clone)]
pub struct ProberSettings {
    /// Most probes at once, 1 to 20,000; each holds a file descriptor.
    pub concurrency: usize,
    /// Most probes per second to one address, ≥ 1.
    pub per_address: u32,
    /// Whether loopback addresses have no budget; `true` except in tests.
    pub loopback_exempt: bool,
    /// Time between probes where a check names none.
    pub default_interval: Duration,
    /// Time for which a REST instance that asks for nothing else may be unhealthy before it is removed; none is for ever.
    pub deregister_after: Option<Duration>,
    /// Whether clients can reach this server: leases do not expire while they cannot.
    pub reachability: Reachability,
    /// What applies to the services of a namespace.
    pub policies: Arc<dyn NamespacePolicies>,
}

impl Default for ProberSettings {
    fn default() -> Self {
        Self {
            concurrency: 1024,
            per_address: 20,
            loopback_exempt: true,
            default_interval: Duration::from_secs(30),
            deregister_after: None,
            reachability: Reachability::default(),
            policies: Arc::new(AnyNamespace),
        }
    }
}

/// Why the prober ended before its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum ProberError {
    /// The catalog is gone.
    #[error("the catalog's feed ended; the prober cannot continue without it")]
    FeedEnded,
}

/// The prober: a task to [`run`](Self::run).
pub struct Prober {
    settings: ProberSettings,
    clock: Clock,
    catalog: Arc<Catalog>,
    leadership: Arc<dyn Leadership>,
    /// Whether it probes; follows the leadership a moment behind.
    probing: bool,
    /// The version of the policies that the checks follow.
    policies: u64,
    /// What is probed.
    targets: Targets,
    /// When a probe starts.
    scheduler: Scheduler,
    /// The probes that run.
    probes: Probes,
    /// Whether falls are this machine's own fault.
    guard: GuardDriver,
    /// What goes to the store.
    persistence: Persistence,
    /// What others ask for.
    requests: Requests,
    /// The on-demand checks that are open.
    tickets: Tickets,
    /// The leases, shared with those who hear heartbeats.
    leases: Arc<Leases>,
    /// The clock of leases.
    lease_clock: LeaseClock,
    /// When each lease is looked at next, on that clock.
    expiries: DueQueue,
    /// The registrations that may end by themselves.
    departures: Departures,
    /// The remover's end of them, until it is made.
    departing: Option<mpsc::Receiver<Departure>>,
    metrics: Metrics,
    /// What it says about itself.
    report: Report,
    /// When to tidy up next, steady clock.
    tidy_at: UnixMs,
}

/// What woke the engine up.
enum Event {
    Stop,
    Feed(Result<Arc<Batch>, FeedError>),
    ProbeEnded(Result<Done, JoinError>),
    Written(Result<Written, JoinError>),
    Request(Request),
    Time,
}

impl Prober {
    /// Sets everything up; nothing is probed before [`Prober::run`]. `restored` is what the store kept of earlier probing.
    pub fn new(
        settings: ProberSettings,
        dialer: Dialer,
        store: Store,
        restored: HashMap<(InstanceId, CheckName), ProbeRow>,
        leadership: Arc<dyn Leadership>,
        clock: Clock,
        metrics: Metrics,
    ) -> (Self, ProberHandle) {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let limits = Limits { per_second: settings.per_address, loopback_exempt: settings.loopback_exempt };
        let budget = Budget::new(limits);
        let capacity = Capacity::new(settings.concurrency, cores);
        let scheduler = Scheduler::new(capacity, AddressQueues::new(Arc::clone(&budget)));
        let slots = scheduler.slots();
        let report = Report::new(metrics.clone(), slots);
        let lease_clock = LeaseClock::new(settings.reachability.clone());
        let leases = Arc::new(Leases::new(lease_clock.lost().clone()));
        let catalog = Arc::clone(store.catalog());
        let (handle, requests) = ProberHandle::new(
            Arc::clone(&leases),
            Arc::clone(&catalog),
            clock.clone(),
            Arc::clone(report.status()),
            metrics.clone(),
        );
        let (departures, departing) = Departures::new();
        let prober = Self {
            settings,
            catalog,
            leadership: Arc::clone(&leadership),
            probing: false,
            policies: 0,
            targets: Targets::new(restored.into_values()),
            scheduler,
            probes: Probes::new(Tools { dialer, budget, clock: clock.clone() }),
            guard: GuardDriver::new(slots),
            persistence: Persistence::new(store, leadership),
            requests,
            tickets: Tickets::default(),
            leases,
            lease_clock,
            expiries: DueQueue::default(),
            departures,
            departing: Some(departing),
            metrics,
            report,
            tidy_at: UnixMs(i64::MIN),
            clock,
        };
        (prober, handle)
    }

    /// The task that removes instances whose registration ends by itself, through `registrar`. Made once; without it none is removed.
    pub fn remover(&mut self, registrar: Arc<dyn Registrar>) -> Option<Remover> {
        let departing = self.departing.take()?;
        let (leadership, catalog) = (Arc::clone(&self.leadership), Arc::clone(&self.catalog));
        Some(Remover::new(departing, registrar, leadership, catalog, self.metrics.clone()))
    }

    /// Probes until `shutdown`; then cancels running probes without counting them, stores what it knows, and returns within 2 s.
    ///
    /// # Errors
    /// [`ProberError`].
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), ProberError> {
        self.probing = self.leadership.probes();
        if !self.probing {
            self.step_down();
        }
        let mut feed = self.resubscribe();
        let sleep = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(sleep);
        loop {
            if let Some(again) = self.sync_role() {
                feed = again;
            }
            self.sync_policies();
            self.tick(sleep.deadline());
            sleep.as_mut().reset(self.wake_at());
            let event = loop {
                let event = self.wait(&mut feed, sleep.as_mut(), &shutdown).await;
                match event {
                    Event::ProbeEnded(done) if !self.handles_ends_at_once() => self.gather(done, sleep.as_mut()),
                    event => break event,
                }
            };
            match event {
                Event::Stop => break,
                Event::Feed(Ok(batch)) => self.follow_batch(&batch),
                Event::Feed(Err(FeedError::Lagged)) => feed = self.resubscribe(),
                Event::Feed(Err(FeedError::Ended)) => return Err(ProberError::FeedEnded),
                Event::ProbeEnded(done) => self.ended(done, self.clock.now()),
                Event::Written(joined) => {
                    self.persistence.written(joined, &mut self.targets, self.clock.now().steady);
                }
                Event::Request(Request::Check(check)) => self.check_now(check),
                Event::Request(Request::Query(query)) => self.answer_query(query),
                Event::Request(Request::Report(report)) => self.hear_all(report),
                Event::Time => {}
            }
            self.take_ended();
        }
        self.probes.shutdown().await;
        self.persistence.flush(&mut self.targets, &self.clock).await;
        Ok(())
    }

    async fn wait(&mut self, feed: &mut Feed, sleep: Pin<&mut Sleep>, shutdown: &CancellationToken) -> Event {
        let listens = !self.probes.is_gathering() || self.handles_ends_at_once();
        tokio::select! {
            () = shutdown.cancelled() => Event::Stop,
            batch = feed.next() => Event::Feed(batch),
            Some(done) = self.probes.join_next(), if listens => Event::ProbeEnded(done),
            Some(joined) = self.persistence.join_next() => Event::Written(joined),
            request = self.requests.next() => Event::Request(request),
            () = sleep => Event::Time,
        }
    }

    /// Whether a probe's end matters at once: others wait for its slot, or somebody for its outcome.
    fn handles_ends_at_once(&self) -> bool {
        self.scheduler.queued() > 0 || self.tickets.len() > 0
    }

    /// Handles the first of the probes that end before the next tick; the others follow then, which saves a wake-up for each.
    fn gather(&mut self, done: Result<Done, JoinError>, sleep: Pin<&mut Sleep>) {
        self.ended(done, self.clock.now());
        self.probes.gather(true);
        let tick = Instant::now() + TICK;
        if sleep.deadline() > tick {
            sleep.reset(tick);
        }
    }

    /// Handles probes that ended meanwhile.
    fn take_ended(&mut self) {
        self.probes.gather(false);
        let now = self.clock.now();
        for _ in 0..MAX_ENDED {
            let Some(done) = self.probes.try_join_next() else { return };
            self.ended(done, now);
        }
    }

    /// When there is something to do although nothing happened.
    fn wake_at(&self) -> Instant {
        let now = self.clock.now().steady;
        let next = [self.scheduler.next(now), self.persistence.next(), self.guard.due(), self.next_expiry()];
        let wait = next.into_iter().flatten().min().map_or(LONGEST_SLEEP, |at| at.since(now).min(LONGEST_SLEEP));
        Instant::now() + wait
    }
}
