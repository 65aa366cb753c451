//! What the prober knows of one instance.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::ready::{Class, Kind};
use super::samples::Samples;
use super::schedule;
use crate::catalog::LastCheck;
use crate::model::check::{Target, Timing};
use crate::model::health::{CheckState, Next};
use crate::model::name::{InstanceName, ServiceKey};
use crate::model::outcome::{Health, Outcome, Reason, Verdict};
use crate::model::probe::{ProbeRow, Sample};
use crate::model::service::{Instance, InstanceId, Service};
use crate::model::time::{Now, UnixMs};

/// Where an instance is on its way to the next outcome.
#[derive(Debug)]
pub(super) enum Place {
    /// Waits for its due moment.
    Idle,
    /// Due, waits for a slot.
    Queued,
    /// Probed since then, steady clock.
    Running(AbortHandle, UnixMs),
    /// Waits in the queue of an address whose budget is spent.
    Delayed(IpAddr),
}

/// One instance that is probed.
#[derive(Debug)]
pub(super) struct Tracked {
    /// The store's row.
    pub(super) id: InstanceId,
    /// Its service's place.
    pub(super) key: ServiceKey,
    /// Its name.
    pub(super) name: InstanceName,
    /// Its namespace as a number, for taking turns; two that share one by chance share turns.
    pub(super) namespace: u64,
    /// The generation that is probed.
    pub(super) generation: u64,
    /// What a probe does.
    pub(super) target: Arc<Target>,
    /// The check's numbers.
    pub(super) timing: Timing,
    /// Place within the interval, milliseconds.
    pub(super) phase: i64,
    /// What the outcomes add up to.
    pub(super) state: CheckState,
    /// The next probe, steady clock.
    pub(super) due: UnixMs,
    /// On the way to it.
    pub(super) place: Place,
    /// Let out of the queue of this address.
    pub(super) let_out: Option<IpAddr>,
    /// The newest outcome.
    pub(super) last: Option<Arc<Outcome>>,
    /// The newest passing one.
    pub(super) last_pass: Option<Arc<Outcome>>,
    /// The newest failing one since this process began, which a fall that was kept back rests on.
    pub(super) last_fail: Option<Arc<Outcome>>,
    /// Shared with the catalog.
    pub(super) last_check: LastCheck,
    /// On-demand checks that wait for the outcome: which, and their place in it.
    pub(super) waiters: Vec<(u64, usize)>,
    /// The number of its newest change on the way to the store, 0 before the first.
    pub(super) newest_change: u64,
    /// Whether the stored row is older than this.
    pub(super) dirty: bool,
    /// When silence is looked at next, steady clock.
    pub(super) watched: Option<UnixMs>,
    /// Whether the guard asked for the next outcome.
    pub(super) asked: bool,
    /// Whether the next probe is to confirm something.
    pub(super) confirming: bool,
    kind: Kind,
    samples: Samples,
}

impl Tracked {
    /// A new or changed instance, one that is known from `row`, or one whose health others found: that stands, and its next probe comes
    /// when one is due.
    pub(super) fn new(
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
    pub(super) fn class(&self) -> Class {
        Class { urgent: self.asked || !self.waiters.is_empty(), kind: self.kind }
    }

    /// Whether it may hold its slot for long.
    pub(super) fn slow(&self) -> bool {
        self.kind.slow()
    }

    /// Notes an outcome, apart from what it means for the health.
    pub(super) fn note(&mut self, outcome: Outcome) -> Arc<Outcome> {
        let outcome = Arc::new(outcome);
        let passed = outcome.verdict == Verdict::Pass;
        if outcome.verdict != Verdict::Inconclusive {
            self.last_check.note(outcome.at);
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
    pub(super) fn plan(&mut self, next: Next, started: UnixMs, now: UnixMs) {
        self.confirming = next == Next::Confirm;
        self.due = match next {
            Next::Confirm => started.plus(self.timing.retry_interval).max(now),
            Next::Scheduled => schedule::next_slot(self.phase, self.timing.interval, now),
        };
    }

    /// The newest probes, oldest first.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.samples.to_vec()
    }

    /// The row to store.
    pub(super) fn row(&self) -> ProbeRow {
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

fn kind_of(outcome: &Outcome, timing: &Timing) -> Kind {
    let took_long = u128::from(outcome.timings.total_us()) * 2 >= timing.timeout.as_micros();
    let waited = matches!(outcome.reason, Reason::Timeout | Reason::ConnectTimeout | Reason::ResolverDown);
    match outcome.verdict {
        _ if took_long || waited => Kind::Slow,
        Verdict::Pass => Kind::Quick,
        Verdict::Fail | Verdict::Inconclusive => Kind::Failing,
    }
}
