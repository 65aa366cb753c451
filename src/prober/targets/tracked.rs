//! What the prober knows of one instance.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::catalog::LastCheck;
use crate::model::check::{Target, Timing};
use crate::model::health::{CheckState, Next, Streak};
use crate::model::name::{InstanceName, ServiceKey};
use crate::model::outcome::{Health, Outcome, Reason, Verdict};
use crate::model::probe::{ProbeRow, Sample};
use crate::model::service::{Instance, InstanceId, Service};
use crate::model::time::{Now, UnixMs};
use crate::prober::schedule::due as schedule;
use crate::prober::schedule::fair_queue::{Class, Kind};
use crate::prober::targets::samples::Samples;

/// Least time that silence is excused for while an instance waits for us: ten times the least allowance.
const LONGEST_EXCUSE: Duration = Duration::from_mins(10);

/// Where an instance is on its way to the next outcome.
#[derive(Debug)]
pub(crate) enum Place {
    /// Waits for its due moment.
    Idle,
    /// Due, waits for a slot since then, steady clock.
    Queued(UnixMs),
    /// Probed.
    Running(Run),
    /// Waits in the queue of an address whose budget is spent, since then, steady clock.
    Delayed(IpAddr, UnixMs),
}

/// A probe under way.
#[derive(Debug)]
pub(crate) struct Run {
    /// Its task.
    pub(crate) task: AbortHandle,
    /// When it started, steady clock.
    pub(crate) started: UnixMs,
    /// The same for [`Pace`](crate::prober::limits::pace::Pace).
    pub(crate) at: Instant,
}

/// One instance that is probed.
#[derive(Debug)]
pub(crate) struct Tracked {
    /// The store's row.
    pub(crate) id: InstanceId,
    /// Its service's place.
    pub(crate) key: ServiceKey,
    /// Its name.
    pub(crate) name: InstanceName,
    /// Its namespace as a number, for taking turns; two that share one by chance share turns.
    pub(crate) namespace: u64,
    /// The generation that is probed.
    pub(crate) generation: u64,
    /// What a probe does.
    pub(crate) target: Arc<Target>,
    /// The check's numbers.
    pub(crate) timing: Timing,
    /// Place within the interval, milliseconds.
    pub(crate) phase: i64,
    /// What the outcomes add up to.
    pub(crate) state: CheckState,
    /// The next probe, steady clock.
    pub(crate) due: UnixMs,
    /// On the way to it.
    pub(crate) place: Place,
    /// Let out of the queue of this address.
    pub(crate) let_out: Option<IpAddr>,
    /// The newest outcome.
    pub(crate) last: Option<Arc<Outcome>>,
    /// The newest passing one.
    pub(crate) last_pass: Option<Arc<Outcome>>,
    /// The newest failing one since this process began, which a fall that was kept back rests on.
    pub(crate) last_fail: Option<Arc<Outcome>>,
    /// Shared with the catalog.
    pub(crate) last_check: LastCheck,
    /// On-demand checks that wait for the outcome: which, and their place in it.
    pub(crate) waiters: Vec<(u64, usize)>,
    /// The number of its newest change on the way to the store, 0 before the first.
    pub(crate) newest_change: u64,
    /// Whether the stored row is older than this.
    pub(crate) dirty: bool,
    /// When silence is looked at next, steady clock.
    pub(crate) watched: Option<UnixMs>,
    /// Whether the guard asked for the next outcome.
    pub(crate) asked: bool,
    /// Whether the next probe is to confirm something.
    pub(crate) confirming: bool,
    /// What of it the [`Demand`](crate::prober::limits::slots::Demand) counts.
    pub(crate) counted: Option<u32>,
    /// Time since the last conclusive outcome in which it waited for us.
    excused: Duration,
    kind: Kind,
    samples: Samples,
}

impl Tracked {
    /// A new or changed instance, one that is known from `row`, or one whose health others found: that stands, and its next probe comes
    /// when one is due.
    pub(crate) fn new(
        service: &Service,
        instance: &Instance,
        plan: (Target, Timing),
        row: Option<ProbeRow>,
        now: Now,
    ) -> Self {
        let (target, timing) = plan;
        let mut hasher = DefaultHasher::new();
        service.key.namespace().hash(&mut hasher);
        let mut tracked = Self {
            id: instance.id,
            key: service.key.clone(),
            name: instance.name.clone(),
            namespace: hasher.finish(),
            generation: instance.generation,
            target: Arc::new(target),
            timing,
            phase: schedule::phase(&service.id, &instance.name, timing.interval),
            state: CheckState::shown_as(instance.health, instance.reason, instance.since, now),
            due: now.steady,
            place: Place::Idle,
            let_out: None,
            last: None,
            last_pass: None,
            last_fail: None,
            last_check: LastCheck::default(),
            waiters: Vec::new(),
            newest_change: 0,
            dirty: false,
            watched: None,
            asked: false,
            confirming: false,
            counted: None,
            excused: Duration::ZERO,
            kind: Kind::New,
            samples: Samples::default(),
        };
        if let Some(row) = row {
            tracked.restore(row, instance, now);
        } else if instance.health != Health::Unknown {
            tracked.due = schedule::next_slot(tracked.phase, timing.interval, now.steady);
        }
        tracked
    }

    fn restore(&mut self, row: ProbeRow, instance: &Instance, now: Now) {
        let agrees = (row.state.health(), row.state.reason()) == (instance.health, instance.reason);
        // A clock that was moved back while we were away must not silence an instance for longer than its interval.
        let due = row.next_due.min(now.steady.plus(self.timing.interval));
        (self.state, self.due) = if agrees {
            (row.state.resume(&self.timing, now), due)
        } else {
            // A crash parted the two. What readers see stands, and is proved anew at once.
            (CheckState::shown_as(instance.health, instance.reason, instance.since, now), now.steady)
        };
        self.last = row.last.map(Arc::new);
        self.last_pass = row.last_pass.map(Arc::new);
        row.samples.into_iter().for_each(|sample| self.samples.push(sample));
        self.kind = self.last.as_ref().map_or(Kind::New, |last| kind_of(last, &self.timing));
    }

    /// Its place in the queue for a slot.
    pub(crate) fn class(&self) -> Class {
        let decided = || matches!(self.state.streak(), Streak::Fail(n) if n >= self.timing.unhealthy_threshold);
        let kind = if self.kind == Kind::Slow && decided() { Kind::Hung } else { self.kind };
        Class { urgent: self.asked || !self.waiters.is_empty(), kind }
    }

    /// Whether it may hold its slot for long.
    pub(crate) fn slow(&self) -> bool {
        self.kind.slow()
    }

    /// The time that it asks for between two probes: what its place in a queue goes by.
    pub(crate) fn gap(&self) -> Duration {
        if self.confirming { confirming_gap(&self.timing) } else { self.timing.interval }
    }

    /// What it takes of a slot on average, in millionths; none where it may hang.
    pub(crate) fn need(&self) -> Option<u32> {
        let took = self.last.as_ref().filter(|_| !self.slow())?.timings.total_us();
        let part = u128::from(took) * 1000 / self.timing.interval.as_millis().max(1);
        Some(u32::try_from(part).unwrap_or(u32::MAX))
    }

    /// Takes back from its silence a time in which it waited for us: for a slot, or for its address's budget.
    pub(crate) fn excuse(&mut self, waited: Duration) {
        let by = waited.min(self.most_excused().saturating_sub(self.excused));
        self.excused += by;
        self.state.excuse(by);
    }

    /// When it will have been silent for too long, steady clock, as far as is known now.
    pub(crate) fn unproven_at(&self, now: UnixMs) -> UnixMs {
        let waits = match self.place {
            Place::Queued(since) | Place::Delayed(_, since) => now.since(since),
            Place::Idle | Place::Running(_) => Duration::ZERO,
        };
        let excused = waits.min(self.most_excused().saturating_sub(self.excused));
        self.state.unproven_at(&self.timing).plus(excused)
    }

    /// Nothing stays green for ever because we do not get to it.
    fn most_excused(&self) -> Duration {
        self.timing.interval.max(self.timing.timeout).saturating_mul(27).max(LONGEST_EXCUSE)
    }

    /// Notes an outcome, apart from what it means for the health.
    pub(crate) fn note(&mut self, outcome: Outcome) -> Arc<Outcome> {
        let outcome = Arc::new(outcome);
        let passed = outcome.verdict == Verdict::Pass;
        if outcome.verdict != Verdict::Inconclusive {
            self.last_check.note(outcome.at);
            self.excused = Duration::ZERO;
        }
        let total = u32::try_from(outcome.timings.total_us()).unwrap_or(u32::MAX);
        self.samples.push(Sample { at: outcome.at, total_us: passed.then_some(total), code: outcome.code });
        self.kind = kind_of(&outcome, &self.timing);
        self.last = Some(Arc::clone(&outcome));
        match outcome.verdict {
            Verdict::Pass => self.last_pass = Some(Arc::clone(&outcome)),
            Verdict::Fail => self.last_fail = Some(Arc::clone(&outcome)),
            Verdict::Inconclusive => {}
        }
        outcome
    }

    /// Sets the next due moment after a probe that started at `started`. A confirming probe comes the retry interval after the *start* of
    /// the one that it confirms, but never before that one ended: a hung target is tried again as soon as its timeout has passed.
    pub(crate) fn plan(&mut self, next: Next, started: UnixMs, now: UnixMs) {
        self.confirming = next == Next::Confirm;
        self.due = match next {
            Next::Confirm => started.plus(self.timing.retry_interval).max(now),
            Next::Scheduled => schedule::next_slot(self.phase, self.timing.interval, now),
        };
    }

    /// The newest probes, oldest first.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.samples.to_vec()
    }

    /// The row to store.
    pub(crate) fn row(&self) -> ProbeRow {
        ProbeRow {
            instance: self.id,
            generation: self.generation,
            state: self.state.clone(),
            next_due: self.due,
            last: self.last.as_deref().cloned(),
            last_pass: self.last_pass.as_deref().cloned(),
            samples: self.samples(),
        }
    }
}

/// The gap that a confirming probe asks for where there is a queue: at least half of the interval, so that targets which all fail at once
/// ask for twice as much as before at most, whatever their retry interval and thresholds.
pub(crate) fn confirming_gap(timing: &Timing) -> Duration {
    timing.retry_interval.max(timing.interval / 2)
}

fn kind_of(outcome: &Outcome, timing: &Timing) -> Kind {
    let took_long = u128::from(outcome.timings.total_us()) * 2 >= timing.timeout.as_micros();
    let waited = matches!(outcome.reason, Reason::Timeout | Reason::ConnectTimeout | Reason::ResolverDown);
    if took_long || waited { Kind::Slow } else { Kind::Quick }
}
