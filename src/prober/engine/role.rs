//! Taking over and stepping down: only one of several replicas probes.

use tokio::task::JoinSet;

use crate::catalog::Feed;
use crate::model::ports::OnDemandError;
use crate::prober::engine::Prober;
use crate::prober::guard::Guard;
use crate::prober::limits::slots::Demand;
use crate::prober::persist::changes::Commits;
use crate::prober::persist::rows::Rows;
use crate::prober::schedule::due::Schedule;
use crate::prober::schedule::fair_queue::Ready;

impl Prober {
    /// Looks whether this process still probes, or does so from now on. The feed to go on with, where that changes.
    pub(crate) fn heed_role(&mut self) -> Option<Feed> {
        match (self.probing, self.leadership.probes()) {
            (true, false) => {
                tracing::info!(probed = self.tracked.len(), "another replica probes from now on");
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

    /// Lets everything go: what is probed, asked or on its way to the store. Who probes next begins from what readers see.
    pub(crate) fn step_down(&mut self) {
        self.probing = false;
        self.first_verdicts.say_rest();
        self.tickets.fail_all(&OnDemandError::Unavailable);
        // Dropped tasks are cut short; what the store has taken it drops, since it asks for the role too.
        (self.probes, self.writes) = (JoinSet::new(), JoinSet::new());
        (self.commits, self.rows) = (Commits::default(), Rows::default());
        let before = std::mem::replace(&mut self.guard, Guard::within(self.slots.all())).state();
        self.guard_at = None;
        self.say_guard(before, Guard::default().state());
        self.tracked.clear();
        self.services.clear();
        self.restored.clear();
        (self.schedule, self.silence, self.ready) = (Schedule::default(), Schedule::default(), Ready::default());
        (self.queued, self.delayed) = (0, 0);
        (self.demand, self.pressure) = (Demand::default(), Default::default());
        for entry in self.catalog.snapshot().newest_first(None) {
            entry.last_check().clear();
        }
    }
}
