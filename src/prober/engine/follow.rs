//! Following the catalog: which instances there are, and which of them changed.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::Prober;
use crate::catalog::{Batch, Entry, Feed};
use crate::model::check::Plan;
use crate::model::service::{Instance, InstanceId};
use crate::model::time::Now;
use crate::prober::schedule::spread;
use crate::prober::targets::Tracked;

impl Prober {
    /// Makes what is tracked equal to the present snapshot, and returns the feed from there.
    pub(super) fn resubscribe(&mut self) -> Feed {
        let (snapshot, feed) = self.catalog.subscribe();
        if !self.probing {
            return feed;
        }
        let entries: Vec<_> = snapshot.newest_first(None).cloned().collect();
        let present: HashSet<Uuid> = entries.iter().map(|entry| entry.service().id).collect();
        for service in self.targets.services_other_than(&present) {
            self.forget_service(&service);
        }
        self.follow(&entries);
        self.targets.drop_rows();
        feed
    }

    /// Takes in one commit.
    pub(super) fn follow_batch(&mut self, batch: &Batch) {
        if !self.probing {
            return;
        }
        for (_, service) in &batch.removed {
            self.forget_service(service);
        }
        self.follow(&batch.upserts);
    }

    /// Takes in services that are new or changed; if many instances have to be probed at once, their probes are spread.
    pub(super) fn follow(&mut self, entries: &[Arc<Entry>]) {
        let now = self.clock.now();
        let mut storm = Vec::new();
        for entry in entries {
            self.follow_service(entry, now, &mut storm);
        }
        for (position, id) in storm.iter().enumerate() {
            if let Some(tracked) = self.targets.get_mut(*id) {
                tracked.due = now.steady.plus(spread(position, storm.len()));
                self.scheduler.schedule(tracked);
            }
        }
    }

    fn follow_service(&mut self, entry: &Entry, now: Now, storm: &mut Vec<InstanceId>) {
        let service = entry.service();
        if self.targets.is_ahead_of(service) {
            return;
        }
        let mut ids = Vec::with_capacity(service.instances.len());
        for instance in &service.instances {
            if self.follow_instance(entry, instance, now, storm) {
                ids.push(instance.id);
            }
        }
        for id in self.targets.set_instances(service, ids) {
            self.forget(id);
        }
    }

    /// Whether the instance is tracked from now on.
    fn follow_instance(&mut self, entry: &Entry, instance: &Instance, now: Now, storm: &mut Vec<InstanceId>) -> bool {
        if let Some(tracked) = self.targets.get_mut(instance.id)
            && tracked.generation >= instance.generation
        {
            tracked.last_check = entry.last_check().clone();
            return true;
        }
        let Plan::Probe(target, timing) = instance.spec.plan(self.settings.default_interval) else {
            self.forget(instance.id);
            return false;
        };
        let row = self.targets.take_row(instance.id, instance.generation);
        let mut tracked = Box::new(Tracked::new(entry.service(), instance, (target, timing), row, now));
        tracked.last_check = entry.last_check().clone();
        if let Some(before) = self.targets.get_mut(instance.id) {
            // The new generation's outcome answers them.
            tracked.waiters = std::mem::take(&mut before.waiters);
        }
        self.forget(instance.id);
        let tracked = self.targets.insert(tracked);
        self.scheduler.update_need(tracked);
        self.scheduler.watch_silence(tracked, self.clock.now().steady);
        if tracked.due > now.steady {
            self.scheduler.schedule(tracked);
        } else {
            storm.push(instance.id);
        }
        true
    }

    fn forget_service(&mut self, service: &Uuid) {
        for id in self.targets.remove_service(service) {
            self.forget(id);
        }
    }

    /// Stops probing an instance: its running probe is cancelled and not counted, and on-demand checks go on without it.
    fn forget(&mut self, id: InstanceId) {
        let Some(tracked) = self.targets.remove(id) else { return };
        self.guard.forget(id, tracked.key.namespace());
        self.scheduler.forget(&tracked);
        for waiter in tracked.waiters {
            self.tickets.fill(waiter, None, 0);
        }
    }
}
