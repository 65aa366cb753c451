//! `spec`: what is applied or registered.

use std::collections::BTreeMap;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::CheckSpec;
use super::status::ServiceStatus;

/// What the service is and where its instances are reached.
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
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// Who keeps this object.
    #[serde(default)]
    pub source: SourceWord,
    /// The version of the instances that name none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Labels to select by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// How instances without a check of their own are probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckSpec>,
    /// The addresses of the service.
    pub instances: Vec<InstanceEntry>,
}

/// Who keeps an object.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default, JsonSchema)]
pub enum SourceWord {
    /// A person or a GitOps tool, by a manifest.
    #[default]
    Manifest,
    /// Portolan, for clients that register over HTTP.
    Rest,
}

/// One address of the service.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct InstanceEntry {
    /// Its name, unique in the service.
    pub name: String,
    /// Where it is reached.
    pub base_url: String,
    /// Where it is probed, if elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_url: Option<String>,
    /// Its share of weighted picks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
    /// Its failure domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Labels to select by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<BTreeMap<String, String>>,
    /// How it is probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckSpec>,
    /// Who registered it over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerEntry>,
    /// Its registration's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// The token that an instance was registered with.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct OwnerEntry {
    /// The token's issuer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub issuer: String,
    /// The token's subject.
    pub subject: String,
}
