//! Following the catalog: which instances there are, and what of them changed.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use crate::catalog::{Batch, Entry, Feed};
use crate::model::check::Plan;
use crate::model::service::{Instance, InstanceId};
use crate::model::time::{Now, UnixMs};
use crate::prober::engine::Prober;
use crate::prober::schedule::due as schedule;
use crate::prober::targets::tracked::{Place, Tracked};

/// What of a service is probed.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// The service's sequence that was taken in last.
    sequence: u64,
    instances: Vec<InstanceId>,
}

impl Prober {
    /// Takes a snapshot, makes what is tracked the same, and continues from there.
    pub(crate) fn resubscribe(&mut self) -> Feed {
        let (snapshot, feed) = self.catalog.subscribe();
        if !self.probing {
            return feed;
        }
        let entries: Vec<_> = snapshot.newest_first(None).cloned().collect();
        let there: HashSet<Uuid> = entries.iter().map(|entry| entry.service().id).collect();
        let gone: Vec<Uuid> = self.services.keys().filter(|id| !there.contains(*id)).copied().collect();
        for service in gone {
            self.forget_service(&service);
        }
        self.follow(&entries);
        // Rows of instances that are no more.
        self.restored.clear();
        feed
    }

    /// Takes in one commit.
    pub(crate) fn follow_batch(&mut self, batch: &Batch) {
        if !self.probing {
            return;
        }
        for (_, service) in &batch.removed {
            self.forget_service(service);
        }
        self.follow(&batch.upserts);
    }

    /// Takes in services that are new or differ; whatever has to be probed at once is spread, if it is a storm.
    pub(crate) fn follow(&mut self, entries: &[Arc<Entry>]) {
        let now = self.clock.now();
        let mut storm = Vec::new();
        for entry in entries {
            self.follow_service(entry, now, &mut storm);
        }
        for (place, id) in storm.iter().enumerate() {
            let due = now.steady.plus(schedule::spread(place, storm.len()));
            self.set_due(*id, due);
        }
    }

    fn follow_service(&mut self, entry: &Entry, now: Now, storm: &mut Vec<InstanceId>) {
        let service = entry.service();
        if self.services.get(&service.id).is_some_and(|followed| followed.sequence > service.sequence) {
            // A request was ahead of the feed.
            return;
        }
        let mut ids = Vec::with_capacity(service.instances.len());
        for instance in &service.instances {
            if self.follow_instance(entry, instance, now, storm) {
                ids.push(instance.id);
            }
        }
        let before = self.services.remove(&service.id).unwrap_or_default();
        for id in before.instances.into_iter().filter(|id| !ids.contains(id)) {
            self.forget(id);
        }
        if !ids.is_empty() {
            self.services.insert(service.id, Followed { sequence: service.sequence, instances: ids });
        }
    }

    /// Whether the instance is tracked from now on.
    fn follow_instance(&mut self, entry: &Entry, instance: &Instance, now: Now, storm: &mut Vec<InstanceId>) -> bool {
        if let Some(tracked) = self.tracked.get_mut(&instance.id)
            && tracked.generation >= instance.generation
        {
            tracked.last_check = entry.last_check().clone();
            return true;
        }
        let Plan::Probe(target, timing) = instance.spec.plan(self.settings.default_interval) else {
            self.forget(instance.id);
            return false;
        };
        let waiters = self.take_waiters(instance.id);
        let row = self.restored.remove(&instance.id).filter(|row| row.generation == instance.generation);
        let mut tracked = Box::new(Tracked::new(entry.service(), instance, (target, timing), row, now));
        tracked.last_check = entry.last_check().clone();
        tracked.waiters = waiters;
        let due = tracked.due;
        self.forget(instance.id);
        tracked.counted = tracked.need();
        self.demand.replace(None, tracked.counted);
        self.tracked.insert(instance.id, tracked);
        self.watch_silence(instance.id);
        if due > now.steady {
            self.set_due(instance.id, due);
        } else {
            storm.push(instance.id);
        }
        true
    }

    fn forget_service(&mut self, service: &Uuid) {
        for id in self.services.remove(service).unwrap_or_default().instances {
            self.forget(id);
        }
    }

    /// Stops probing an instance; a probe under way is cut short and counts for nothing, and whoever waits for it goes without.
    pub(crate) fn forget(&mut self, id: InstanceId) {
        let Some(tracked) = self.tracked.remove(&id) else { return };
        self.guard.forget(id, tracked.key.namespace());
        self.demand.replace(tracked.counted, None);
        match tracked.place {
            Place::Idle => {}
            Place::Queued(_) => self.queued -= 1,
            Place::Delayed(..) => self.delayed -= 1,
            Place::Running(run) => run.task.abort(),
        }
        for waiter in tracked.waiters {
            self.tickets.fill(waiter, None, 0);
        }
    }

    fn take_waiters(&mut self, id: InstanceId) -> Vec<(u64, usize)> {
        self.tracked.get_mut(&id).map(|tracked| std::mem::take(&mut tracked.waiters)).unwrap_or_default()
    }

    /// Sets when an idle instance is probed next.
    pub(crate) fn set_due(&mut self, id: InstanceId, due: UnixMs) {
        if let Some(tracked) = self.tracked.get_mut(&id) {
            tracked.due = due;
            self.schedule.push(due, id);
        }
    }

    /// Looks at an instance again when it could have been silent for too long.
    pub(crate) fn watch_silence(&mut self, id: InstanceId) {
        let Some(tracked) = self.tracked.get_mut(&id).filter(|tracked| tracked.watched.is_none()) else { return };
        let at = tracked.unproven_at(self.clock.now().steady);
        if at < UnixMs(i64::MAX) {
            tracked.watched = Some(at);
            self.silence.push(at, id);
        }
    }
}
