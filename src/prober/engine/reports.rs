//! What programs report of themselves: the engine judges it as it does a probe's outcome, and lets leases expire.

use std::sync::Arc;
use std::time::Duration;

use super::Prober;
use crate::model::health::{Event, Streak, step};
use crate::model::outcome::{Health, Outcome, Reason, Verdict};
use crate::model::service::CheckId;
use crate::model::time::{Now, UnixMs};
use crate::prober::leases::{Report, Said, expired, heard};
use crate::prober::targets::{HEARTBEAT, Tracked};

/// Leases looked at in one tick at most.
const MAX_EXPIRED: usize = 512;
/// Reports handled before the next tick.
const MAX_REPORTS: usize = 256;
/// Bounds of the time between two looks at a lease that has expired: each counts one more fail, so that a restart knows for how long.
const LOOK_AGAIN: [Duration; 2] = [Duration::from_secs(30), Duration::from_hours(1)];

impl Prober {
    /// The leases' clock.
    pub(super) fn lease_now(&self) -> UnixMs {
        self.lease_clock.lost().at(self.clock.now().steady)
    }

    /// Now for the state of a lease, whose steady times are of the leases' clock: time in which nobody could be heard counts for nothing.
    fn now_for_leases(&self) -> Now {
        let now = self.clock.now();
        Now { steady: self.lease_clock.lost().at(now.steady), ..now }
    }

    /// When the next lease is looked at, steady clock.
    pub(super) fn next_expiry(&self) -> Option<UnixMs> {
        let lost = self.lease_clock.lost();
        let next = [self.expiries.next(), self.departures.next(self.lease_now())];
        next.into_iter().flatten().min().map(|at| lost.steady(at))
    }

    /// Handles a report, and those that wait behind it.
    pub(super) fn hear_all(&mut self, first: Report) {
        let mut next = Some(first);
        for _ in 0..MAX_REPORTS {
            let Some(report) = next else { return };
            self.hear(&report);
            next = self.requests.next_report();
        }
        if let Some(report) = next {
            self.hear(&report);
        }
    }

    fn hear(&mut self, report: &Report) {
        if !self.probing {
            return;
        }
        let Some(id) = self.lease_of(report) else { return };
        let now = self.now_for_leases();
        let Some(tracked) = self.targets.get_mut(id) else { return };
        tracked.failed_before_s = 0;
        let lapsed = std::mem::take(&mut tracked.lapsed);
        if lapsed && let Some(lease) = tracked.lease() {
            let due = lease.expires();
            tracked.due = due;
            self.expiries.push(due, id);
        }
        if report.said != Said::Registered || is_proved_by_registering(tracked) {
            self.judge_report(id, report, now);
        }
        if lapsed {
            self.sync_departure(id.instance);
        }
        self.settle(id, report.is_plain());
    }

    /// The check that a report is about. The feed may be a moment behind what its sender has seen.
    fn lease_of(&mut self, report: &Report) -> Option<CheckId> {
        let known = report.lease().map(|lease| lease.check);
        let is_current = |prober: &Self, id: CheckId| {
            let own = prober.targets.get(id).and_then(Tracked::lease);
            own.zip(report.lease()).is_some_and(|(own, theirs)| Arc::ptr_eq(own, theirs))
        };
        if let Some(id) = known.filter(|id| is_current(self, *id)) {
            return Some(id);
        }
        let entry = self.catalog.read().by_id(&report.service).cloned()?;
        self.follow(std::slice::from_ref(&entry));
        let instance = entry.service().instance(report.instance.as_str())?;
        let checks = self.targets.checks(instance.id)?;
        checks.iter().find(|tracked| tracked.lease().is_some()).map(|tracked| tracked.id)
    }

    fn judge_report(&mut self, id: CheckId, report: &Report, now: Now) {
        let Some(tracked) = self.targets.get_mut(id) else { return };
        let outcome = tracked.note(report.outcome());
        self.report.probe(HEARTBEAT, &outcome);
        if outcome.verdict == Verdict::Pass {
            tracked.notice(None, report.warning(), now.steady);
        }
        let step = step(&tracked.state, &tracked.timing, Event::Probe(&outcome), now);
        self.apply(id, step, Some(&outcome.message), now);
    }

    /// Says whether a plain pass changes nothing from now on. `plain`: the last report was one.
    fn settle(&mut self, id: CheckId, plain: bool) {
        let Some(tracked) = self.targets.get(id) else { return };
        let well = tracked.state.health() == Health::Healthy && matches!(tracked.state.streak(), Streak::Pass(_));
        if let Some(lease) = tracked.lease() {
            lease.set_quiet(well && plain && !tracked.has_warning() && !tracked.lapsed);
        }
    }

    /// Looks at the leases whose time has come.
    pub(super) fn expire_leases(&mut self) {
        let now = self.now_for_leases();
        for _ in 0..MAX_EXPIRED {
            let Some((due, id)) = self.expiries.pop_due(now.steady) else { return };
            let Some(tracked) = self.targets.get_mut(id).filter(|tracked| tracked.due == due) else { continue };
            let Some(lease) = tracked.lease().cloned() else { continue };
            if tracked.lapsed || lease.lapse(now.steady) {
                self.expire(id, lease.ttl, now);
            } else {
                // It was heard: nothing has to be written.
                let passed = step(&tracked.state, &tracked.timing, Event::Probe(&heard(now.wall)), now);
                if lease.is_quiet() && passed.transition.is_none() {
                    tracked.state = passed.state;
                }
                tracked.due = lease.expires();
                self.expiries.push(tracked.due, id);
            }
        }
    }

    /// A lease was not renewed in time, or still is not.
    fn expire(&mut self, id: CheckId, ttl: Duration, now: Now) {
        let Some(tracked) = self.targets.get_mut(id) else { return };
        let first = !std::mem::replace(&mut tracked.lapsed, true);
        let [least, most] = LOOK_AGAIN;
        tracked.due = now.steady.plus(ttl.clamp(least, most));
        self.expiries.push(tracked.due, id);
        let outcome = expired(ttl, now.wall);
        let event = if first { Event::Expired(&outcome) } else { Event::Probe(&outcome) };
        let step = step(&tracked.state, &tracked.timing, event, now);
        if first {
            let outcome = tracked.note_silence(outcome);
            self.report.probe(HEARTBEAT, &outcome);
            self.apply(id, step, Some(&outcome.message), now);
            self.sync_departure(id.instance);
        } else {
            self.apply(id, step, Some(&outcome.message), now);
        }
    }

    /// Drops outdated entries, so that memory stays bounded.
    pub(super) fn tidy_expiries(&mut self) {
        let targets = &self.targets;
        self.expiries.tidy(targets.len(), |due, id| targets.get(id).is_some_and(|tracked| tracked.due == due));
        self.departures.tidy();
    }
}

/// Whether a registration proves the program: nothing is known, or its lease had expired. A failure that it reported itself stands.
fn is_proved_by_registering(tracked: &Tracked) -> bool {
    match tracked.state.health() {
        Health::Unknown => true,
        Health::Healthy => false,
        Health::Unhealthy => matches!(tracked.state.reason(), Reason::LeaseExpired | Reason::Flapping),
    }
}

/// The newest outcome of a lease: plain passes leave none of their own.
pub(super) fn newest(tracked: &Tracked, lease_now: UnixMs, now: Now) -> Option<Outcome> {
    let last = tracked.last.as_deref();
    let lease = tracked.lease()?;
    let ago = i64::try_from(lease_now.since(lease.heard()).as_millis()).unwrap_or(i64::MAX);
    let at = UnixMs(now.wall.0.saturating_sub(ago));
    if lease.is_quiet() && last.is_none_or(|last| last.at < at) { Some(heard(at)) } else { last.cloned() }
}
