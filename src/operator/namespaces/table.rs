//! What follows from the policies and the labels of namespaces. Pure.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::PolicySettings;
use super::read::KnownPolicy;
use crate::model::label_selector::Labels;
use crate::model::namespace_policy::{PolicyInForce, Ruling};
use crate::operator::kubernetes::follow::News;

/// What is kept of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::operator) struct KnownNamespace {
    pub(in crate::operator) name: String,
    pub(in crate::operator) labels: Labels,
}

/// What applies to each namespace, as one state that readers share.
#[derive(Debug, Clone)]
pub(in crate::operator) struct View {
    /// Whether everything was listed.
    known: bool,
    policies: bool,
    selects: bool,
    namespaces: imbl::HashMap<String, Applied>,
}

/// What applies to one namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Applied {
    policy: Option<Arc<PolicyInForce>>,
    watched: bool,
}

impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        self.known == other.known
            && self.namespaces.len() == other.namespaces.len()
            && self.differing(other).next().is_none()
    }
}

impl View {
    pub(in crate::operator) fn unknown(settings: &PolicySettings) -> Self {
        let (policies, selects) = (settings.policies, settings.selector.is_some());
        Self { known: !settings.is_on(), policies, selects, namespaces: imbl::HashMap::new() }
    }

    pub(in crate::operator) fn is_known(&self) -> bool {
        self.known
    }

    /// Whether anything is switched on.
    pub(in crate::operator) fn is_on(&self) -> bool {
        self.policies || self.selects
    }

    /// A namespace whose labels are not known yet is not watched.
    pub(in crate::operator) fn watches(&self, namespace: &str) -> bool {
        !self.selects || self.known && self.namespaces.get(namespace).is_some_and(|applied| applied.watched)
    }

    pub(in crate::operator) fn of(&self, namespace: &str) -> Ruling {
        if !self.policies {
            return Ruling::Free;
        }
        match self.namespaces.get(namespace).filter(|_| self.known) {
            None => Ruling::Unknown,
            Some(Applied { policy: None, .. }) => Ruling::Free,
            Some(Applied { policy: Some(policy), .. }) => Ruling::Policy(Arc::clone(policy)),
        }
    }

    /// The namespaces to which something else applies than in `before`.
    pub(in crate::operator) fn changed_since(&self, before: &Self) -> HashSet<String> {
        let names = self.differing(before).chain(before.differing(self));
        if self.known == before.known {
            names.cloned().collect()
        } else {
            self.namespaces.keys().chain(before.namespaces.keys()).cloned().collect()
        }
    }

    fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a String> {
        self.namespaces
            .iter()
            .filter(move |(name, applied)| other.namespaces.get(*name) != Some(*applied))
            .map(|(name, _)| name)
    }
}

/// The policies and namespaces that were listed and watched.
#[derive(Debug)]
pub(in crate::operator) struct Table {
    settings: PolicySettings,
    policies: Option<BTreeMap<Arc<str>, KnownPolicy>>,
    namespaces: Option<BTreeMap<String, Labels>>,
    view: View,
}

impl Table {
    pub(in crate::operator) fn new(settings: &PolicySettings) -> Self {
        // What is off needs no list.
        let policies = (!settings.policies).then(BTreeMap::new);
        Self { settings: settings.clone(), policies, namespaces: None, view: View::unknown(settings) }
    }

    pub(in crate::operator) fn view(&self) -> View {
        self.view.clone()
    }

    pub(in crate::operator) fn policies(&self) -> impl Iterator<Item = &KnownPolicy> {
        self.policies.iter().flat_map(BTreeMap::values)
    }

    /// A policy that was never readable: it may be about any namespace, so it is not known what applies to them.
    pub(in crate::operator) fn unclear(&self) -> Option<&KnownPolicy> {
        self.policies().find(|known| known.policy.is_none())
    }

    /// The namespaces that the policy selects.
    pub(in crate::operator) fn selected<'a>(&'a self, policy: &'a KnownPolicy) -> impl Iterator<Item = &'a str> {
        let namespaces = self.namespaces.iter().flatten();
        namespaces
            .filter(move |(_, labels)| policy.policy.as_ref().is_some_and(|policy| policy.selector.matches(labels)))
            .map(|(name, _)| name.as_str())
    }

    /// A policy that can no longer be read stays in force as it was read last, since it may be all that keeps tenants apart.
    pub(in crate::operator) fn on_policies(&mut self, news: News<KnownPolicy>) {
        match (news, &mut self.policies) {
            (News::Listed(_, all), policies) => {
                let mut before = policies.take().unwrap_or_default();
                let kept = |mut policy: KnownPolicy| {
                    policy.policy = policy.policy.or_else(|| before.remove(&policy.name)?.policy);
                    (Arc::clone(&policy.name), policy)
                };
                *policies = Some(all.into_iter().map(kept).collect());
            }
            (News::Put(policy), Some(policies)) => {
                let mut policy = *policy;
                policy.policy = policy.policy.or_else(|| policies.remove(&policy.name)?.policy);
                policies.insert(Arc::clone(&policy.name), policy);
            }
            (News::Removed(policy), Some(policies)) => drop(policies.remove(&policy.name)),
            (News::Put(_) | News::Removed(_), None) => {}
        }
        self.apply_all();
    }

    pub(in crate::operator) fn on_namespaces(&mut self, news: News<KnownNamespace>) {
        let changed = match (news, &mut self.namespaces) {
            (News::Listed(_, all), namespaces) => {
                *namespaces = Some(all.into_iter().map(|namespace| (namespace.name, namespace.labels)).collect());
                None
            }
            (News::Put(namespace), Some(namespaces)) => {
                let KnownNamespace { name, labels } = *namespace;
                namespaces.insert(name.clone(), labels);
                Some(name)
            }
            (News::Removed(namespace), Some(namespaces)) => {
                namespaces.remove(&namespace.name);
                Some(namespace.name)
            }
            (News::Put(_) | News::Removed(_), None) => return,
        };
        match changed {
            Some(name) => self.apply(&name),
            None => self.apply_all(),
        }
    }

    fn apply_all(&mut self) {
        self.view.known = self.policies.is_some() && self.namespaces.is_some();
        let gone = self.view.namespaces.keys().cloned();
        let names: HashSet<String> = gone.chain(self.namespaces.iter().flat_map(BTreeMap::keys).cloned()).collect();
        for name in &names {
            self.apply(name);
        }
    }

    fn apply(&mut self, namespace: &str) {
        let Some(labels) = self.namespaces.as_ref().and_then(|namespaces| namespaces.get(namespace)) else {
            self.view.namespaces.remove(namespace);
            return;
        };
        let policies = self.policies().filter_map(|known| known.policy.as_ref());
        let policy = PolicyInForce::combine(policies.filter(|policy| policy.selector.matches(labels)));
        let watched = self.settings.selector.as_ref().is_none_or(|selector| selector.matches(labels));
        let before = self.view.namespaces.get(namespace).and_then(|applied| applied.policy.clone());
        // Equal ones are shared, which makes comparing them cheap.
        let kept = before.filter(|before| Some(&**before) == policy.as_ref());
        let applied = Applied { policy: kept.or_else(|| policy.map(Arc::new)), watched };
        self.view.namespaces.insert(namespace.to_owned(), applied);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::operator::crd::NamespacePolicyStatus;

    fn policy(name: &str, spec: &Value) -> KnownPolicy {
        let object = json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "NamespacePolicy", "metadata": { "name": name }, "spec": spec,
        });
        KnownPolicy::of(serde_json::from_value(object).expect("an object"))
    }

    fn of_tenant(name: &str, tenant: &str) -> KnownPolicy {
        policy(name, &json!({ "namespaceSelector": { "matchLabels": { "tenant": tenant } } }))
    }

    fn namespace(name: &str, tenant: Option<&str>) -> KnownNamespace {
        let labels = tenant.map(|tenant| ("tenant".to_owned(), tenant.to_owned()));
        KnownNamespace { name: name.to_owned(), labels: labels.into_iter().collect() }
    }

    fn names(view: &View, namespace: &str) -> String {
        match view.of(namespace) {
            Ruling::Free => "free".to_owned(),
            Ruling::Unknown => "unknown".to_owned(),
            Ruling::Policy(policy) => policy.names().join(","),
        }
    }

    #[test]
    fn nothing_is_known_before_both_lists_are_complete() {
        let settings = PolicySettings { policies: true, selector: None };
        let mut table = Table::new(&settings);
        assert_eq!(names(&table.view(), "a"), "unknown");
        table.on_policies(News::Put(Box::new(of_tenant("early", "a"))));
        table.on_policies(News::Listed(None, vec![of_tenant("p", "a")]));
        assert_eq!(names(&table.view(), "a"), "unknown");
        table.on_namespaces(News::Listed(None, vec![namespace("a", Some("a")), namespace("b", None)]));
        let view = table.view();
        assert_eq!(
            ["a", "b", "new"].map(|namespace| names(&view, namespace)),
            ["p", "free", "unknown"],
            "what is not listed is not known"
        );
        assert!(view.watches("a") && view.watches("new"), "without a selector everything is watched");
    }

    #[test]
    fn labels_and_policies_come_change_and_go() {
        let settings = PolicySettings { policies: true, selector: "tenant".parse().ok() };
        let mut table = Table::new(&settings);
        table.on_policies(News::Listed(None, vec![of_tenant("p", "a"), of_tenant("q", "a")]));
        table.on_namespaces(News::Listed(None, vec![namespace("a", Some("a")), namespace("b", None)]));
        let first = table.view();
        assert_eq!((names(&first, "a"), names(&first, "b")), ("p,q".to_owned(), "free".to_owned()));
        assert!(first.watches("a") && !first.watches("b") && !first.watches("new"));
        table.on_namespaces(News::Put(Box::new(namespace("b", Some("a")))));
        let second = table.view();
        assert_eq!(second.changed_since(&first), HashSet::from(["b".to_owned()]));
        assert!(second.watches("b") && names(&second, "b") == "p,q");
        // A status that is written changes nothing.
        let echo = KnownPolicy { status: Some(NamespacePolicyStatus::default()), ..of_tenant("p", "a") };
        table.on_policies(News::Put(Box::new(echo)));
        assert_eq!(table.view(), second);
        table.on_policies(News::Removed(Box::new(of_tenant("q", "a"))));
        let third = table.view();
        assert_eq!(third.changed_since(&second).len(), 2);
        assert_eq!(names(&third, "a"), "p");
        table.on_namespaces(News::Removed(Box::new(namespace("a", None))));
        assert_eq!(table.view().changed_since(&third), HashSet::from(["a".to_owned()]));
        assert_eq!(names(&table.view(), "a"), "unknown");
    }

    #[test]
    fn a_policy_that_cannot_be_read_lifts_nothing() {
        let settings = PolicySettings { policies: true, selector: None };
        let unreadable = || policy("p", &json!({ "checks": 7 }));
        let mut table = Table::new(&settings);
        table.on_policies(News::Listed(None, vec![unreadable()]));
        table.on_namespaces(News::Listed(None, vec![namespace("a", Some("a"))]));
        assert_eq!(
            table.unclear().map(|unclear| &*unclear.name),
            Some("p"),
            "nobody knows which namespaces it selects"
        );
        table.on_policies(News::Put(Box::new(of_tenant("p", "a"))));
        assert!(table.unclear().is_none());
        for news in [News::Put(Box::new(unreadable())), News::Listed(None, vec![unreadable()])] {
            table.on_policies(news);
            assert_eq!(names(&table.view(), "a"), "p", "as it was read last");
            assert!(table.unclear().is_none());
            assert!(table.policies().all(|known| known.problem.is_some()), "and its status says so");
        }
    }

    #[test]
    fn a_selector_alone_needs_no_policies() {
        let mut table = Table::new(&PolicySettings { policies: false, selector: "tenant=a".parse().ok() });
        assert!(!table.view().is_known() && !table.view().watches("a"));
        assert_eq!(names(&table.view(), "a"), "free");
        table.on_namespaces(News::Listed(None, vec![namespace("a", Some("a")), namespace("b", Some("b"))]));
        assert!(table.view().watches("a") && !table.view().watches("b"));
    }
}
