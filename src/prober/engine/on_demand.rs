//! Checks on demand: every probed check of a service is made now, ahead of the others.

use std::sync::Arc;

use super::{Prober, reports};
use crate::catalog::Entry;
use crate::model::ports::{OnDemandError, OnDemandResult};
use crate::model::service::{CheckId, Instance, InstanceId};
use crate::prober::on_demand::{CheckNow, Weight};
use crate::prober::targets::Checks;

impl Prober {
    /// Probes the instances that are asked for now; probes that run already are joined.
    pub(super) fn check_now(&mut self, request: CheckNow) {
        let found = self.catalog.read().by_id(&request.service).cloned();
        let result = match found {
            None => Err(OnDemandError::NotFound),
            Some(entry) if !entry.service().instances.iter().any(|known| request.wants(known)) => {
                Err(OnDemandError::NotFound)
            }
            Some(_) if !self.probing || !self.leadership.probes() => Err(OnDemandError::Unavailable),
            Some(_) if !self.tickets.has_room() => Err(self.requests.refuse()),
            Some(entry) => {
                // The feed may be a moment behind what the caller has seen.
                self.follow(std::slice::from_ref(&entry));
                self.within_budget(&request, &entry).map(|()| entry)
            }
        };
        match result {
            Ok(entry) => self.open_ticket(request, &entry),
            // The caller may be gone.
            Err(error) => drop(request.reply.send(Err(error))),
        }
    }

    fn within_budget(&self, request: &CheckNow, entry: &Entry) -> Result<(), OnDemandError> {
        let now = self.clock.now().steady;
        let wanted = entry.service().instances.iter().filter(|known| request.wants(known));
        let checks = wanted.filter_map(|instance| self.targets.checks(instance.id));
        let probed = checks.flat_map(Checks::iter).filter(|tracked| tracked.target().is_some());
        let room = probed.map(|tracked| self.scheduler.room_at(tracked, now)).max().unwrap_or(now);
        if room <= now {
            return Ok(());
        }
        let retry_after_seconds = u64::try_from(room.since(now).as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        Err(OnDemandError::OverBudget { retry_after_seconds })
    }

    fn open_ticket(&mut self, request: CheckNow, entry: &Arc<Entry>) {
        let decides = request.decides;
        let instances: Vec<&Instance> = entry.service().instances.iter().filter(|known| request.wants(known)).collect();
        let probed: Vec<Vec<CheckId>> = instances.iter().map(|instance| self.probed(instance.id)).collect();
        let waiting = probed.iter().map(|checks| checks.len().max(1)).sum();
        let ticket = self.tickets.open(request.reply, instances.len(), waiting);
        let now = self.clock.now().steady;
        for (position, (instance, checks)) in instances.iter().zip(probed).enumerate() {
            if checks.is_empty() {
                let part = self.unprobed(instance);
                self.tickets.fill((ticket, position), Some((Weight::Unprobed, part)), 0);
            }
            for id in checks {
                let Some(tracked) = self.targets.get_mut(id) else { continue };
                let was_urgent = tracked.priority().urgent;
                tracked.only_observed = !decides && (tracked.waiters.is_empty() || tracked.only_observed);
                tracked.waiters.push((ticket, position));
                self.scheduler.hasten(tracked, was_urgent, now);
            }
        }
    }

    /// The checks of an instance that are probed.
    fn probed(&self, id: InstanceId) -> Vec<CheckId> {
        let checks = self.targets.checks(id).into_iter().flat_map(Checks::iter);
        checks.filter(|tracked| tracked.target().is_some()).map(|tracked| tracked.id).collect()
    }

    /// The answer for an instance that is not probed: what its lease shows, if it has one.
    fn unprobed(&self, instance: &Instance) -> OnDemandResult {
        let mut checks = self.targets.checks(instance.id).into_iter().flat_map(Checks::iter);
        let lease = checks.find(|tracked| tracked.lease().is_some());
        let outcome = lease.and_then(|tracked| reports::newest(tracked, self.lease_now(), self.clock.now()));
        OnDemandResult { instance: instance.name.clone(), outcome, held: false, checks: Vec::new() }
    }
}
