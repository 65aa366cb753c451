//! Applies changed namespace policies to the checks that are tracked: their intervals, timeouts and thresholds.
//!
//! Which addresses a policy admits is asked at each probe. A check whose last outcome says otherwise is probed soon, however long its interval.

use super::Prober;
use crate::model::namespace_policy::Ruling;
use crate::model::outcome::Reason;
use crate::model::url::Host;
use crate::prober::leases::lease_timing;
use crate::prober::schedule::spread;
use crate::prober::targets::Tracked;

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
        let mut storm = Vec::new();
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
                    if contradicts(tracked, &ruling) {
                        storm.push(tracked.id);
                    }
                }
            }
        }
        for (position, id) in storm.iter().enumerate() {
            if let Some(tracked) = self.targets.get_mut(*id) {
                tracked.due = tracked.due.min(now.plus(spread(position, storm.len())));
                self.scheduler.schedule(tracked);
            }
        }
    }
}

/// Whether the last outcome of a check that waits for its next probe says the opposite of what the policies say of its address.
fn contradicts(tracked: &Tracked, ruling: &Ruling) -> bool {
    let (true, Some(target), Some(last)) = (tracked.is_idle(), tracked.target(), &tracked.last) else { return false };
    let literal = || if let Host::Ip(ip) = target.host() { Some(*ip) } else { None };
    let address = last.address.map(|address| address.ip()).or_else(literal);
    let admitted = address.is_none_or(|address| ruling.admit(address).is_ok());
    admitted == (last.reason == Reason::AddressDenied)
}
