//! The engine: one task that knows every instance, decides who is probed when, and what the outcomes mean.
//!
//! It waits for what comes next (the feed, probes that ended, requests, the store's answers, the next due moment), takes it in, and then
//! has one turn: what is due is queued, what may start is started, what changed is handed to the store. Probes are tasks of their own,
//! so that every core serves them; nothing else but this task touches the state.

mod check_now;
mod follow;
mod outcomes;
mod probe_report;
mod probe_task;
mod role;
#[cfg(test)]
mod tests;
mod tick;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::catalog::{Batch, Catalog, Feed, FeedError};
use crate::model::ports::{Leadership, WriteError};
use crate::model::probe::ProbeRow;
use crate::model::service::InstanceId;
use crate::model::time::{Clock, UnixMs};
use crate::prober::dialer::Dialer;
use crate::prober::engine::follow::Followed;
use crate::prober::engine::probe_task::{Done, Tools};
use crate::prober::engine::tick::TICK;
use crate::prober::guard::Guard;
use crate::prober::limits::address_budget::{Budget, Limits};
use crate::prober::limits::pace::Pace;
use crate::prober::limits::slots::{Demand, Hold, Slots};
use crate::prober::on_demand::{CheckNow, ProberHandle, Question, Tickets};
use crate::prober::persist::changes::Commits;
use crate::prober::persist::rows::Rows;
use crate::prober::report::counters::Tally;
use crate::prober::report::status::ProberStatus;
use crate::prober::report::transition_log::FirstVerdicts;
use crate::prober::schedule::due::Schedule;
use crate::prober::schedule::fair_queue::Ready;
use crate::prober::schedule::lag::Pressure;
use crate::prober::targets::tracked::Tracked;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

/// Longest sleep: a clock that is moved by hand is noticed within it.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
/// Ended probes taken in before the next turn.
const DRAIN: usize = 128;

/// How the prober works.
#[derive(Debug, Clone)]
pub struct ProberSettings {
    /// Most probes under way at once, 1 to 20,000; each holds a file descriptor.
    pub concurrency: usize,
    /// Most probes a second to one address, ≥ 1.
    pub per_address: u32,
    /// Whether loopback addresses have no budget; `true` but in tests.
    pub loopback_exempt: bool,
    /// Time between probes where a check names none.
    pub default_interval: Duration,
}

impl Default for ProberSettings {
    fn default() -> Self {
        Self { concurrency: 1024, per_address: 20, loopback_exempt: true, default_interval: Duration::from_secs(30) }
    }
}

/// Why the prober ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ProberError {
    /// The catalog is gone.
    #[error("the catalog's feed ended; the prober cannot go on without it")]
    FeedEnded,
}

/// A task of the store that ended.
#[derive(Debug)]
pub(crate) enum Stored {
    Changes(Result<Vec<bool>, WriteError>),
    Rows(Vec<InstanceId>, Result<(), WriteError>),
}

/// The prober. [`Prober::run`] it.
pub struct Prober {
    pub(crate) settings: ProberSettings,
    pub(crate) store: Store,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) leadership: Arc<dyn Leadership>,
    /// Whether it probes; follows the leadership a moment behind.
    pub(crate) probing: bool,
    pub(crate) clock: Clock,
    pub(crate) tools: Arc<Tools>,
    pub(crate) slots: Arc<Slots>,
    pub(crate) demand: Demand,
    pub(crate) pace: Pace,
    /// Probes of targets that answered last time, to be counted among those that hang if they do.
    pub(crate) aging: VecDeque<(Instant, Arc<Hold>)>,
    /// How far behind those that answer and those that hang are.
    pub(crate) pressure: [Pressure; 2],
    pub(crate) restored: HashMap<InstanceId, ProbeRow>,
    pub(crate) tracked: HashMap<InstanceId, Box<Tracked>>,
    pub(crate) services: HashMap<Uuid, Followed>,
    pub(crate) schedule: Schedule,
    pub(crate) silence: Schedule,
    pub(crate) ready: Ready,
    pub(crate) queued: usize,
    pub(crate) delayed: usize,
    pub(crate) addresses: BinaryHeap<Reverse<(UnixMs, IpAddr)>>,
    pub(crate) waking: HashSet<IpAddr>,
    pub(crate) probes: JoinSet<Done>,
    /// A probe ended, and the others that do are taken in with it at the next tick.
    gathering: bool,
    pub(crate) writes: JoinSet<Stored>,
    pub(crate) commits: Commits,
    pub(crate) rows: Rows,
    pub(crate) tickets: Tickets,
    pub(crate) guard: Guard,
    /// When to tidy up next, steady clock.
    pub(crate) tidy_at: UnixMs,
    /// For how many instances it was computed how long a black hole takes.
    pub(crate) known_for: usize,
    /// When the guard is to be driven again, steady clock.
    pub(crate) guard_at: Option<UnixMs>,
    commands: mpsc::Receiver<CheckNow>,
    questions: mpsc::Receiver<Question>,
    pub(crate) first_verdicts: FirstVerdicts,
    pub(crate) tally: Tally,
    pub(crate) metrics: Metrics,
    pub(crate) status: Arc<ProberStatus>,
}

/// What the engine woke up for.
enum Woken {
    Stop,
    Feed(Result<Arc<Batch>, FeedError>),
    Probe(Result<Done, JoinError>),
    Stored(Result<Stored, JoinError>),
    Asked(CheckNow),
    Wondered(Question),
    Time,
}

impl Prober {
    /// Sets everything up; nothing is probed before [`Prober::run`]. `restored` is what the store knew of earlier probing.
    pub fn new(
        settings: ProberSettings,
        dialer: Dialer,
        store: Store,
        restored: HashMap<InstanceId, ProbeRow>,
        leadership: Arc<dyn Leadership>,
        clock: Clock,
        metrics: Metrics,
    ) -> (Self, ProberHandle) {
        let slots = Slots::new(settings.concurrency);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let limits = Limits { per_second: settings.per_address, loopback_exempt: settings.loopback_exempt };
        let tools = Tools { dialer, budget: Budget::new(limits), clock: clock.clone() };
        let status = Arc::new(ProberStatus::default());
        status.slots.store(slots.all(), Ordering::Relaxed);
        let (handle, commands, questions) = ProberHandle::new(Arc::clone(&status), metrics.clone());
        let prober = Self {
            settings,
            catalog: Arc::clone(store.catalog()),
            store,
            leadership,
            probing: false,
            tools: Arc::new(tools),
            guard: Guard::within(slots.all()),
            slots,
            demand: Demand::default(),
            pace: Pace::new(cores),
            aging: VecDeque::new(),
            pressure: Default::default(),
            restored,
            tracked: HashMap::new(),
            services: HashMap::new(),
            schedule: Schedule::default(),
            silence: Schedule::default(),
            ready: Ready::default(),
            queued: 0,
            delayed: 0,
            addresses: BinaryHeap::new(),
            waking: HashSet::new(),
            probes: JoinSet::new(),
            gathering: false,
            writes: JoinSet::new(),
            commits: Commits::default(),
            rows: Rows::default(),
            guard_at: None,
            known_for: 0,
            tidy_at: UnixMs(i64::MIN),
            tickets: Tickets::default(),
            commands,
            questions,
            first_verdicts: FirstVerdicts::default(),
            tally: Tally::new(metrics.clone()),
            metrics,
            status,
            clock,
        };
        (prober, handle)
    }

    /// Probes until `shutdown`; then cancels what is under way without counting it, stores what it knows, and returns within 2 s.
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
            if let Some(again) = self.heed_role() {
                feed = again;
            }
            self.turn(sleep.deadline());
            sleep.as_mut().reset(self.wake_at());
            let woken = loop {
                let woken = self.wait(&mut feed, sleep.as_mut(), &shutdown).await;
                match woken {
                    Woken::Probe(done) if !self.heeds_ends() => self.gather(done, sleep.as_mut()),
                    woken => break woken,
                }
            };
            match woken {
                Woken::Stop => break,
                Woken::Feed(Ok(batch)) => self.follow_batch(&batch),
                Woken::Feed(Err(FeedError::Lagged)) => feed = self.resubscribe(),
                Woken::Feed(Err(FeedError::Ended)) => return Err(ProberError::FeedEnded),
                Woken::Probe(done) => self.ended(done, self.clock.now()),
                Woken::Stored(stored) => self.take_stored(stored),
                Woken::Asked(command) => self.check_now(command),
                Woken::Wondered(question) => self.tell_probing(question),
                Woken::Time => {}
            }
            self.take_ended();
        }
        self.stop().await;
        Ok(())
    }

    async fn wait(&mut self, feed: &mut Feed, sleep: Pin<&mut Sleep>, shutdown: &CancellationToken) -> Woken {
        let listens = !self.gathering || self.heeds_ends();
        tokio::select! {
            () = shutdown.cancelled() => Woken::Stop,
            batch = feed.next() => Woken::Feed(batch),
            Some(done) = self.probes.join_next(), if listens => Woken::Probe(done),
            Some(stored) = self.writes.join_next() => Woken::Stored(stored),
            Some(command) = self.commands.recv() => Woken::Asked(command),
            Some(question) = self.questions.recv() => Woken::Wondered(question),
            () = sleep => Woken::Time,
        }
    }

    /// Whether a probe's end matters at once: others wait for its slot, or somebody for its outcome.
    fn heeds_ends(&self) -> bool {
        self.queued > 0 || self.tickets.len() > 0
    }

    /// Takes in the first of the probes that end before the next tick; the others follow then, which saves waking up for each.
    fn gather(&mut self, done: Result<Done, JoinError>, sleep: Pin<&mut Sleep>) {
        self.ended(done, self.clock.now());
        self.gathering = true;
        let tick = Instant::now() + TICK;
        if sleep.deadline() > tick {
            sleep.reset(tick);
        }
    }

    /// Takes in probes that ended meanwhile.
    fn take_ended(&mut self) {
        self.gathering = false;
        let now = self.clock.now();
        for _ in 0..DRAIN {
            let Some(next) = self.probes.try_join_next() else { return };
            self.ended(next, now);
        }
    }

    /// When there is something to do although nothing happened.
    fn wake_at(&self) -> Instant {
        let now = self.clock.now().steady;
        let address = self.addresses.peek().map(|Reverse((at, _))| *at);
        let commit = self.commits.next();
        let next = [self.next_start(now), self.silence.next(), address, commit, self.guard_at, self.rows.next()];
        let wait = next.into_iter().flatten().min().map_or(LONGEST_SLEEP, |at| at.since(now).min(LONGEST_SLEEP));
        Instant::now() + wait
    }
}
