//! The services that a watch shows.

use std::sync::Arc;

use crate::api::access::{NamespaceFilter, Principal};
use crate::catalog::snapshot::Order;
use crate::catalog::{Entry, Snapshot};
use crate::model::name::{ServiceKey, ServiceName};

/// Those of its namespaces, or of one name in them.
#[derive(Debug, Clone)]
pub(in crate::api) struct WatchFilter {
    pub(in crate::api) namespaces: NamespaceFilter,
    pub(in crate::api) name: Option<ServiceName>,
}

impl WatchFilter {
    /// Whether it shows every service, so that nothing needs to be filtered.
    pub(super) fn is_everything(&self, principal: &Principal) -> bool {
        self.name.is_none() && self.namespaces == NamespaceFilter::All && principal.reads_all()
    }

    /// Whether it shows a service to this caller.
    pub(super) fn covers(&self, principal: &Principal, key: &ServiceKey) -> bool {
        let named = self.name.as_ref().is_none_or(|name| name.as_str() == key.name());
        named && self.namespaces.covers(principal, key.namespace())
    }

    /// The services of a snapshot that it may show, newest registration first, from just after `after`. A name is looked up: a thousand
    /// watches of one service each may begin at once.
    pub(super) fn candidates<'a>(
        &'a self,
        snapshot: &'a Snapshot,
        after: Option<Order>,
    ) -> Box<dyn Iterator<Item = &'a Arc<Entry>> + 'a> {
        let Some(name) = &self.name else { return Box::new(snapshot.newest_first(after)) };
        let order = |entry: &Arc<Entry>| (entry.service().registered_at, entry.service().id);
        let mut found: Vec<_> = match &self.namespaces {
            NamespaceFilter::One(namespace) => snapshot.find(namespace.as_str(), name.as_str()).into_iter().collect(),
            NamespaceFilter::All => {
                let namespaces = snapshot.namespaces_of(name.as_str());
                namespaces.filter_map(|namespace| snapshot.find(namespace, name.as_str())).collect()
            }
        };
        found.retain(|entry| after.is_none_or(|after| order(entry) < after));
        found.sort_unstable_by_key(|entry| std::cmp::Reverse(order(entry)));
        Box::new(found.into_iter())
    }
}
