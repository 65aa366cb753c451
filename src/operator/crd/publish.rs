//! `spec.publish`: the core Service whose endpoints the proved instances become.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use crate::model::name::MAX_LABEL;

/// Where the proved instances are published.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct PublishSpec {
    /// A core Service in the same namespace that has no selector: Portolan keeps its EndpointSlices, and whoever uses that Service reaches
    /// the healthy instances. The namespace needs the label portolan.dev/publish=allowed.
    #[schemars(length(min = 1, max = MAX_LABEL), regex(pattern = rules::LABEL))]
    pub service: String,
    /// The name of that Service's port behind which the instances are, each with the port of its own baseUrl. Left out, its only port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_LABEL), regex(pattern = rules::LABEL))]
    pub port: Option<String>,
    /// What becomes of the endpoints when no instance can be used. Empty: none is ready, so clients fail at once. Keep: those that were
    /// ready last stay so, although their checks fail.
    #[serde(default)]
    pub when_all_down: WhenAllDown,
}

/// What becomes of the endpoints when no instance can be used.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default, JsonSchema)]
pub enum WhenAllDown {
    /// None is ready. An address that fails its check may belong to another program by now.
    #[default]
    Empty,
    /// Those that were ready last stay ready.
    Keep,
}
