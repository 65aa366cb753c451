//! Driving the mass-failure guard: probing what it wants to know, and releasing what it held.

use super::Prober;
use crate::model::service::CheckId;
use crate::model::time::Now;
use crate::prober::guard::Release;

impl Prober {
    /// Probes the guard's canaries, and releases the falls that it no longer holds.
    pub(super) fn drive_guard(&mut self, now: Now) {
        self.probe_canaries();
        if let Some((before, state)) = self.guard.judge_if_due(now.steady) {
            self.probe_canaries();
            for release in self.guard.release_batch(now.steady) {
                match release {
                    Release::Commit(id) => self.release(id, now),
                    // Where slots are short, one more probe would wait too long.
                    Release::Confirm(id) if self.scheduler.slots_are_short() => self.release(id, now),
                    Release::Probe(id) | Release::Confirm(id) => self.probe_for_guard(id),
                }
            }
            self.report.guard(before, state, self.guard.held());
        }
        self.guard.plan(now.steady);
    }

    fn probe_canaries(&mut self) {
        for id in self.guard.canaries() {
            self.probe_for_guard(id);
        }
    }

    fn probe_for_guard(&mut self, id: CheckId) {
        if let Some(tracked) = self.targets.get_mut(id) {
            let was_urgent = tracked.priority().urgent;
            tracked.guard_asked = true;
            self.scheduler.hasten(tracked, was_urgent, self.clock.now().steady);
        }
    }
}
