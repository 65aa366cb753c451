//! `status`: what the leader proved.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::outcome::Health;
use crate::model::time::UnixMs;

/// What Portolan found. Written by the replica that leads, only when something changed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// The metadata.generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Healthy instances of all, as in 1/2.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ready: String,
    /// All instances together, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Since when the state is what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub since: Option<UnixMs>,
    /// Why the state is what it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How many instances are healthy.
    #[serde(default)]
    pub healthy: i32,
    /// How many instances there are.
    #[serde(default)]
    pub total: i32,
    /// Accepted, Ready, Degraded and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub conditions: Vec<Condition>,
    /// Every instance by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<InstanceStatus>,
}

/// All instances together.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum State {
    /// Every instance passes its check.
    Healthy,
    /// Some instances do.
    Degraded,
    /// None does.
    Down,
    /// Not proved yet, or no longer.
    Unknown,
    /// Nothing is probed, on purpose.
    NotChecked,
    /// The spec cannot be used.
    Invalid,
}

/// One instance.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// Its name.
    pub name: String,
    /// What its probes add up to.
    pub health: HealthWord,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub since: Option<UnixMs>,
    /// Why, in one word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// What was probed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub probe_hash: String,
}

/// What the probes of an instance add up to.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum HealthWord {
    /// Not proved yet, no longer proved, or not probed.
    Unknown,
    /// Passing.
    Healthy,
    /// Failing, confirmed.
    Unhealthy,
}

impl From<Health> for HealthWord {
    fn from(health: Health) -> Self {
        match health {
            Health::Unknown => Self::Unknown,
            Health::Healthy => Self::Healthy,
            Health::Unhealthy => Self::Unhealthy,
        }
    }
}

impl From<HealthWord> for Health {
    fn from(word: HealthWord) -> Self {
        match word {
            HealthWord::Unknown => Self::Unknown,
            HealthWord::Healthy => Self::Healthy,
            HealthWord::Unhealthy => Self::Unhealthy,
        }
    }
}
