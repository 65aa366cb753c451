//! The policies of namespaces, where they change while checks are tracked: how often those probe, and how many outcomes count.
//!
//! Which addresses a policy admits is asked at each probe, so nothing has to be updated for that.

use super::Prober;
use crate::prober::leases::lease_timing;

impl Prober {
    /// Gives the checks the numbers that the policies ask for now. Their health and streaks stay.
    pub(super) fn sync_policies(&mut self) {
        let version = self.settings.policies.version();
        if version == self.policies || !self.probing {
            return;
        }
        self.policies = version;
        let now = self.clock.now().steady;
        let snapshot = self.catalog.read();
        for entry in snapshot.newest_first(None) {
            let service = entry.service();
            let ruling = self.settings.policies.of(service.key.namespace());
            for instance in &service.instances {
                let checks = self.targets.checks_mut(instance.id);
                let Some(checks) = checks.filter(|checks| checks.first().generation == instance.generation) else {
                    continue;
                };
                for tracked in checks.iter_mut() {
                    let any = instance.spec.all_checks().nth(tracked.id.position.into());
                    let Some(given) = any.map(|any| any.check.timing) else { continue };
                    let timing = ruling.timing(&given, self.settings.default_interval);
                    let timing = tracked.lease().map_or(timing, |lease| lease_timing(lease.ttl, timing));
                    if tracked.retime(&service.id, timing, now) {
                        self.scheduler.retimed(tracked, now);
                    }
                }
            }
        }
    }
}
