//! `spec.from`: the core Service whose endpoints become instances.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::rules;
use crate::model::name::MAX_LABEL;

/// The core Service whose endpoints are adopted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct FromSpec {
    /// A core Service in the same namespace. Each of its endpoints becomes an instance, with the pod's name.
    #[schemars(length(min = 1, max = MAX_LABEL), regex(pattern = rules::LABEL))]
    pub service: String,
    /// The name or number of that Service's TCP port. Left out, its only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "port_schema")]
    pub port: Option<PortRef>,
    /// The scheme of the instances' URLs, such as postgres. Left out, http, https or grpc where the port's appProtocol or the beginning of
    /// its name says so, else tcp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_SCHEME), regex(pattern = SCHEME))]
    pub scheme: Option<String>,
}

/// A port by its number or its name.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(untagged)]
pub enum PortRef {
    /// Its number.
    Number(u16),
    /// Its name.
    Name(String),
}

/// Longest scheme, in characters.
const MAX_SCHEME: usize = 32;
/// [RFC 3986 §3.1](https://www.rfc-editor.org/rfc/rfc3986#section-3.1), in lower case.
const SCHEME: &str = "^[a-z][a-z0-9+.-]*$";

fn port_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{ "type": "integer" }, { "type": "string" }],
        "minimum": 1,
        "maximum": 65535,
        "maxLength": MAX_LABEL,
        "pattern": rules::LABEL,
    })
}
