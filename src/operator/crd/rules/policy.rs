//! Rules of a policy: label selectors, networks, and numbers that contradict each other.

use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use super::{RETRY, at, conditions_of, rule};
use crate::model::label_selector::MAX_REQUIREMENTS;

/// A label's key.
pub(in crate::operator::crd) const LABEL_KEY: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
/// A label's value.
pub(in crate::operator::crd) const LABEL_VALUE: &str = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";
/// Networks of a list at most.
const MAX_NETWORKS: usize = 64;

/// On a requirement.
pub(in crate::operator::crd) fn requirement() -> Value {
    json!([at(
        ".values",
        "self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : !has(self.values) || self.values.size() == 0",
        "In and NotIn need values, and Exists and DoesNotExist take none; correct operator or values"
    )])
}

/// Labels with their values.
pub(in crate::operator::crd) fn match_labels(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_REQUIREMENTS,
        "additionalProperties": { "type": "string", "maxLength": 63, "pattern": LABEL_VALUE },
        "x-kubernetes-validations": [rule(
            &format!("self.all(key, size(key) <= 317 && key.matches(r'{LABEL_KEY}'))"),
            "a key of matchLabels is a label's key, such as tenant or example.com/tenant"
        )],
    })
}

/// On the defaults.
pub(in crate::operator::crd) fn policy_defaults() -> Value {
    json!([at(
        ".retryIntervalSeconds",
        "!has(self.retryIntervalSeconds) || !has(self.intervalSeconds) || self.retryIntervalSeconds <= self.intervalSeconds",
        RETRY
    )])
}

/// On defaults and limits together.
pub(in crate::operator::crd) fn policy_checks() -> Value {
    let both = |default: &str, limit: &str, order: &str| {
        format!(
            "!has(self.defaults) || !has(self.limits) || !has(self.defaults.{default}) || !has(self.limits.{limit}) || \
             self.defaults.{default} {order} self.limits.{limit}"
        )
    };
    json!([
        at(
            ".defaults.intervalSeconds",
            &both("intervalSeconds", "minIntervalSeconds", ">="),
            "the default is below limits.minIntervalSeconds; raise it to at least that"
        ),
        at(
            ".defaults.timeoutSeconds",
            &both("timeoutSeconds", "maxTimeoutSeconds", "<="),
            "the default is above limits.maxTimeoutSeconds; lower it to at most that"
        ),
    ])
}

/// The only networks.
pub(in crate::operator::crd) fn allowed_networks(_: &mut schemars::SchemaGenerator) -> Schema {
    networks(1)
}

/// Networks that are excluded.
pub(in crate::operator::crd) fn denied_networks(_: &mut schemars::SchemaGenerator) -> Schema {
    networks(0)
}

/// The API server reads them as Go does, which is what the format `cidr` means.
fn networks(least: usize) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": least,
        "maxItems": MAX_NETWORKS,
        "x-kubernetes-list-type": "atomic",
        "items": { "type": "string", "format": "cidr", "maxLength": 64 },
    })
}

/// Conditions as in metav1.
pub(in crate::operator::crd) fn policy_conditions(_: &mut schemars::SchemaGenerator) -> Schema {
    conditions_of("the policy", "Accepted.")
}
