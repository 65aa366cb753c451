//! What the prober knows of one check of an instance.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;
use uuid::Uuid;

use super::interval;
use super::lane::{Lane, Priority};
use super::notes::Notes;
use super::samples::Samples;
use crate::catalog::LastCheck;
use crate::model::check::{Target, Timing};
use crate::model::health::{CheckState, Next, Streak};
use crate::model::name::{CheckName, InstanceName, ServiceKey};
use crate::model::outcome::{Health, Outcome, Reason, Verdict};
use crate::model::probe::{ProbeRow, Sample};
use crate::model::service::{CheckId, Instance, Service, Warning};
use crate::model::time::{Now, UnixMs};
use crate::prober::leases::Lease;

/// The least bound on the excuse of a waiting instance: ten times the least allowance.
const LONGEST_EXCUSE: Duration = Duration::from_mins(10);

/// The kind of a check that is not probed.
pub(crate) const HEARTBEAT: &str = "heartbeat";

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

/// How the outcomes of a check come about.
#[derive(Debug)]
pub(crate) enum Work {
    /// It is probed.
    Probe(Arc<Target>),
    /// The program reports.
    Lease(Arc<Lease>),
}

/// A check to track.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) position: u8,
    /// None for the plain check.
    pub(crate) name: Option<CheckName>,
    pub(crate) advisory: bool,
    pub(crate) work: Work,
    pub(crate) timing: Timing,
}

/// One check of an instance.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they change one by one, in different parts of the engine")]
pub(crate) struct Tracked {
    pub(crate) id: CheckId,
    pub(crate) key: ServiceKey,
    /// The instance's name.
    pub(crate) name: InstanceName,
    /// The check's name; none for the plain one.
    check: Option<CheckName>,
    /// Whether its failure only sets a warning.
    pub(crate) advisory: bool,
    /// The namespace's hash, by which namespaces take turns; two that collide share their turns.
    pub(crate) namespace: u64,
    /// The generation that is probed.
    pub(crate) generation: u64,
    pub(crate) work: Work,
    pub(crate) timing: Timing,
    /// Its offset within the interval.
    offset_ms: i64,
    /// What the outcomes add up to; of a lease, on the leases' clock.
    pub(crate) state: CheckState,
    /// The next probe, steady clock; of a lease, when it is looked at next, on the leases' clock.
    pub(crate) due: UnixMs,
    /// Whether its lease has expired and was not renewed since.
    pub(crate) lapsed: bool,
    /// For how long it had failed without a break when this process began, or a lease's program been silent; in seconds, 0 once that ended.
    pub(crate) failed_before_s: u32,
    pub(crate) phase: ProbePhase,
    /// The address whose queue released it.
    pub(crate) released_by: Option<IpAddr>,
    /// The newest outcome.
    pub(crate) last: Option<Arc<Outcome>>,
    /// The newest passing one.
    pub(crate) last_pass: Option<Arc<Outcome>>,
    /// The newest failing one since this process began, which a withheld fall rests on.
    pub(crate) last_fail: Option<Arc<Outcome>>,
    /// When the certificate expires that was seen last, which a probe that does not get so far leaves.
    pub(crate) certificate_expires_at: Option<UnixMs>,
    /// Shared with the catalog.
    pub(crate) last_check: LastCheck,
    pub(crate) waiters: Vec<Waiter>,
    /// Whether all of them only want to see the outcome.
    pub(crate) only_observed: bool,
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
    /// What is noticed beside the health; nearly always nothing.
    notes: Option<Box<Notes>>,
}

impl Tracked {
    /// A new or changed check, of which nothing is known; see `restore`.
    pub(crate) fn new(service: &Service, instance: &Instance, planned: Planned, now: Now) -> Self {
        let Planned { position, name, advisory, work, timing } = planned;
        let mut hasher = DefaultHasher::new();
        service.key.namespace().hash(&mut hasher);
        Self {
            id: CheckId { instance: instance.id, position },
            key: service.key.clone(),
            name: instance.name.clone(),
            namespace: hasher.finish(),
            generation: instance.generation,
            work,
            timing,
            offset_ms: interval::offset_ms(&service.id, &instance.name, name.as_ref(), timing.interval),
            check: name,
            advisory,
            state: CheckState::new(now),
            due: now.steady,
            lapsed: false,
            failed_before_s: 0,
            phase: ProbePhase::Idle,
            released_by: None,
            last: None,
            last_pass: None,
            last_fail: None,
            certificate_expires_at: None,
            last_check: LastCheck::default(),
            waiters: Vec::new(),
            only_observed: false,
            newest_change: 0,
            dirty: false,
            silence_at: None,
            guard_asked: false,
            confirming: false,
            counted_need: None,
            excused: Duration::ZERO,
            lane: Lane::New,
            samples: Samples::default(),
            notes: None,
        }
    }

    /// Goes on from a row.
    pub(super) fn resume(&mut self, row: &ProbeRow, now: Now) {
        // A clock that was set back while we were away must not silence an instance for longer than its interval.
        self.due = row.next_due.min(now.steady.plus(self.timing.interval));
        if row.state.health() == Health::Unhealthy {
            let failed = match &self.work {
                Work::Probe(_) => row.state.failing_for(),
                // A program that reports its failure is not silent.
                Work::Lease(_) => row.state.failing_for_only(Reason::LeaseExpired),
            };
            self.failed_before_s = u32::try_from(failed.as_secs()).unwrap_or(u32::MAX);
        }
        self.state = row.state.clone().resume(&self.timing, now);
    }

    /// Takes over what a row has besides the state.
    pub(super) fn take_evidence(&mut self, row: ProbeRow) {
        self.last = row.last.map(Arc::new);
        self.last_pass = row.last_pass.map(Arc::new);
        let mut newest = [&self.last, &self.last_pass].into_iter().flatten();
        self.certificate_expires_at = newest.find_map(|outcome| outcome.certificate_expires_at);
        row.samples.into_iter().for_each(|sample| self.samples.push(sample));
        self.lane = self.last.as_ref().map_or(Lane::New, |last| lane_of(last, &self.timing));
    }

    /// Follows these numbers from now on, if they differ. A probe that is due regularly comes when they say; one that confirms stays due.
    pub(crate) fn retime(&mut self, service: &Uuid, timing: Timing, now: UnixMs) -> bool {
        if timing == self.timing {
            return false;
        }
        let other_interval = timing.interval != self.timing.interval;
        self.timing = timing;
        if other_interval && self.lease().is_none() {
            self.offset_ms = interval::offset_ms(service, &self.name, self.check.as_ref(), timing.interval);
            if self.is_idle() && !self.confirming {
                self.be_regular(now);
            }
        }
        self.silence_at = None;
        true
    }

    /// Is due at its regular time.
    pub(super) fn be_regular(&mut self, now: UnixMs) {
        self.due = interval::next_due(self.offset_ms, self.timing.interval, now);
    }

    /// The check's name.
    pub(crate) fn check_name(&self) -> CheckName {
        self.check.clone().unwrap_or_default()
    }

    pub(crate) fn is_named(&self, name: &CheckName) -> bool {
        self.check.as_ref().map_or(name.is_default(), |own| own == name)
    }

    /// What is probed; none where the program reports.
    pub(crate) fn target(&self) -> Option<&Arc<Target>> {
        if let Work::Probe(target) = &self.work { Some(target) } else { None }
    }

    /// Probes another target from now on, if it differs.
    pub(crate) fn demand(&mut self, target: Target) {
        if let Work::Probe(known) = &mut self.work
            && **known != target
        {
            *known = Arc::new(target);
        }
    }

    /// The lease; none where it is probed.
    pub(crate) fn lease(&self) -> Option<&Arc<Lease>> {
        if let Work::Lease(lease) = &self.work { Some(lease) } else { None }
    }

    /// The kind of check, as in metric labels.
    pub(crate) fn kind(&self) -> &'static str {
        self.target().map_or(HEARTBEAT, |target| target.kind())
    }

    /// Where its answers report a version, if they do.
    pub(crate) fn version_from(&self) -> Option<&str> {
        self.target().and_then(|target| target.version_from())
    }

    /// What does not pass although the instance is usable.
    pub(crate) fn warning(&self) -> Option<&Arc<Warning>> {
        self.notes.as_deref().and_then(Notes::warning)
    }

    /// The version that its answers report.
    pub(crate) fn version(&self) -> Option<&Arc<str>> {
        self.notes.as_deref().and_then(Notes::version)
    }

    /// Whether something is noticed besides the health.
    pub(crate) fn has_warning(&self) -> bool {
        self.warning().is_some()
    }

    /// What is noticed beside the health, to change it.
    pub(crate) fn notes(&mut self) -> &mut Notes {
        self.notes.get_or_insert_default()
    }

    /// Sets the version that its answers report, and what a passing outcome warns of.
    pub(crate) fn notice(&mut self, version: Option<&str>, warning: Option<(Reason, String)>, now: UnixMs) {
        if self.notes.is_none() && version.is_none() && warning.is_none() {
            return;
        }
        let check = self.check_name();
        self.notes().notice(version, warning.map(|(reason, message)| Warning { check, reason, message }), now);
    }

    /// Keeps the warning of an advisory check equal to its state; `message` is that of the latest step.
    pub(super) fn warn_if_failing(&mut self, message: Option<&str>) {
        let failing = self.advisory && self.state.health() == Health::Unhealthy;
        if !failing && self.notes.is_none() {
            return;
        }
        let warning = failing.then(|| Warning {
            check: self.check_name(),
            reason: self.state.reason(),
            message: message.unwrap_or_default().to_owned(),
        });
        self.notes().fail(warning);
    }

    /// Whether what is noticed beside the health has changed since this was asked last.
    pub(super) fn take_changed(&mut self) -> bool {
        self.notes.as_deref_mut().is_some_and(Notes::take_changed)
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

    /// Subtracts from its silence a time in which it waited for us: to be queued, for a slot, or for its address's budget.
    pub(crate) fn excuse(&mut self, waited: Duration) {
        let by = waited.min(self.most_excused().saturating_sub(self.excused));
        self.excused += by;
        self.state.excuse(by);
    }

    /// When it will have been silent for too long, steady clock, as far as is known now.
    pub(crate) fn unproven_at(&self, now: UnixMs) -> UnixMs {
        let waits = match self.phase {
            ProbePhase::Queued(since) | ProbePhase::Delayed(_, since) => now.since(since),
            // After this process was stopped, more may be overdue than one tick queues.
            ProbePhase::Idle => now.since(self.due),
            ProbePhase::Running(_) => Duration::ZERO,
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
        self.certificate_expires_at = outcome.certificate_expires_at.or(self.certificate_expires_at);
        match outcome.verdict {
            Verdict::Pass => {
                self.last_pass = Some(Arc::clone(&outcome));
                self.failed_before_s = 0;
            }
            Verdict::Fail => self.last_fail = Some(Arc::clone(&outcome)),
            Verdict::Inconclusive => {}
        }
        outcome
    }

    /// Notes the outcome of a lease that expired: nobody was heard, so this is not a check of the service.
    pub(crate) fn note_silence(&mut self, outcome: Outcome) -> Arc<Outcome> {
        let outcome = Arc::new(outcome);
        self.samples.push(Sample { at: outcome.at, total_us: None, code: None });
        (self.last, self.last_fail) = (Some(Arc::clone(&outcome)), Some(Arc::clone(&outcome)));
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
            instance: self.id.instance,
            generation: self.generation,
            check: self.check_name(),
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
