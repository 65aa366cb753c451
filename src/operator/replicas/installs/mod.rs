//! Which install writes an object's status. Two installs with overlapping namespaces would overwrite each other's status forever, so only
//! one of them writes each object's.
//!
//! In: the `install` in each status, of services and of policies, and the other installs' Leases. Out: whether this install may write an
//! object's status.
//!
//! An install is identified by its leader's Lease, `namespace/name`; its leader puts that into each status (`status.install`). A leader
//! writes where that is absent, its own, or that of an install that has ended: its Lease is deleted, or nobody has renewed it for a minute.
//! It leaves every other object alone, and reports that.
//!
//! 1. This file: the rule. [`task`]: watches the other installs.
//! 2. [`observations`]: whether an install has ended.

mod observations;
mod task;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use task::InstallsTask;

use crate::model::name::Namespace;
use crate::operator::crd::ServiceStatus;

/// Installs that a report names.
const NAMED_INSTALLS: usize = 3;

/// Decides who writes an object's status; cloning shares it.
#[derive(Debug, Clone)]
pub struct Installs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    own: String,
    /// Installs that have ended; their objects are free.
    over: ArcSwap<HashSet<String>>,
    other_installs: ArcSwap<OtherInstalls>,
    /// The other installs that the statuses of policies name.
    of_policies: ArcSwap<BTreeSet<String>>,
}

/// What belongs to other installs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OtherInstalls {
    /// Objects that this install watches and another one writes.
    pub objects: usize,
    /// The first of these installs, each by the `namespace/name` of its Lease.
    pub installs: Vec<String>,
}

impl Installs {
    /// For the install with its Lease in `namespace`.
    pub fn new(namespace: &Namespace) -> Self {
        let own = format!("{namespace}/{}", crate::operator::replicas::lease::NAME);
        Self(Arc::new(Shared {
            own,
            over: ArcSwap::default(),
            other_installs: ArcSwap::default(),
            of_policies: ArcSwap::default(),
        }))
    }

    /// This install's name in the status of each of its objects.
    pub fn own(&self) -> &str {
        &self.0.own
    }

    /// Whether this install may write the object that has `status`.
    pub fn may_write(&self, status: Option<&ServiceStatus>) -> bool {
        self.may_write_for(status.and_then(|status| status.install.as_deref()))
    }

    /// Whether this install may write an object whose status names `install`.
    pub fn may_write_for(&self, install: Option<&str>) -> bool {
        self.other_of(install).is_none_or(|other| self.0.over.load().contains(other))
    }

    /// Whether the status says that this install writes the object: no other one takes it for its own then.
    pub fn owns(&self, status: Option<&ServiceStatus>) -> bool {
        status.and_then(|status| status.install.as_deref()) == Some(self.own())
    }

    /// What belongs to other installs, as last counted.
    pub fn other_installs(&self) -> Arc<OtherInstalls> {
        self.0.other_installs.load_full()
    }

    /// Takes in which installs the statuses of all policies name, so that it is noticed when one of them has ended.
    pub fn name_in_policies<'a>(&self, installs: impl Iterator<Item = &'a str>) {
        let others = installs.filter_map(|install| self.other_of(Some(install))).map(str::to_owned).collect();
        if **self.0.of_policies.load() != others {
            self.0.of_policies.store(Arc::new(others));
        }
    }

    /// The other install that the status names.
    fn other<'a>(&self, status: Option<&'a ServiceStatus>) -> Option<&'a str> {
        self.other_of(status?.install.as_deref())
    }

    fn other_of<'a>(&self, install: Option<&'a str>) -> Option<&'a str> {
        let install = install?;
        (install != self.own() && lease_of(install).is_some()).then_some(install)
    }
}

/// Namespace and name of an install's Lease; none if the text has another form.
fn lease_of(install: &str) -> Option<(Namespace, &str)> {
    let (namespace, name) = install.split_once('/')?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let named = !name.is_empty() && name.len() <= 253 && name.chars().all(plain) && !name.starts_with('.');
    namespace.parse().ok().filter(|_| named).map(|namespace| (namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(install: Option<&str>) -> ServiceStatus {
        ServiceStatus { install: install.map(str::to_owned), ..ServiceStatus::default() }
    }

    #[test]
    fn an_install_writes_what_is_nobodys_and_its_own() {
        let installs = Installs::new(&"portolan".parse().expect("a namespace"));
        let may = |install| installs.may_write(Some(&status(install)));
        assert!(installs.may_write(None) && may(None) && may(Some("portolan/portolan")));
        assert!(!may(Some("other/portolan")), "it is another's");
        let owns = |install| installs.owns(Some(&status(install)));
        assert!(
            owns(Some("portolan/portolan")) && !owns(None) && !owns(Some("other/portolan")) && !installs.owns(None)
        );
        installs.0.over.store(Arc::new(HashSet::from(["other/portolan".to_owned()])));
        assert!(may(Some("other/portolan")), "that one has ended");
        assert!(!may(Some("third/portolan")));
    }

    #[test]
    fn a_text_that_names_no_lease_keeps_nobody_out() {
        let installs = Installs::new(&"portolan".parse().expect("a namespace"));
        for odd in ["", "portolan", "/portolan", "other/", "other/..", "other/a/b", "Other/portolan", "../x", "a/b?c"] {
            assert!(installs.may_write(Some(&status(Some(odd)))), "{odd}");
        }
    }
}
