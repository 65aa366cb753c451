//! What the prober knows of one instance.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::interval;
use super::lane::{Lane, Priority};
use super::samples::Samples;
use crate::catalog::LastCheck;
use crate::model::check::{Target, Timing};
use crate::model::health::{CheckState, Next, Streak};
use crate::model::name::{InstanceName, ServiceKey};
use crate::model::outcome::{Health, Outcome, Reason, Verdict};
use crate::model::probe::{ProbeRow, Sample};
use crate::model::service::{Instance, InstanceId, Service};
use crate::model::time::{Now, UnixMs};

/// The least bound on the excuse of a waiting instance: ten times the least allowance.
const LONGEST_EXCUSE: Duration = Duration::from_mins(10);

/// How far an instance is on its way to the next outcome.
#[derive(Debug)]
pub(crate) enum ProbePhase {
    /// Waits for its due moment.
    Idle,
    /// Due, waits for a slot since then, steady clock.
    Queued(UnixMs),
    /// Its probe runs.
    Running(Run),
    /// Waits in the queue of an address whose budget is spent, since then, steady clock.
    Delayed(IpAddr, UnixMs),
}

/// A running probe.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) task: AbortHandle,
    /// When it started, steady clock.
    pub(crate) started: UnixMs,
    /// The same instant for [`Pace`](crate::prober::limits::pace::Pace).
    pub(crate) at: Instant,
}

/// An on-demand check that waits for an outcome: its ticket, and the instance's position in it.
pub(crate) type Waiter = (u64, usize);

/// One instance that is probed.
#[derive(Debug)]
pub(crate) struct Tracked {
    /// The store's row.
    pub(crate) id: InstanceId,
    pub(crate) key: ServiceKey,
    pub(crate) name: InstanceName,
    /// The namespace's hash, by which namespaces take turns; two that collide share their turns.
    pub(crate) namespace: u64,
    /// The generation that is probed.
    pub(crate) generation: u64,
    pub(crate) target: Arc<Target>,
    pub(crate) timing: Timing,
    /// Its offset within the interval.
    offset_ms: i64,
    /// What the outcomes add up to.
    pub(crate) state: CheckState,
    /// The next probe, steady clock.
    pub(crate) due: UnixMs,
    pub(crate) phase: ProbePhase,
    /// The address whose queue released it.
    pub(crate) released_by: Option<IpAddr>,
    /// The newest outcome.
    pub(crate) last: Option<Arc<Outcome>>,
    /// The newest passing one.
    pub(crate) last_pass: Option<Arc<Outcome>>,
    /// The newest failing one since this process began, which a withheld fall rests on.
    pub(crate) last_fail: Option<Arc<Outcome>>,
    /// Shared with the catalog.
    pub(crate) last_check: LastCheck,
    pub(crate) waiters: Vec<Waiter>,
    /// The number of its newest change on the way to the store, 0 before the first.
    pub(crate) newest_change: u64,
    /// Whether the stored row is outdated.
    pub(crate) dirty: bool,
    /// When its silence is judged next, steady clock.
    pub(crate) silence_at: Option<UnixMs>,
    /// Whether the guard asked for the next outcome.
    pub(crate) guard_asked: bool,
    /// Whether the next probe is to confirm something.
    pub(crate) confirming: bool,
    /// Its part of [`Demand`](crate::prober::limits::slots::Demand).
    pub(crate) counted_need: Option<u32>,
    /// Time since the last conclusive outcome in which it waited for us.
    excused: Duration,
    lane: Lane,
    samples: Samples,
}

impl Tracked {
    /// A new or changed instance. With a `row` it resumes from there; without one, a health found by another replica stands, and the
    /// next probe comes at its regular time.
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
            offset_ms: interval::offset_ms(&service.id, &instance.name, timing.interval),
            state: CheckState::shown_as(instance.health, instance.reason, instance.since, now),
            due: now.steady,
            phase: ProbePhase::Idle,
            released_by: None,
            last: None,
            last_pass: None,
            last_fail: None,
            last_check: LastCheck::default(),
            waiters: Vec::new(),
            newest_change: 0,
            dirty: false,
            silence_at: None,
            guard_asked: false,
            confirming: false,
            counted_need: None,
            excused: Duration::ZERO,
            lane: Lane::New,
            samples: Samples::default(),
        };
        if let Some(row) = row {
            tracked.restore(row, instance, now);
        } else if instance.health != Health::Unknown {
            tracked.due = interval::next_due(tracked.offset_ms, timing.interval, now.steady);
        }
        tracked
    }

    fn restore(&mut self, row: ProbeRow, instance: &Instance, now: Now) {
        let agrees = (row.state.health(), row.state.reason()) == (instance.health, instance.reason);
        // A clock that was set back while we were away must not silence an instance for longer than its interval.
        let due = row.next_due.min(now.steady.plus(self.timing.interval));
        (self.state, self.due) = if agrees {
            (row.state.resume(&self.timing, now), due)
        } else {
            // A crash separated the two. What readers see stands, and is proved again at once.
            (CheckState::shown_as(instance.health, instance.reason, instance.since, now), now.steady)
        };
        self.last = row.last.map(Arc::new);
        self.last_pass = row.last_pass.map(Arc::new);
        row.samples.into_iter().for_each(|sample| self.samples.push(sample));
        self.lane = self.last.as_ref().map_or(Lane::New, |last| lane_of(last, &self.timing));
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase, ProbePhase::Idle)
    }

    /// Its priority in the queue for a slot.
    pub(crate) fn priority(&self) -> Priority {
        let decided = || matches!(self.state.streak(), Streak::Fail(n) if n >= self.timing.unhealthy_threshold);
        let lane = if self.lane == Lane::Slow && decided() { Lane::Hung } else { self.lane };
        Priority { urgent: self.guard_asked || !self.waiters.is_empty(), lane }
    }

    /// Whether it may hold its slot for long.
    pub(crate) fn may_hang(&self) -> bool {
        self.lane.may_hang()
    }

    /// The time between two probes that it asks for, which orders the queue.
    pub(crate) fn gap(&self) -> Duration {
        if self.confirming { confirming_gap(&self.timing) } else { self.timing.interval }
    }

    /// The part of a slot that it uses on average, in millionths; none where it may hang.
    pub(crate) fn need(&self) -> Option<u32> {
        let took = self.last.as_ref().filter(|_| !self.may_hang())?.timings.total_us();
        let part = u128::from(took) * 1000 / self.timing.interval.as_millis().max(1);
        Some(u32::try_from(part).unwrap_or(u32::MAX))
    }

    /// Subtracts from its silence a time in which it waited for us: for a slot, or for its address's budget.
    pub(crate) fn excuse(&mut self, waited: Duration) {
        let by = waited.min(self.most_excused().saturating_sub(self.excused));
        self.excused += by;
        self.state.excuse(by);
    }

    /// When it will have been silent for too long, steady clock, as far as is known now.
    pub(crate) fn unproven_at(&self, now: UnixMs) -> UnixMs {
        let waits = match self.phase {
            ProbePhase::Queued(since) | ProbePhase::Delayed(_, since) => now.since(since),
            ProbePhase::Idle | ProbePhase::Running(_) => Duration::ZERO,
        };
        let excused = waits.min(self.most_excused().saturating_sub(self.excused));
        self.state.unproven_at(&self.timing).plus(excused)
    }

    /// Bounds the excuse: nothing stays healthy for ever because we do not get to it.
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
        self.lane = lane_of(&outcome, &self.timing);
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
            Next::Scheduled => interval::next_due(self.offset_ms, self.timing.interval, now),
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

/// The gap that a confirming probe asks for while there is a queue: at least half of the interval, so that targets which all fail at once
/// ask for at most twice as much as before, whatever their retry interval and thresholds.
pub(crate) fn confirming_gap(timing: &Timing) -> Duration {
    timing.retry_interval.max(timing.interval / 2)
}

fn lane_of(outcome: &Outcome, timing: &Timing) -> Lane {
    let took_long = u128::from(outcome.timings.total_us()) * 2 >= timing.timeout.as_micros();
    let waited = matches!(outcome.reason, Reason::Timeout | Reason::ConnectTimeout | Reason::ResolverDown);
    if took_long || waited { Lane::Slow } else { Lane::Quick }
}
