//! Checks on demand: every instance of a service is probed now, ahead of the others.

use std::sync::Arc;

use super::Prober;
use crate::catalog::Entry;
use crate::model::ports::OnDemandError;
use crate::prober::on_demand::CheckNow;

impl Prober {
    /// Probes every instance of a service now; probes that run already are joined.
    pub(super) fn check_now(&mut self, request: CheckNow) {
        let found = self.catalog.read().by_id(&request.service).cloned();
        let result = match found {
            None => Err(OnDemandError::NotFound),
            Some(_) if !self.probing || !self.leadership.probes() => Err(OnDemandError::Unavailable),
            Some(_) if !self.tickets.has_room() => Err(self.requests.refuse()),
            Some(entry) => {
                // The feed may be a moment behind what the caller has seen.
                self.follow(std::slice::from_ref(&entry));
                self.within_budget(&entry).map(|()| entry)
            }
        };
        match result {
            Ok(entry) => self.open_ticket(request, &entry),
            // The caller may be gone.
            Err(error) => drop(request.reply.send(Err(error))),
        }
    }

    fn within_budget(&self, entry: &Entry) -> Result<(), OnDemandError> {
        let now = self.clock.now().steady;
        let tracked = entry.service().instances.iter().filter_map(|instance| self.targets.get(instance.id));
        let room = tracked.map(|tracked| self.scheduler.room_at(tracked, now)).max().unwrap_or(now);
        if room <= now {
            return Ok(());
        }
        let retry_after_seconds = u64::try_from(room.since(now).as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        Err(OnDemandError::OverBudget { retry_after_seconds })
    }

    fn open_ticket(&mut self, request: CheckNow, entry: &Arc<Entry>) {
        let instances = &entry.service().instances;
        let ticket = self.tickets.open(request.reply, instances.len());
        for (position, instance) in instances.iter().enumerate() {
            match self.targets.get_mut(instance.id) {
                Some(tracked) => {
                    let was_urgent = tracked.priority().urgent;
                    tracked.waiters.push((ticket, position));
                    self.scheduler.hasten(tracked, was_urgent, self.clock.now().steady);
                }
                None => self.tickets.fill_unchecked((ticket, position), &instance.name),
            }
        }
    }
}
