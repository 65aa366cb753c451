//! A policy from its object.

use std::sync::Arc;

use kube::core::DeserializeGuard;
use kube::{Resource as _, ResourceExt as _};

use crate::model::check::CheckTiming;
use crate::model::label_selector::{LabelSelector, Requirement};
use crate::model::namespace_policy::{CheckLimits, NamespacePolicy, Networks};
use crate::model::text;
use crate::operator::crd::{
    CheckDefaultsSpec, NamespacePolicyResource, NamespacePolicySpec, NamespacePolicyStatus, NamespaceSelectorSpec,
    RequirementOperator, RequirementSpec,
};

/// Longest problem, in characters.
const MAX_PROBLEM: usize = 512;

/// An object from a watch or a list. One that does not fit our types keeps its metadata and the error.
pub(in crate::operator) type Lenient = DeserializeGuard<NamespacePolicyResource>;

/// What is kept of a policy's object.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::operator) struct KnownPolicy {
    pub(in crate::operator) name: Arc<str>,
    pub(in crate::operator) generation: Option<i64>,
    pub(in crate::operator) status: Option<NamespacePolicyStatus>,
    /// What is in force; none if nothing says for which namespaces.
    pub(in crate::operator) policy: Option<NamespacePolicy>,
    /// What cannot be read, in a sentence.
    pub(in crate::operator) problem: Option<String>,
}

impl KnownPolicy {
    pub(in crate::operator) fn of(object: Lenient) -> Self {
        let (name, generation) = (Arc::from(object.name_any()), object.meta().generation);
        match object.0 {
            Ok(resource) => {
                let (policy, problem) = read(Arc::clone(&name), &resource.spec);
                let problem = problem.map(|problem| text::escape(&problem, MAX_PROBLEM));
                Self { name, generation, status: resource.status, policy, problem }
            }
            Err(invalid) => {
                let problem = text::escape(&format!("the object cannot be read: {}", invalid.error), MAX_PROBLEM);
                Self { name, generation, status: None, policy: None, problem: Some(problem) }
            }
        }
    }
}

/// The policy, and what is wrong with it. Networks that cannot be read admit nothing.
fn read(name: Arc<str>, spec: &NamespacePolicySpec) -> (Option<NamespacePolicy>, Option<String>) {
    let selector = match spec.namespace_selector.as_ref().map_or_else(|| Ok(LabelSelector::default()), selector) {
        Ok(selector) => selector,
        Err(why) => return (None, Some(format!("namespaceSelector: {why}"))),
    };
    let checks = spec.checks.clone().unwrap_or_default();
    let limits = checks.limits.unwrap_or_default();
    let limits = CheckLimits {
        min_interval_seconds: positive(limits.min_interval_seconds),
        max_timeout_seconds: positive(limits.max_timeout_seconds),
        max_instances_per_service: positive(limits.max_instances_per_service),
    };
    let networks = spec.networks.clone().unwrap_or_default();
    let (networks, problem) = match Networks::read(&networks.allow.unwrap_or_default(), &networks.deny) {
        Ok(networks) => (networks, None),
        Err(why) => (Networks::nothing(), Some(format!("{why}; until it is corrected, nothing is probed"))),
    };
    let defaults = defaults(&checks.defaults.unwrap_or_default());
    (Some(NamespacePolicy { name, selector, defaults, limits, networks }), problem)
}

fn defaults(spec: &CheckDefaultsSpec) -> CheckTiming {
    CheckTiming {
        interval_seconds: positive(spec.interval_seconds),
        timeout_seconds: positive(spec.timeout_seconds),
        retry_interval_seconds: positive(spec.retry_interval_seconds),
        unhealthy_threshold: positive(spec.unhealthy_threshold),
        healthy_threshold: positive(spec.healthy_threshold),
    }
}

/// The schema bounds every number.
fn positive(given: Option<i32>) -> Option<u32> {
    given.and_then(|n| u32::try_from(n).ok()).map(|n| n.max(1))
}

fn selector(spec: &NamespaceSelectorSpec) -> Result<LabelSelector, String> {
    let labels = spec.match_labels.iter().map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()]));
    LabelSelector::new(labels.chain(spec.match_expressions.iter().map(requirement)).collect())
}

fn requirement(spec: &RequirementSpec) -> Requirement {
    let (key, values) = (spec.key.clone(), spec.values.clone());
    match spec.operator {
        RequirementOperator::In => Requirement::In(key, values),
        RequirementOperator::NotIn => Requirement::NotIn(key, values),
        RequirementOperator::Exists => Requirement::Exists(key),
        RequirementOperator::DoesNotExist => Requirement::DoesNotExist(key),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::namespace_policy::PolicyInForce;

    fn known(spec: &Value) -> KnownPolicy {
        let object = json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "NamespacePolicy",
            "metadata": { "name": "tenants", "generation": 3 }, "spec": spec,
        });
        KnownPolicy::of(serde_json::from_value(object).expect("an object"))
    }

    #[test]
    fn a_policy_is_read_as_it_is_written() {
        let known = known(&json!({
            "namespaceSelector": {
                "matchLabels": { "tenant": "a" },
                "matchExpressions": [
                    { "key": "stage", "operator": "NotIn", "values": ["dev"] },
                    { "key": "legacy", "operator": "DoesNotExist" },
                ],
            },
            "checks": { "defaults": { "intervalSeconds": 60 }, "limits": { "maxInstancesPerService": 4 } },
            "networks": { "allow": ["10.0.0.0/8"] },
        }));
        assert_eq!((known.generation, known.problem), (Some(3), None));
        let policy = known.policy.expect("a policy");
        assert_eq!(policy.selector.to_string(), "tenant in (a),stage notin (dev),!legacy");
        assert_eq!(policy.defaults.interval_seconds, Some(60));
        let in_force = PolicyInForce::combine([&policy]).expect("one");
        assert_eq!(in_force.max_instances().map(|limit| limit.value), Some(4));
        assert!(in_force.admit("192.0.2.1".parse().expect("an address")).is_err());
    }

    #[test]
    fn what_cannot_be_read_forbids_rather_than_permits() {
        let bad = known(&json!({ "networks": { "deny": ["10.0.0.0/40"] } }));
        let in_force = PolicyInForce::combine(bad.policy.as_ref()).expect("it is in force");
        for address in ["192.0.2.1", "2001:db8::1"] {
            assert!(in_force.admit(address.parse().expect("an address")).is_err(), "{address}");
        }
        let problem = bad.problem.expect("a problem");
        assert!(problem.contains("networks.deny[0]") && problem.contains("nothing is probed"), "{problem}");
        let bad = known(&json!({ "namespaceSelector": { "matchExpressions": [{ "key": "a", "operator": "In" }] } }));
        assert!(bad.policy.is_none() && bad.problem.expect("a problem").contains("namespaceSelector"));
        let bad = known(&json!({ "checks": 7 }));
        assert!(bad.policy.is_none() && bad.problem.expect("a problem").contains("cannot be read"));
    }
}
