//! The custom resource `namespacepolicies.portolan.dev`: what administrators set for the services of namespaces.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use crate::model::check::{INTERVAL, RETRY_INTERVAL, THRESHOLD, TIMEOUT};
use crate::model::label_selector::{MAX_REQUIREMENTS, MAX_VALUES};

/// Which namespaces it is for, and what holds for their services. A policy only narrows: it permits nothing that Portolan's settings or
/// built-in rules forbid.
#[expect(clippy::duplicated_attributes, reason = "columns have types in common")]
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[kube(
    group = "portolan.dev",
    version = "v1alpha1",
    kind = "NamespacePolicy",
    root = "NamespacePolicyResource",
    plural = "namespacepolicies",
    singular = "namespacepolicy",
    status = "NamespacePolicyStatus",
    derive = "PartialEq",
    doc = "What the administrators of a cluster set for the Portolan services of some namespaces: defaults and limits of checks, and the networks that may be probed. In force where the administrator has switched policies on.",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status",
        description = "Whether the policy is in force"
    ),
    printcolumn(
        name = "Namespaces",
        type_ = "integer",
        json_path = ".status.namespaces",
        description = "How many namespaces it selects"
    ),
    printcolumn(
        name = "Services",
        type_ = "integer",
        json_path = ".status.services",
        description = "How many services these namespaces have"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "How long the object has been there"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct NamespacePolicySpec {
    /// The namespaces that it is for, by their labels. Left out or empty, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<NamespaceSelectorSpec>,
    /// Defaults and limits of checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<PolicyChecksSpec>,
    /// The networks that may be probed for these namespaces, judged at each connection, after names are resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<PolicyNetworksSpec>,
}

/// A label selector as in metav1.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelectorSpec {
    /// Labels that a namespace has, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "rules::match_labels")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements that a namespace's labels meet, besides matchLabels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_REQUIREMENTS), extend("x-kubernetes-list-type" = "atomic"))]
    pub match_expressions: Vec<RequirementSpec>,
}

/// What one label has to be.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[schemars(extend("x-kubernetes-validations" = rules::requirement()))]
pub struct RequirementSpec {
    /// The label's key.
    #[schemars(length(min = 1, max = 317), regex(pattern = rules::LABEL_KEY))]
    pub key: String,
    /// How its value is judged: In, NotIn, Exists or DoesNotExist.
    pub operator: RequirementOperator,
    /// The values of In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_VALUES),
        inner(length(max = 63), regex(pattern = rules::LABEL_VALUE)),
        extend("x-kubernetes-list-type" = "atomic")
    )]
    pub values: Vec<String>,
}

/// How a label's value is judged.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequirementOperator {
    /// It is one of the values.
    In,
    /// It is none of the values, or the label is absent.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// Defaults and limits of checks.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::policy_checks()))]
pub struct PolicyChecksSpec {
    /// Values for checks that leave them out. Where several policies have a value, the last of them in order of name applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<CheckDefaultsSpec>,
    /// Bounds that no check exceeds. A manifest's value beyond one is replaced by it, and the service's condition PolicyApplied says so; a
    /// registration over HTTP is refused. Where there are several policies, the strictest applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<CheckLimitsSpec>,
}

/// Values for checks that leave them out.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::policy_defaults()))]
pub struct CheckDefaultsSpec {
    /// Seconds between two probes, 1 to 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *INTERVAL.start(), max = *INTERVAL.end()))]
    pub interval_seconds: Option<i32>,
    /// Seconds that one probe may take, 1 to 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *TIMEOUT.start(), max = *TIMEOUT.end()))]
    pub timeout_seconds: Option<i32>,
    /// Seconds between the probes that confirm a change, 1 to 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *RETRY_INTERVAL.start(), max = *RETRY_INTERVAL.end()))]
    pub retry_interval_seconds: Option<i32>,
    /// Failures in a row that make an instance unhealthy, 1 to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *THRESHOLD.start(), max = *THRESHOLD.end()))]
    pub unhealthy_threshold: Option<i32>,
    /// Passes in a row that make it healthy again, 1 to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *THRESHOLD.start(), max = *THRESHOLD.end()))]
    pub healthy_threshold: Option<i32>,
}

/// Bounds that protect the prober that all namespaces share.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CheckLimitsSpec {
    /// The shortest interval in seconds, 1 to 86400. It holds for the default interval, too. Probes that confirm a change may come sooner:
    /// after retryIntervalSeconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *INTERVAL.start(), max = *INTERVAL.end()))]
    pub min_interval_seconds: Option<i32>,
    /// The most seconds that one probe may take, 1 to 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *TIMEOUT.start(), max = *TIMEOUT.end()))]
    pub max_timeout_seconds: Option<i32>,
    /// The most instances of a service, 1 to 256. If a manifest has more, the first in order of name are used and the others refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub max_instances_per_service: Option<i32>,
}

/// Networks in CIDR notation. Where there are several policies, each must admit an address.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PolicyNetworksSpec {
    /// The only networks that may be probed, such as 10.20.0.0/16. Left out, all that deny does not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::allowed_networks")]
    pub allow: Option<Vec<String>>,
    /// Networks that may not be probed, even if allow names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "rules::denied_networks")]
    pub deny: Vec<String>,
}

/// What Portolan made of it. Written by the replica that leads, only when something changed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct NamespacePolicyStatus {
    /// The metadata.generation that this status speaks of; an older one than the object's means that the change is not taken in yet, and
    /// -1 that nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub observed_generation: Option<i64>,
    /// The install that writes this status: namespace/name of its leader's Lease. Another one leaves it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317), regex(pattern = rules::INSTALL))]
    pub install: Option<String>,
    /// How many namespaces it selects.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub namespaces: i32,
    /// How many services these namespaces have.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub services: i32,
    /// Accepted: the policy is valid and in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "rules::policy_conditions")]
    pub conditions: Vec<Condition>,
}
