//! What `/readyz` says of a replica.

use crate::api::{Part, PartState, Readiness};
use crate::app::readiness::LocalReadiness;
use crate::model::ports::{Leadership, Role};
use crate::operator::contact::Contact;
use crate::operator::lease::Elector;
use crate::store::Store;

/// Ready once there is a complete mirror, from the file or from a finished list, however old it is.
pub(super) struct ClusterReadiness {
    local: LocalReadiness,
    store: Store,
    elector: Elector,
    contact: Contact,
}

impl ClusterReadiness {
    pub(super) fn new(local: LocalReadiness, store: Store, elector: Elector, contact: Contact) -> Self {
        Self { local, store, elector, contact }
    }

    fn mirror(&self) -> Part {
        let trouble = self.contact.trouble();
        let state = match (self.store.is_complete(), trouble) {
            (true, None) => PartState::Ready("complete".to_owned()),
            (true, Some(why)) => PartState::Ready(format!("complete once, and not followed now: {why}")),
            (false, None) => PartState::NotReady("no list of the services has ended yet".to_owned()),
            (false, Some(why)) => PartState::NotReady(why.to_string()),
        };
        Part { name: "mirror", state }
    }

    fn leader(&self) -> Part {
        let me = self.elector.identity();
        let how = match (self.elector.role(), self.elector.holder()) {
            (Role::Leads, _) => format!("this replica, {me}"),
            (Role::Alone, _) => format!("none that {me} knows of; it probes for its own readers"),
            (Role::Follows, Some(holder)) => match holder.address {
                Some(address) => format!("{} at {address}", holder.identity),
                None => format!("{}, which does not say where it is", holder.identity),
            },
            (Role::Follows, None) => "not known yet".to_owned(),
        };
        Part { name: "leader", state: PartState::Ready(how) }
    }
}

impl Readiness for ClusterReadiness {
    fn parts(&self) -> Vec<Part> {
        let mut parts = self.local.parts();
        parts.extend([self.mirror(), self.leader()]);
        parts
    }
}
