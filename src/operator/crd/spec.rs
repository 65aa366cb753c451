//! `spec`: what is applied or registered.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::CheckSpec;
use super::drain::DrainEntry;
use super::from::FromSpec;
use super::named_check::NamedCheckSpec;
use super::publish::PublishSpec;
use super::rules;
use super::status::ServiceStatus;
use crate::model::check::MAX_NAMED_CHECKS;
use crate::model::name::MAX_LABEL;
use crate::model::service::{DEREGISTER_AFTER, MAX_EXTERNAL_ID};

/// What the service is, where its instances are reached, and how they are probed.
#[expect(clippy::duplicated_attributes, reason = "columns have types in common")]
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[kube(
    group = "portolan.dev",
    version = "v1alpha1",
    kind = "Service",
    root = "ServiceResource",
    plural = "services",
    singular = "service",
    shortname = "psvc",
    category = "portolan",
    namespaced,
    status = "ServiceStatus",
    derive = "PartialEq",
    doc = "A service that Portolan lists and proves: it probes every instance itself, says in the status what it found, and answers over HTTP where the service is and whether it is up. An instance may run anywhere: in this cluster, on a machine beside it, or at a provider.",
    selectable = ".spec.source",
    selectable = ".spec.version",
    selectable = ".status.state",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.ready",
        description = "Healthy instances of all, as in 1/2"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.state",
        description = "Healthy, Degraded, Down, Unknown, NotChecked, Invalid or Terminating"
    ),
    printcolumn(
        name = "Since",
        type_ = "date",
        json_path = ".status.since",
        description = "How long the status has been what it is"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".spec.version",
        description = "The version of the instances that name none of their own; of what was registered over HTTP that of the newest one"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.reason",
        description = "Why the status is what it is"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "How long the object has been there"
    ),
    printcolumn(
        name = "URL",
        type_ = "string",
        json_path = ".spec.instances[0].baseUrl",
        description = "Where the first instance is reached",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::spec()))]
pub struct ServiceSpec {
    /// Who keeps this object: Manifest for one that a person or a GitOps tool applies, Rest for one that Portolan writes for clients
    /// that register over HTTP. It cannot be changed. Leave it out of a manifest.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-validations" = rules::source()))]
    pub source: SourceValue,
    /// The version of the instances that name none of their own: any text, matched as a semantic version where it is one, as 1.4.2 is.
    /// In an object of source Rest it only shows that of the newest instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = rules::PLAIN))]
    pub version: Option<String>,
    /// A sentence for people on what the service does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = rules::PLAIN))]
    pub description: Option<String>,
    /// Labels by which clients select, such as team: identity, for the instances that have none of their own. At most 64, with keys of
    /// 1 to 63 characters. Control, bidirectional and line-separator characters are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::metadata")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// How the instances without a check of their own are probed. Left out, an instance is asked at its healthUrl; one without is
    /// healthy when its baseUrl's port accepts a TCP connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckSpec>,
    /// Further checks of the instances that have no checks of their own, at most 7, each with a name. An instance is healthy when all
    /// its checks pass that are not advisory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = MAX_NAMED_CHECKS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub checks: Option<Vec<NamedCheckSpec>>,
    /// Publishes the proved instances as the endpoints of a core Service, where the cluster's administrator has switched that on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<PublishSpec>,
    /// Adopts the endpoints of a core Service as instances, where the cluster's administrator has switched that on. Their health is the
    /// readiness that Kubernetes reports; check and checks probe them beside it, and what fails there is a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<FromSpec>,
    /// The addresses of the service, 1 to 256, each with a name of its own. The service is up when any of them is. With from, they may be
    /// left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(min = 1, max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub instances: Vec<InstanceEntry>,
}

/// Who keeps an object.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default, JsonSchema)]
pub enum SourceValue {
    /// A person or a GitOps tool, by a manifest.
    #[default]
    Manifest,
    /// Portolan, for clients that register over HTTP.
    Rest,
}

/// One address of the service.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::instance()))]
pub struct InstanceEntry {
    /// Its name, unique in the service: 1 to 63 characters of a-z, 0-9 and '-', starting and ending with a letter or digit.
    #[schemars(length(min = 1, max = MAX_LABEL), regex(pattern = rules::LABEL))]
    pub name: String,
    /// Where clients reach it: `scheme://host[:port][/path]`, at most 512 characters. Any scheme will do; all but http and https need a
    /// port, as in postgres://db.corp:5432, and are probed by tcp unless there is a healthUrl. User names and passwords are refused.
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = rules::URL),
        extend("x-kubernetes-validations" = rules::base_url())
    )]
    pub base_url: String,
    /// Where it is probed, if elsewhere than at baseUrl: an http, https, tcp, grpc or grpcs URL. It goes before the path of the
    /// service's check. Queries are not shown in messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = rules::URL),
        extend("x-kubernetes-validations" = rules::health_url())
    )]
    pub health_url: Option<String>,
    /// Its share when a client asks for one instance by weight, 0 to 1000. Left out, 100. 0 drains it: it is probed and shown, and never
    /// selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub weight: Option<i32>,
    /// Its failure domain, by which clients select, such as eu-1a.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63), regex(pattern = rules::PLAIN))]
    pub zone: Option<String>,
    /// Its version, where it differs from the service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = rules::PLAIN))]
    pub version: Option<String>,
    /// A sentence for people, where it differs from the service's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = rules::PLAIN))]
    pub description: Option<String>,
    /// Labels by which clients select, instead of the service's: at most 64, with keys of 1 to 63 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::metadata")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// How it is probed, instead of the service's check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckSpec>,
    /// Further checks, instead of the service's, at most 7, each with a name. It is healthy when all checks pass that are not advisory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = MAX_NAMED_CHECKS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub checks: Option<Vec<NamedCheckSpec>>,
    /// Free texts by which clients select, at most 64 of 1 to 512 bytes, none of them twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "rules::tags")]
    pub tags: Vec<String>,
    /// Its name in another system, verbatim; at most 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = MAX_EXTERNAL_ID),
        regex(pattern = rules::PLAIN),
        extend("x-kubernetes-validations" = rules::external_id())
    )]
    pub external_id: Option<String>,
    /// Takes it out of selection on purpose, until it is removed: the instance is probed and shown, and its weight stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainEntry>,
    /// Seconds of uninterrupted failure after which it is removed, written by Portolan and refused in a manifest, whose instances are
    /// never removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *DEREGISTER_AFTER.start(), max = *DEREGISTER_AFTER.end()))]
    pub deregister_after_seconds: Option<i32>,
    /// Who registered it over HTTP, written by Portolan and refused in a manifest. Without it, authentication was off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerEntry>,
    /// The number of its registration, written by Portolan: a removal that names an older one is refused, so that a late shutdown
    /// cannot remove its successor. Refused in a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub generation: Option<i64>,
}

/// The token that an instance was registered with.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct OwnerEntry {
    /// The token's issuer (its iss claim); left out when it had none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256), regex(pattern = rules::PLAIN))]
    pub issuer: String,
    /// The token's subject (its sub claim).
    #[schemars(length(max = 256), regex(pattern = rules::PLAIN))]
    pub subject: String,
}
