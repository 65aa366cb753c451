//! Following the catalog: which instances there are, and which of them changed.

use std::collections::HashSet;
use std::sync::Arc;

use uuid::Uuid;

use super::Prober;
use crate::catalog::{Batch, Entry, Feed};
use crate::model::check::{AnyCheck, Plan, Words};
use crate::model::outcome::Health;
use crate::model::service::{CheckId, Instance, InstanceId, Service};
use crate::model::time::Now;
use crate::prober::leases::{Lease, lease_timing};
use crate::prober::schedule::spread;
use crate::prober::targets::{Checks, Planned, Tracked, Work, restore};

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
        self.leases.set_open(true);
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

    fn follow_service(&mut self, entry: &Entry, now: Now, storm: &mut Vec<CheckId>) {
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
    fn follow_instance(&mut self, entry: &Entry, instance: &Instance, now: Now, storm: &mut Vec<CheckId>) -> bool {
        if self.is_known(entry, instance) {
            return true;
        }
        let planned = self.plan(entry.service(), instance);
        let rows = self.targets.take_rows(instance.id, instance.generation);
        let mut all: Vec<_> =
            planned.into_iter().map(|planned| Tracked::new(entry.service(), instance, planned, now)).collect();
        restore(&mut all, rows, instance, now);
        for tracked in &mut all {
            tracked.last_check = entry.last_check().clone();
        }
        self.hand_over_waiters(instance.id, &mut all);
        self.forget(instance.id);
        let Some(checks) = Checks::new(all, instance) else { return false };
        let checks = self.targets.insert(checks);
        for tracked in checks.iter_mut() {
            if let Some(lease) = tracked.lease().cloned() {
                tracked.due = lease.expires();
                self.expiries.push(tracked.due, tracked.id);
                self.leases.insert(tracked.name.clone(), lease, tracked.last_check.clone());
                continue;
            }
            self.scheduler.update_need(tracked);
            if tracked.due > now.steady {
                self.scheduler.schedule(tracked);
            } else {
                // It waits for us from now on.
                tracked.due = now.steady;
                storm.push(tracked.id);
            }
            self.scheduler.watch_silence(tracked, now.steady);
        }
        if instance.health == Health::Unhealthy {
            self.sync_departure(instance.id);
        }
        true
    }

    /// Whether the instance is tracked in this generation already. Takes over what may change within one.
    fn is_known(&mut self, entry: &Entry, instance: &Instance) -> bool {
        let default_interval = self.settings.default_interval;
        let Some(checks) = self.targets.checks_mut(instance.id) else { return false };
        if checks.first().generation < instance.generation {
            return false;
        }
        checks.take_given(instance);
        for tracked in checks.iter_mut() {
            tracked.last_check = entry.last_check().clone();
            if tracked.target().is_some_and(|target| target.has_demands()) {
                // What they demand may contain the registered version.
                let any = instance.spec.all_checks().nth(tracked.id.position.into());
                if let Some(Plan::Probe(target, _)) = any.map(|any| instance.spec.plan_of(&any, default_interval)) {
                    tracked.demand(target.resolved(words(entry.service(), instance)));
                }
            }
        }
        if instance.health == Health::Unhealthy || self.departures.has(instance.id) {
            // Its terms may have changed.
            self.sync_departure(instance.id);
        }
        true
    }

    /// The checks of an instance that are carried out.
    fn plan(&self, service: &Service, instance: &Instance) -> Vec<Planned> {
        let heard = self.lease_now();
        let ruling = self.settings.policies.of(service.key.namespace());
        let planned = |(position, any): (u8, AnyCheck<'_>)| {
            let id = CheckId { instance: instance.id, position };
            let timing = ruling.timing(&any.check.timing, self.settings.default_interval);
            let (work, timing) = match instance.spec.plan_of(&any, self.settings.default_interval) {
                Plan::Unchecked => return None,
                Plan::Probe(target, _) => (Work::Probe(Arc::new(target.resolved(words(service, instance)))), timing),
                Plan::Heartbeat { ttl, .. } => {
                    (Work::Lease(Arc::new(Lease::new(service.id, id, ttl, heard))), lease_timing(ttl, timing))
                }
            };
            Some(Planned { position, name: any.name.cloned(), advisory: any.advisory, work, timing })
        };
        (0..=u8::MAX).zip(instance.spec.all_checks()).filter_map(planned).collect()
    }

    /// The outcome of a new generation answers those who wait for the old one.
    fn hand_over_waiters(&mut self, id: InstanceId, to: &mut [Tracked]) {
        let Some(before) = self.targets.checks_mut(id) else { return };
        for tracked in to.iter_mut().filter(|tracked| tracked.target().is_some()) {
            if let Some(before) = before.get_mut(tracked.id.position) {
                tracked.waiters = std::mem::take(&mut before.waiters);
                tracked.only_observed = before.only_observed;
            }
        }
    }

    fn forget_service(&mut self, service: &Uuid) {
        for id in self.targets.remove_service(service) {
            self.forget(id);
        }
    }

    /// Stops checking an instance: its running probes are cancelled and not counted, and on-demand checks go on without it.
    fn forget(&mut self, id: InstanceId) {
        self.departures.end(id);
        let Some(checks) = self.targets.remove(id) else { return };
        self.report.certificate(id, None);
        for tracked in checks.into_all() {
            self.guard.forget(tracked.id, tracked.key.namespace());
            match tracked.lease() {
                Some(lease) => self.leases.remove(lease),
                None => self.scheduler.forget(&tracked),
            }
            for waiter in tracked.waiters {
                self.tickets.fill(waiter, None, 0);
            }
        }
    }
}

fn words<'a>(service: &'a Service, instance: &'a Instance) -> Words<'a> {
    Words {
        service: service.key.name(),
        instance: instance.name.as_str(),
        namespace: service.key.namespace(),
        version: &instance.spec.version,
    }
}
