//! The components that a replica in a cluster has besides the local ones.

use std::time::Duration;

use crate::app::component_status::{ComponentStatus, LocalStatus, StatusSource};
use crate::model::ports::{Freshness, Leadership, Role};
use crate::operator::annotated::KindStates;
use crate::operator::ingest::Ingest;
use crate::operator::ingest::mirror_age::MirrorAge;
use crate::operator::kubernetes::health::ApiHealth;
use crate::operator::namespaces::Policies;
use crate::operator::replicas::installs::Installs;
use crate::operator::replicas::lease::{Elector, Holder};
use crate::store::Store;
use crate::telemetry::server_events::Component;

/// Ready once there is a complete mirror, from the file or from a finished list, however old it is.
pub(super) struct ClusterStatus {
    pub(super) local: LocalStatus,
    pub(super) store: Store,
    pub(super) elector: Elector,
    pub(super) ingest: Ingest,
    pub(super) api_health: ApiHealth,
    pub(super) installs: Installs,
    pub(super) policies: Policies,
    /// None if no kind is switched on.
    pub(super) annotated: Option<KindStates>,
    pub(super) age: MirrorAge,
}

impl ClusterStatus {
    fn leader(&self) -> ComponentStatus {
        let own_identity = || self.elector.identity().to_owned();
        match (self.elector.role(), self.elector.holder()) {
            (Role::Leads, _) => {
                ComponentStatus::good("this replica leads: it probes and writes status").with(own_identity())
            }
            (Role::Alone, _) => ComponentStatus::bad(
                "this replica could not renew the Lease: until it holds it again, it writes nothing and probes for its own readers",
            )
            .with(own_identity()),
            // The identity comes from the Lease, which others can write, so the sentence does not contain it.
            (Role::Follows, Some(holder)) => ComponentStatus::good("another replica leads and probes")
                .about(&holder.identity)
                .with(identity_and_address(&holder)),
            (Role::Follows, None) => ComponentStatus::bad("no replica is known to lead").usual(),
        }
    }

    fn mirror(&self) -> ComponentStatus {
        let listed = self.ingest.is_complete();
        mirror(listed, self.store.is_complete(), self.age.stale_for(), self.api_health.watch_error().as_deref())
    }

    fn installs(&self) -> ComponentStatus {
        let others = self.installs.other_installs();
        if others.objects == 0 {
            return ComponentStatus::good("no other install writes the status of these services")
                .usual()
                .with(self.installs.own().to_owned());
        }
        let detail =
            format!("{} of {}; this one is {}", others.objects, others.installs.join(", "), self.installs.own());
        ComponentStatus::bad("another install writes the status of some services: the watched namespaces overlap")
            .with(detail)
    }
}

/// None where the labels of namespaces do not matter.
fn policies(policies: &Policies) -> Option<ComponentStatus> {
    if !policies.settings().is_on() {
        return None;
    }
    let status = match (policies.is_known(), policies.problem()) {
        (true, None) => ComponentStatus::good("the policies and labels of namespaces are known").usual(),
        (true, Some(why)) => {
            ComponentStatus::bad("the policies and labels of namespaces stay as they were last known").with(why)
        }
        (false, why) => ComponentStatus::bad(
            "the policies and labels of namespaces are not known yet: nothing is probed or registered",
        )
        .with(why),
    };
    Some(status)
}

/// The objects of other projects that health is written into.
fn annotated(states: &KindStates) -> ComponentStatus {
    let problems: Vec<String> = states.all().into_iter().filter_map(|(kind, state)| state.problem(kind)).collect();
    if problems.is_empty() {
        return ComponentStatus::good("health is written into annotated objects of other projects").usual();
    }
    ComponentStatus::bad("health cannot be written into some annotated objects of other projects")
        .with(problems.join("; "))
}

/// `listed`: every list of this run is complete. `complete`: the store holds all services, perhaps from an earlier run.
fn mirror(listed: bool, complete: bool, stale_for: Option<Duration>, watch_error: Option<&String>) -> ComponentStatus {
    let status = match (listed, stale_for) {
        (false, _) if !complete => ComponentStatus::not_ready("the first list of services is not complete yet").usual(),
        (false, _) => ComponentStatus::bad(
            "serving from the file of an earlier run until the cluster's services are listed again",
        ),
        (true, Some(_)) => ComponentStatus::bad("no news from the Kubernetes API: what is served may be out of date"),
        (true, None) => return ComponentStatus::good("up to date with the cluster"),
    };
    let age = stale_for.map(|age| format!("silent for {} s; writes are refused", age.as_secs().max(1)));
    let detail: Vec<String> = age.into_iter().chain(watch_error.cloned()).collect();
    status.with(Some(detail.join("; ")).filter(|detail| !detail.is_empty()))
}

fn identity_and_address(holder: &Holder) -> String {
    match holder.address {
        Some(address) => format!("{} at {address}", holder.identity),
        None => format!("{}, address unknown", holder.identity),
    }
}

impl StatusSource for ClusterStatus {
    fn statuses(&self) -> Vec<(Component, ComponentStatus)> {
        let mut statuses = self.local.statuses();
        statuses.extend([
            (Component::Leader, self.leader()),
            (Component::Mirror, self.mirror()),
            (Component::Installs, self.installs()),
        ]);
        statuses.extend(policies(&self.policies).map(|status| (Component::Policies, status)));
        statuses.extend(self.annotated.as_ref().map(|states| (Component::Annotated, annotated(states))));
        statuses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_says_how_old_it_may_be() {
        let shown = |stale_for| mirror(true, true, stale_for, None).in_full();
        assert_eq!(shown(None), "up to date with the cluster");
        for (millis, line) in [(300, "silent for 1 s"), (31_999, "silent for 31 s")] {
            let shown = shown(Some(Duration::from_millis(millis)));
            assert!(shown.contains(line), "{shown}");
        }
        let error = "forbidden".to_owned();
        let shown = mirror(true, true, Some(Duration::from_secs(7)), Some(&error)).in_full();
        assert!(shown.ends_with("(silent for 7 s; writes are refused; forbidden)"), "{shown}");
        assert!(mirror(false, true, None, None).is_ready() && !mirror(false, false, None, None).is_ready());
    }
}
