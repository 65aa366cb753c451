//! `status`: what the leader proved.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::drain::MAX_DRAINED_BY;
use super::rules;
use crate::model::acknowledgement::{Acknowledgement, MAX_ACKNOWLEDGEMENT_NOTE};
use crate::model::name::MAX_LABEL;
use crate::model::outcome::{Health, Reason};
use crate::model::service::{MAX_VERSION, MAX_WARNING};
use crate::model::time::UnixMs;

/// What Portolan found. Written by the replica that leads, only when something changed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// The metadata.generation that this status speaks of; an older one than the object's means that the change is not taken in yet, and
    /// -1 that nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub observed_generation: Option<i64>,
    /// The install that writes this status: namespace/name of its leader's Lease. Another one leaves the object alone until that Lease is
    /// gone or abandoned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317), regex(pattern = rules::INSTALL))]
    pub install: Option<String>,
    /// Healthy instances of all, as in 1/2.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 16))]
    pub ready: String,
    /// All instances together: Healthy when one or more pass their check and none is down, Degraded when some are down and others can be
    /// used, Down when some are down and no other can be used, Unknown when nothing is proved yet or any longer, NotChecked when nothing
    /// is probed on purpose, Invalid when the spec cannot be used, Terminating when the object is being deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "state_schema")]
    pub state: Option<State>,
    /// Since when the state is what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::moment")]
    pub since: Option<UnixMs>,
    /// Why the state is what it is, in one word: the reason of the first instance that makes it Degraded, Down, Unknown or Invalid,
    /// such as ConnectRefused; Drained when clients get none because all that they could use are drained.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub reason: String,
    /// How many instances are healthy.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub healthy: i32,
    /// How many instances there are.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub total: i32,
    /// Accepted: the spec is valid and taken in. Ready: clients may use the service. Degraded: some instances are down. Stalled: it
    /// stays as it is until somebody corrects the spec or changes Portolan's settings. Published, with spec.publish: the core Service has the
    /// instances as its endpoints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "rules::conditions")]
    pub conditions: Vec<Condition>,
    /// Every instance, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 256),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub instances: Vec<InstanceStatus>,
}

/// What [`ServiceStatus::observed_generation`] is by the schema's default, in an object whose status nobody wrote yet.
pub(super) const UNWRITTEN: i64 = -1;

impl ServiceStatus {
    /// The status that nobody wrote.
    pub fn unwritten() -> Self {
        Self { observed_generation: Some(UNWRITTEN), ..Self::default() }
    }

    /// Whether somebody wrote it.
    pub fn is_written(&self) -> bool {
        *self != Self::unwritten()
    }
}

/// All instances together.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// One or more instances pass their check, and none is down; others may not be proved yet.
    Healthy,
    /// Some instances are down, and others can be used.
    Degraded,
    /// Some instances are down, and no other can be used.
    Down,
    /// Nothing is proved yet, or any longer.
    Unknown,
    /// Nothing is probed, on purpose.
    NotChecked,
    /// The spec cannot be used.
    Invalid,
    /// The object is being deleted, and finalizers hold it.
    Terminating,
}

impl State {
    /// Every value.
    pub const ALL: [Self; 7] =
        [Self::Healthy, Self::Degraded, Self::Down, Self::Unknown, Self::NotChecked, Self::Invalid, Self::Terminating];

    /// The word in status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Degraded => "Degraded",
            Self::Down => "Down",
            Self::Unknown => "Unknown",
            Self::NotChecked => "NotChecked",
            Self::Invalid => "Invalid",
            Self::Terminating => "Terminating",
        }
    }
}

/// One instance.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// Its name, as in the spec.
    #[schemars(length(max = 640))]
    pub name: String,
    /// What its probes add up to: Healthy, Unhealthy, or Unknown when that is not proved yet, no longer proved, or not asked for.
    pub health: HealthValue,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::moment")]
    pub since: Option<UnixMs>,
    /// Why, in one word, such as Passed, ConnectRefused or UnexpectedStatus.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, in a sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub message: String,
    /// The check that decides the health, and whose reason and message these are; left out for the plain one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = MAX_LABEL))]
    pub decided_by: String,
    /// What does not pass although clients may use the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<WarningStatus>,
    /// The checks that do not pass besides the one that decides and the one of the warning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "rules::check_names")]
    pub also_failing: Vec<String>,
    /// Set while somebody knows about its failure; it ends with that. Portolan writes it for PUT /api/v1/services/ID/acknowledgement, as
    /// portolan ack does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledgement: Option<AcknowledgementStatus>,
    /// The version that it reports, where a check has a versionFrom.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = MAX_VERSION))]
    pub observed_version: String,
    /// Whether it is out of selection on purpose, by its drain or a weight of 0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
    /// Since when its drain holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::moment")]
    pub drained_since: Option<UnixMs>,
    /// The until of its drain, once that has passed: the drain is over, although the spec still has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::moment")]
    pub drain_over: Option<UnixMs>,
    /// A hash of the URLs and the checks that this was found with. Where it differs from the spec's, the health is out of date.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 16))]
    pub probe_hash: String,
}

/// Something that does not pass, and does not make an instance unhealthy.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WarningStatus {
    /// The check.
    #[schemars(length(max = MAX_LABEL))]
    pub check: String,
    /// Why, in one word, such as ConnectRefused or VersionDiffers.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// Why, in a sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = MAX_WARNING))]
    pub message: String,
}

/// Who knows about the failure of an instance. It is about what this status says of the instance.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AcknowledgementStatus {
    /// What they say about it.
    #[schemars(length(max = MAX_ACKNOWLEDGEMENT_NOTE))]
    pub note: String,
    /// Who gave it.
    #[schemars(length(max = MAX_DRAINED_BY))]
    pub by: String,
    /// When it was given.
    #[schemars(schema_with = "rules::moment")]
    pub since: UnixMs,
    /// When it ends by itself at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::moment")]
    pub until: Option<UnixMs>,
    /// Whether it was given for the whole service, so that any new failure of the service ends it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole_service: bool,
}

impl From<&Acknowledgement> for AcknowledgementStatus {
    fn from(known: &Acknowledgement) -> Self {
        let Acknowledgement { note, by, since, until, whole, failure: _ } = known;
        Self { note: note.clone(), by: by.clone(), since: *since, until: *until, whole_service: *whole }
    }
}

impl InstanceStatus {
    /// Why it has its health, in one word, with the check that decides unless that is the plain one.
    pub fn why(&self) -> String {
        match &*self.decided_by {
            "" => self.reason.clone(),
            check => format!("check {check}: {}", self.reason),
        }
    }

    /// Whether its check cannot run as it is set up on the server.
    pub fn is_barred(&self) -> bool {
        self.reason.parse().is_ok_and(Reason::bars_check)
    }
}

/// What the probes of an instance add up to.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Default)]
pub enum HealthValue {
    /// Not proved yet, no longer proved, or not probed.
    #[default]
    Unknown,
    /// Passing.
    Healthy,
    /// Failing, confirmed.
    Unhealthy,
}

impl From<Health> for HealthValue {
    fn from(health: Health) -> Self {
        match health {
            Health::Unknown => Self::Unknown,
            Health::Healthy => Self::Healthy,
            Health::Unhealthy => Self::Unhealthy,
        }
    }
}

impl From<HealthValue> for Health {
    fn from(value: HealthValue) -> Self {
        match value {
            HealthValue::Unknown => Self::Unknown,
            HealthValue::Healthy => Self::Healthy,
            HealthValue::Unhealthy => Self::Unhealthy,
        }
    }
}

/// All instances together.
fn state_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": State::ALL })
}
