//! The parts of the schema that no derive knows: CEL rules with messages that say what to do, patterns, bounds of maps.
//!
//! Nothing here is stricter than the REST API: what a client registers there becomes an object too.

mod source;
mod url;

pub(super) use source::{root, source};
pub(super) use url::{base_url, health_url};

use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use super::check::Method;
use super::status::State;
use crate::model::request_options::{FORBIDDEN_PARTS, FRAMING};
use crate::model::service::{MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE};

/// Text without the characters that `model::text` calls hostile.
pub(super) const PLAIN: &str = concat!(
    r"^[^\x00-\x1f\x7f-\x9f\x{61c}\x{200b}\x{200e}\x{200f}\x{2028}-\x{202e}",
    r"\x{2060}-\x{206f}\x{feff}\x{fff9}-\x{fffb}\x{e0000}-\x{e007f}]*$"
);
/// [`PLAIN`], without white space, joiners and backslashes.
pub(super) const URL: &str = concat!(
    r"^[^\s\\\x00-\x1f\x7f-\x9f\x{a0}\x{1680}\x{2000}-\x{200f}\x{2028}-\x{202f}\x{205f}-\x{206f}\x{3000}",
    r"\x{61c}\x{feff}\x{fff9}-\x{fffb}\x{e0000}-\x{e007f}]+$"
);
/// Namespace and name of a Lease.
pub(super) const INSTALL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";
/// An RFC 1123 label.
pub(super) const LABEL: &str = crate::model::name::LABEL_PATTERN;

fn rule(rule: &str, message: &str) -> Value {
    json!({ "rule": rule, "message": message })
}

/// A rule whose message names a field below the one that it stands on.
fn at(field: &str, rule: &str, message: &str) -> Value {
    json!({ "rule": rule, "message": message, "fieldPath": field })
}

const HTTP: &str = "https?";
const GRPC: &str = "grpcs?|https?";

/// Whether a check's pauses are in order.
fn in_order(check: &str) -> String {
    format!(
        "(!has({check}) || !has({check}.retryIntervalSeconds) || !has({check}.intervalSeconds) || \
         {check}.retryIntervalSeconds <= {check}.intervalSeconds)"
    )
}

/// On `spec`: what the service says for all its instances.
pub(super) fn spec() -> Value {
    let inherited = |kind: &str, schemes: &str| {
        format!(
            "!has(self.check) || !has(self.check.{kind}) || self.instances.all(i, has(i.check) || \
             (has(i.healthUrl) ? i.healthUrl : i.baseUrl).matches('(?i)^({schemes})://'))"
        )
    };
    json!([
        at(
            ".check.http",
            &inherited("http", HTTP),
            "check.http is for http and https; give each instance of another scheme a check of its own (tcp, grpc or none) or a healthUrl"
        ),
        at(
            ".check.grpc",
            &inherited("grpc", GRPC),
            "check.grpc is for grpc, grpcs, http and https; give each instance of another scheme a check of its own (tcp or none) or a healthUrl"
        ),
        at(".check.retryIntervalSeconds", &in_order("self.check"), RETRY),
        source::manifest(),
    ])
}

const RETRY: &str = "retryIntervalSeconds is longer than intervalSeconds; make it at most as long";

/// On an instance: whether its own check fits its URLs.
pub(super) fn instance() -> Value {
    let own = |kind: &str, schemes: &str| {
        format!(
            "!has(self.check) || !has(self.check.{kind}) || \
             (has(self.healthUrl) ? self.healthUrl : self.baseUrl).matches('(?i)^({schemes})://')"
        )
    };
    json!([
        at(
            ".check.http",
            &own("http", HTTP),
            "check.http is for http and https; use check.tcp, or give a healthUrl that speaks http"
        ),
        at(
            ".check.grpc",
            &own("grpc", GRPC),
            "check.grpc is for grpc, grpcs, http and https; use check.tcp, or give a healthUrl that speaks grpc"
        ),
        at(
            ".healthUrl",
            "!has(self.healthUrl) || !has(self.check) || !has(self.check.http) || !has(self.check.http.path)",
            "give either healthUrl or check.http.path, not both"
        ),
        // What is registered over REST, and so has a generation, is bounded by its interval there.
        at(".check.retryIntervalSeconds", &format!("has(self.generation) || {}", in_order("self.check")), RETRY),
        source::kept(),
    ])
}

/// On a check.
pub(super) fn check() -> Value {
    json!([rule(
        "[has(self.http), has(self.tcp), has(self.grpc), has(self.none)].filter(given, given).size() <= 1",
        "name one kind of check: http, tcp, grpc or none"
    )])
}

/// On the headers of an http check, whose names are compared without regard to case.
pub(super) fn headers() -> Value {
    json!([rule(
        "self.all(h, self.exists_one(other, other.name.lowerAscii() == h.name.lowerAscii()))",
        "a header is given twice, since upper and lower case make no difference in its name; keep one"
    )])
}

/// On one header of an http check.
pub(super) fn header() -> Value {
    let framing = FRAMING.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    json!([
        at(
            ".name",
            &format!("!self.name.lowerAscii().matches('{}')", FORBIDDEN_PARTS.join("|")),
            "a header that carries credentials, or by which a metadata service knows its clients, is refused; probe a path that needs none"
        ),
        at(
            ".name",
            &format!("!(self.name.lowerAscii() in [{framing}])"),
            "this header belongs to the request itself; for another Host header set http.host"
        ),
    ])
}

/// Labels to select by.
pub(super) fn metadata(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_METADATA,
        "additionalProperties": { "type": "string", "maxLength": MAX_METADATA_VALUE, "pattern": PLAIN },
        "x-kubernetes-validations": [
            rule(
                &format!("self.all(key, size(key) >= 1 && size(key) <= {MAX_METADATA_KEY})"),
                &format!("a key of metadata has 1 to {MAX_METADATA_KEY} characters")
            ),
            rule(
                &format!("self.all(key, size(key) > {MAX_METADATA_KEY} || key.matches(r'{PLAIN}'))"),
                "keys of metadata must not hold control, bidirectional or line-separator characters"
            ),
        ],
    })
}

/// An http check's method.
pub(super) fn method(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": [Method::Get, Method::Head] })
}

/// All instances together.
pub(super) fn state(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": State::ALL })
}

/// A moment, to the millisecond.
pub(super) fn moment(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// Conditions as in metav1.
pub(super) fn conditions(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One thing that is true, false or unknown of the service.",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "type": "string", "maxLength": 316, "description": "Accepted, Ready, Degraded or Stalled.",
                    "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                },
                "status": { "type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it is so." },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "The metadata.generation that it was found at.",
                },
                "lastTransitionTime": {
                    "type": "string", "format": "date-time", "description": "When its status last changed.",
                },
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Z][A-Za-z]*$",
                    "description": "Why, in one CamelCase word that stays the same from version to version.",
                },
                "message": {
                    "type": "string", "maxLength": 1024, "description": "Why, in a sentence for people, and what to do.",
                },
            },
        },
    })
}
