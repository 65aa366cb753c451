//! Registrations that end by themselves: which instances begin to fail, recover, or have failed for long enough.

use std::sync::Arc;
use std::time::Duration;

use super::Prober;
use crate::catalog::Entry;
use crate::model::lease::{Decision, Ends, Situation, Terms, decide, terms};
use crate::model::outcome::Health;
use crate::model::ports::RemovalReason;
use crate::model::service::{Instance, InstanceId};
use crate::model::time::UnixMs;
use crate::prober::departures::{Departure, RETRY};
use crate::prober::leases::Lease;
use crate::prober::targets::{Checks, Tracked};

/// Instances decided about in one tick at most.
const MAX_DECIDED: usize = 128;

impl Prober {
    /// Notes that an instance fails, or no longer, as its terms see it. Called whenever that may have changed.
    pub(super) fn sync_departure(&mut self, id: InstanceId) {
        let Some(checks) = self.targets.checks(id) else { return self.departures.end(id) };
        let may_fail = checks.health().0 == Health::Unhealthy || checks.iter().any(|tracked| tracked.lapsed);
        if !may_fail {
            return self.departures.end(id);
        }
        let terms = self.listed(checks).and_then(|(entry, at)| self.terms_of(&entry, at));
        match terms.filter(|terms| fails(checks, terms)) {
            Some(terms) => {
                let before = Duration::from_secs(failed_before(checks, &terms).into());
                let since = self.lease_now().minus(before);
                self.departures.begin(id, since, terms.after);
            }
            None => self.departures.end(id),
        }
    }

    /// The instance as it is listed: its service, and its position there.
    fn listed(&self, checks: &Checks) -> Option<(Arc<Entry>, usize)> {
        let entry = self.catalog.read().get(checks.first().key.as_str()).cloned()?;
        let at = entry.service().instances.iter().position(|instance| instance.id == checks.id())?;
        Some((entry, at))
    }

    fn terms_of(&self, entry: &Entry, at: usize) -> Option<Terms> {
        let service = entry.service();
        terms(service.source, &service.instances.get(at)?.spec, self.settings.deregister_after)
    }

    /// Decides about those whose time has come.
    pub(super) fn let_go(&mut self) {
        let now = self.lease_now();
        for _ in 0..MAX_DECIDED {
            let Some(id) = self.departures.pop_due(now) else { return };
            self.decide_about(id, now);
        }
    }

    fn decide_about(&mut self, id: InstanceId, now: UnixMs) {
        let listed = self.targets.checks(id).and_then(|checks| Some((checks, self.listed(checks)?)));
        let Some((checks, (entry, at))) = listed else { return self.departures.end(id) };
        let Some(terms) = self.terms_of(&entry, at) else { return self.departures.end(id) };
        // Read once: what is heard from now on must change it for the remover.
        let lease = checks.iter().find_map(Tracked::lease).map(|lease| (Arc::clone(lease), lease.heard()));
        let span = self.departures.since(id).filter(|_| fails(checks, &terms)).map(|since| now.since(since));
        let situation = Situation {
            lasted: span,
            silent: lease.as_ref().map_or(Duration::ZERO, |(_, heard)| now.since(*heard)),
            ttl: lease.as_ref().map_or(Duration::ZERO, |(lease, _)| lease.ttl),
            last: entry.service().instances.len() == 1,
        };
        match decide(&terms, &situation) {
            Decision::Stay => self.departures.end(id),
            Decision::Wait(left) => self.departures.postpone(id, now.plus(left)),
            Decision::Last => self.departures.postpone(id, now.plus(RETRY)),
            Decision::Remove(_) if !self.leadership.leads() => self.departures.postpone(id, now.plus(RETRY)),
            Decision::Remove(why) => {
                let Some(instance) = entry.service().instances.get(at) else { return };
                let departure = departure(&entry, instance, &terms, why, lease);
                self.departures.offer(departure, now);
            }
        }
    }
}

fn departure(
    entry: &Entry,
    instance: &Instance,
    terms: &Terms,
    why: RemovalReason,
    lease: Option<(Arc<Lease>, UnixMs)>,
) -> Departure {
    Departure {
        key: entry.service().key.clone(),
        service: entry.service().id,
        id: instance.id,
        instance: instance.name.clone(),
        generation: instance.generation,
        ends: terms.ends,
        asked: terms.asked,
        why,
        lease,
    }
}

/// Whether what ends the registration lasts.
fn fails(checks: &Checks, terms: &Terms) -> bool {
    match terms.ends {
        Ends::Failure => checks.health().0 == Health::Unhealthy,
        Ends::Silence => checks.iter().any(|tracked| tracked.lapsed),
    }
}

/// For how long it had lasted when this process began, in seconds.
fn failed_before(checks: &Checks, terms: &Terms) -> u32 {
    match terms.ends {
        Ends::Silence => checks.iter().find(|tracked| tracked.lapsed).map_or(0, |tracked| tracked.failed_before_s),
        Ends::Failure => {
            let failing = checks.iter().filter(|t| !t.advisory && t.state.health() == Health::Unhealthy);
            failing.map(|tracked| tracked.failed_before_s).max().unwrap_or(0)
        }
    }
}
