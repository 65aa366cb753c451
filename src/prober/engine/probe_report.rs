//! Answers to queries about probing: what is known of each instance of a service.

use super::Prober;
use crate::model::health::FLAP_HOLD;
use crate::model::ports::{InstanceProbing, OnDemandError};
use crate::model::time::{Now, UnixMs};
use crate::prober::on_demand::ProbingQuery;
use crate::prober::targets::Tracked;

const GUARD_HOLD: &str = "the mass-failure guard holds its change to unhealthy: most targets seem lost at once";

impl Prober {
    pub(super) fn answer_query(&self, query: ProbingQuery) {
        let answer = if self.probing {
            Ok(query.services.iter().filter_map(|id| Some((*id, self.service_probing(id)?))).collect())
        } else {
            Err(OnDemandError::Unavailable)
        };
        // The caller may be gone.
        drop(query.reply.send(answer));
    }

    fn service_probing(&self, service: &uuid::Uuid) -> Option<Vec<InstanceProbing>> {
        let entry = self.catalog.read().by_id(service).cloned()?;
        let now = self.clock.now();
        let tracked = entry.service().instances.iter().filter_map(|instance| self.targets.get(instance.id));
        Some(tracked.map(|tracked| self.instance_probing(tracked, now)).collect())
    }

    fn instance_probing(&self, tracked: &Tracked, now: Now) -> InstanceProbing {
        let held = if tracked.state.held() {
            Some(FLAP_HOLD)
        } else {
            self.guard.keeps_back(tracked.id).then_some(GUARD_HOLD)
        };
        InstanceProbing {
            instance: tracked.name.clone(),
            streak: tracked.state.progress(&tracked.timing),
            next_due: UnixMs(tracked.due.0.saturating_sub(now.steady.0).saturating_add(now.wall.0)),
            held,
            last: tracked.last.as_deref().cloned(),
            last_pass: tracked.last_pass.as_deref().cloned(),
            last_fail: tracked.last_fail.as_deref().cloned(),
            samples: tracked.samples(),
        }
    }
}
