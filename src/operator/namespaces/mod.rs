//! Policies of namespaces, and which namespaces are watched at all.
//!
//! In: NamespacePolicy objects and the labels of namespaces. Out: a [`Policies`] handle that says what applies to a namespace, for the
//! prober, the API, the ingest and the registrar. Pure: whoever watches passes the news.
//!
//! Nothing is assumed before both lists are complete: until then no namespace's ruling is known, so nothing is probed and nothing
//! registered. A watch that is lost changes nothing: what was known stays in force.
//!
//! 1. This file: the handle. [`read`]: a policy from its object. [`table`]: what follows from policies and labels for each namespace.

mod read;
mod table;

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::model::label_selector::LabelSelector;
use crate::model::namespace_policy::{NamespacePolicies, Ruling};
pub(in crate::operator) use read::{KnownPolicy, Lenient};
pub(in crate::operator) use table::{KnownNamespace, Table, View};

/// What an administrator switches on besides the base, for messages about missing rights.
pub(in crate::operator) const COMPONENT: &str = "deploy/components/policy";

/// Which of it is switched on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicySettings {
    /// `PORTOLAN_POLICIES`.
    pub policies: bool,
    /// `PORTOLAN_WATCH_SELECTOR`.
    pub selector: Option<LabelSelector>,
}

impl PolicySettings {
    /// Whether the labels of namespaces matter.
    pub fn is_on(&self) -> bool {
        self.policies || self.selector.is_some()
    }
}

/// What applies to namespaces now; cloning shares it.
#[derive(Debug, Clone)]
pub struct Policies(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: PolicySettings,
    view: ArcSwap<View>,
    version: watch::Sender<u64>,
    /// Why the lists are not complete.
    problem: ArcSwap<Option<String>>,
}

impl Policies {
    /// Nothing is known yet, except where nothing is switched on.
    pub fn new(settings: PolicySettings) -> Self {
        let view = ArcSwap::from_pointee(View::unknown(&settings));
        Self(Arc::new(Shared { settings, view, version: watch::Sender::new(1), problem: ArcSwap::default() }))
    }

    /// For an install without policies that watches every namespace.
    pub fn off() -> Self {
        Self::new(PolicySettings::default())
    }

    /// What is switched on.
    pub fn settings(&self) -> &PolicySettings {
        &self.0.settings
    }

    /// Whether everything that is switched on was listed.
    pub fn is_known(&self) -> bool {
        self.view().is_known()
    }

    /// Whether services of the namespace are watched, as far as its labels say.
    pub fn watches(&self, namespace: &str) -> bool {
        self.view().watches(namespace)
    }

    /// Why something that is switched on cannot be listed; none if it can.
    pub fn problem(&self) -> Option<String> {
        self.0.problem.load().as_ref().clone()
    }

    pub(in crate::operator) fn view(&self) -> Arc<View> {
        self.0.view.load_full()
    }

    /// Resolves each time when something may apply that did not.
    pub(in crate::operator) fn changes(&self) -> watch::Receiver<u64> {
        self.0.version.subscribe()
    }

    pub(in crate::operator) fn set(&self, view: View) {
        if *self.view() != view {
            self.0.view.store(Arc::new(view));
            self.0.version.send_modify(|version| *version += 1);
        }
    }

    pub(in crate::operator) fn set_problem(&self, problem: Option<String>) {
        self.0.problem.store(Arc::new(problem));
    }
}

impl NamespacePolicies for Policies {
    fn of(&self, namespace: &str) -> Ruling {
        self.0.view.load().of(namespace)
    }

    fn version(&self) -> u64 {
        *self.0.version.borrow()
    }
}
