//! Answers to queries about probing: what is known of each instance of a service.

use super::{Prober, reports};
use crate::model::health::FLAP_HOLD;
use crate::model::outcome::Verdict;
use crate::model::ports::{InstanceProbing, OnDemandError};
use crate::model::time::{Now, UnixMs};
use crate::prober::on_demand::ProbingQuery;
use crate::prober::targets::{Checks, Tracked};

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
        let checks = entry.service().instances.iter().filter_map(|instance| self.targets.checks(instance.id));
        Some(checks.flat_map(Checks::iter).map(|tracked| self.instance_probing(tracked, now)).collect())
    }

    fn instance_probing(&self, tracked: &Tracked, now: Now) -> InstanceProbing {
        let held = if tracked.state.held() {
            Some(FLAP_HOLD)
        } else {
            self.guard.keeps_back(tracked.id).then_some(GUARD_HOLD)
        };
        let lease_now = self.lease_now();
        // Every time of a lease is read from the leases' clock.
        let (due, steady) = match tracked.lease() {
            Some(lease) => (lease.expires(), lease_now),
            None => (tracked.due, now.steady),
        };
        let (last, last_pass) = match reports::newest(tracked, lease_now, now) {
            Some(newest) if newest.verdict == Verdict::Pass => (Some(newest.clone()), Some(newest)),
            newest => (newest.or(tracked.last.as_deref().cloned()), tracked.last_pass.as_deref().cloned()),
        };
        InstanceProbing {
            instance: tracked.name.clone(),
            check: tracked.check_name(),
            advisory: tracked.advisory,
            health: tracked.state.health(),
            reason: tracked.state.reason(),
            since: tracked.state.since(),
            streak: tracked.state.progress(&tracked.timing),
            next_due: UnixMs(due.0.saturating_sub(steady.0).saturating_add(now.wall.0)),
            held,
            last,
            last_pass,
            last_fail: tracked.last_fail.as_deref().cloned(),
            samples: tracked.samples(),
        }
    }
}
