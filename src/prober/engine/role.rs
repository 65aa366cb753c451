//! Taking over and stepping down: only one of several replicas probes.

use super::Prober;
use crate::catalog::Feed;
use crate::model::ports::OnDemandError;
use crate::prober::guard::GuardState;
use crate::prober::schedule::DueQueue;

impl Prober {
    /// Follows the leadership. Returns the feed to go on with where that changes.
    pub(super) fn sync_role(&mut self) -> Option<Feed> {
        match (self.probing, self.leadership.probes()) {
            (true, false) => {
                tracing::info!(probed = self.targets.len(), "another replica probes from now on");
                self.step_down();
                None
            }
            (false, true) => {
                tracing::info!("this replica probes from now on");
                self.probing = true;
                Some(self.resubscribe())
            }
            _ => None,
        }
    }

    /// Drops everything that is probed, requested or on its way to the store. The next leader starts from the published health.
    pub(super) fn step_down(&mut self) {
        self.probing = false;
        self.report.flush_log();
        self.tickets.fail_all(&OnDemandError::Unavailable);
        self.probes.cancel();
        self.persistence.clear();
        let before = self.guard.reset();
        self.report.guard(before, GuardState::Clear, self.guard.held());
        self.targets.clear();
        self.report.no_certificates();
        self.leases.set_open(false);
        self.expiries = DueQueue::default();
        self.departures.clear();
        self.scheduler.clear();
        for entry in self.catalog.snapshot().newest_first(None) {
            entry.last_check().clear();
        }
    }
}
