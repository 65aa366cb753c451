//! Which services a watch is about.

use std::sync::Arc;

use crate::api::access::Principal;
use crate::api::scope::Reach;
use crate::catalog::snapshot::Order;
use crate::catalog::{Entry, Snapshot};
use crate::model::name::{ServiceKey, ServiceName};

/// Namespaces, and one name where only that is watched.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) reach: Reach,
    pub(super) name: Option<ServiceName>,
}

impl Wanted {
    /// Whether that is every service there is, so that nothing needs to be looked through.
    pub(super) fn is_everything(&self, who: &Principal) -> bool {
        self.name.is_none() && self.reach == Reach::All && who.reads_all()
    }

    /// Whether it covers a service, for this caller.
    pub(super) fn covers(&self, who: &Principal, key: &ServiceKey) -> bool {
        let named = self.name.as_ref().is_none_or(|name| name.as_str() == key.name());
        named && self.reach.covers(who, key.namespace())
    }

    /// The services of a snapshot that it may cover, newest registration first, from just after that one. A name is looked up: a
    /// thousand watches of one service each may begin at once.
    pub(super) fn among<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        after: Option<Order>,
    ) -> Box<dyn Iterator<Item = &'a Arc<Entry>> + 'a> {
        let Some(name) = &self.name else { return Box::new(snapshot.newest_first(after)) };
        let order = |entry: &Arc<Entry>| (entry.service().registered_at, entry.service().id);
        let mut found: Vec<_> = match &self.reach {
            Reach::One(namespace) => snapshot.find(namespace.as_str(), name.as_str()).into_iter().collect(),
            Reach::All => {
                let places = snapshot.namespaces_of(name.as_str());
                places.filter_map(|namespace| snapshot.find(namespace, name.as_str())).collect()
            }
        };
        found.retain(|entry| after.is_none_or(|after| order(entry) < after));
        found.sort_unstable_by_key(|entry| std::cmp::Reverse(order(entry)));
        Box::new(found.into_iter())
    }
}
