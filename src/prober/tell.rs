//! Telling what is known, to those who look.

use super::engine::Prober;
use super::on_demand::Question;
use super::track::Tracked;
use crate::model::ports::{InstanceProbing, OnDemandError};
use crate::model::time::{Now, UnixMs};

const GUARDED: &str = "the mass-failure guard keeps its fall back: most of what is probed seems lost at once";

impl Prober {
    /// Answers a question.
    pub(super) fn tell_probing(&self, question: Question) {
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
        let guarded = || self.guard.keeps_back(tracked.id).then_some(GUARDED);
        InstanceProbing {
            instance: tracked.name.clone(),
            streak: tracked.state.progress(&tracked.timing),
            next_due: UnixMs(tracked.due.0.saturating_sub(now.steady.0).saturating_add(now.wall.0)),
            held: tracked.state.hold_reason().or_else(guarded),
            last: tracked.last.as_deref().cloned(),
            last_pass: tracked.last_pass.as_deref().cloned(),
            last_fail: tracked.last_fail.as_deref().cloned(),
            samples: tracked.samples(),
        }
    }
}
