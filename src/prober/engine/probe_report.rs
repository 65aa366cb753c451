//! Telling what is known, to those who look.

use crate::model::health::{STEADY_PASSES, Streak};
use crate::model::outcome::Health;
use crate::model::ports::{InstanceProbing, OnDemandError, StreakProgress};
use crate::model::time::{Now, UnixMs};
use crate::prober::engine::Prober;
use crate::prober::on_demand::Question;
use crate::prober::targets::tracked::Tracked;

const FLAPPING: &str = "it flaps: it stays unhealthy until it has passed for 60 s without a fail";
const GUARDED: &str = "the mass-failure guard keeps its fall back: most of what is probed seems lost at once";

impl Prober {
    /// Answers a question.
    pub(crate) fn tell_probing(&self, question: Question) {
        let answer = if self.probing {
            Ok(question.services.iter().filter_map(|id| Some((*id, self.probing_of(id)?))).collect())
        } else {
            Err(OnDemandError::Unavailable)
        };
        // Whoever asked may have gone.
        drop(question.reply.send(answer));
    }

    fn probing_of(&self, service: &uuid::Uuid) -> Option<Vec<InstanceProbing>> {
        let entry = self.catalog.read().by_id(service).cloned()?;
        let now = self.clock.now();
        let tracked = entry.service().instances.iter().filter_map(|i| self.tracked.get(&i.id));
        Some(tracked.map(|tracked| self.known(tracked, now)).collect())
    }

    fn known(&self, tracked: &Tracked, now: Now) -> InstanceProbing {
        let held =
            if tracked.state.held() { Some(FLAPPING) } else { self.guard.keeps_back(tracked.id).then_some(GUARDED) };
        InstanceProbing {
            instance: tracked.name.clone(),
            streak: streak(tracked),
            next_due: UnixMs(tracked.due.0.saturating_sub(now.steady.0).saturating_add(now.wall.0)),
            held,
            last: tracked.last.as_deref().cloned(),
            last_pass: tracked.last_pass.as_deref().cloned(),
            last_fail: tracked.last_fail.as_deref().cloned(),
            samples: tracked.samples(),
        }
    }
}

fn streak(tracked: &Tracked) -> StreakProgress {
    let passes = match (tracked.state.health(), tracked.state.held()) {
        // The first pass of all is enough.
        (Health::Unknown, _) => 1,
        (_, true) => STEADY_PASSES.max(tracked.timing.healthy_threshold),
        (_, false) => tracked.timing.healthy_threshold,
    };
    match tracked.state.streak() {
        Streak::None => StreakProgress { passing: tracked.state.health() != Health::Unhealthy, count: 0, of: passes },
        Streak::Pass(count) => StreakProgress { passing: true, count, of: passes },
        Streak::Fail(count) => StreakProgress { passing: false, count, of: tracked.timing.unhealthy_threshold },
    }
}
