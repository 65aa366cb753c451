//! The components that a replica in a cluster has besides the local ones.

use crate::app::component_status::{ComponentStatus, LocalStatus, StatusSource};
use crate::model::ports::{Freshness, Leadership, Role};
use crate::operator::ingest::Ingest;
use crate::operator::ingest::mirror_age::MirrorAge;
use crate::operator::kubernetes::health::ApiHealth;
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
        let status = match (self.ingest.is_complete(), self.age.stale_for()) {
            (false, _) if !self.store.is_complete() => {
                ComponentStatus::not_ready("the first list of services is not complete yet").usual()
            }
            (false, _) => ComponentStatus::bad(
                "serving from the file of an earlier run until the cluster's services are listed again",
            ),
            (true, Some(_)) => {
                ComponentStatus::bad("no news from the Kubernetes API: what is served may be out of date")
            }
            (true, None) => return ComponentStatus::good("up to date with the cluster"),
        };
        status.with(self.api_health.watch_error().map(|why| why.to_string()))
    }

    fn installs(&self) -> ComponentStatus {
        let elsewhere = self.installs.elsewhere();
        if elsewhere.objects == 0 {
            return ComponentStatus::good("no other install writes the status of these services")
                .usual()
                .with(self.installs.own().to_owned());
        }
        let detail =
            format!("{} of {}; this one is {}", elsewhere.objects, elsewhere.installs.join(", "), self.installs.own());
        ComponentStatus::bad("another install writes the status of some services: the watched namespaces overlap")
            .with(detail)
    }
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
        statuses
    }
}
