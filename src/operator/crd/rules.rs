//! The parts of the schema that no derive knows: CEL rules with messages that say what to do, patterns, bounds of maps.
//!
//! Nothing here is stricter than the REST API: what a client registers there becomes an object too.

use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use super::check::Method;
use super::status::State;
use crate::model::manner::{FORBIDDEN_PARTS, FRAMING};
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

/// On the whole object.
pub(super) fn root() -> Value {
    json!([rule(
        &format!("size(self.metadata.name) <= 63 && self.metadata.name.matches('{LABEL}')"),
        "a service's name is 1 to 63 characters of a-z, 0-9 and '-', starting and ending with a letter or digit"
    )])
}

/// On `spec.source`.
pub(super) fn source() -> Value {
    json!([rule("self == oldSelf", "source cannot be changed; delete the object and create it anew")])
}

/// On `spec`: what the service says for all its instances.
pub(super) fn spec() -> Value {
    let inherited = |kind: &str, schemes: &str| {
        format!(
            "self.source == 'Rest' || !has(self.check) || !has(self.check.{kind}) || self.instances.all(i, has(i.check) || \
             (has(i.healthUrl) ? i.healthUrl : i.baseUrl).matches('(?i)^({schemes})://'))"
        )
    };
    let in_order = |check: &str| {
        format!(
            "!has({check}) || !has({check}.retryIntervalSeconds) || !has({check}.intervalSeconds) || \
             {check}.retryIntervalSeconds <= {check}.intervalSeconds"
        )
    };
    json!([
        rule(
            &inherited("http", HTTP),
            "check.http is for http and https; give each instance of another scheme a check of its own (tcp, grpc or none) or a healthUrl"
        ),
        rule(
            &inherited("grpc", GRPC),
            "check.grpc is for grpc, grpcs, http and https; give each instance of another scheme a check of its own (tcp or none) or a healthUrl"
        ),
        rule(
            &format!("self.source == 'Rest' || ({})", in_order("self.check")),
            "check.retryIntervalSeconds is longer than check.intervalSeconds; make it at most as long"
        ),
        rule(
            &format!("self.source == 'Rest' || self.instances.all(i, {})", in_order("i.check")),
            "an instance's check.retryIntervalSeconds is longer than its check.intervalSeconds; make it at most as long"
        ),
    ])
}

const HTTP: &str = "https?";
const GRPC: &str = "grpcs?|https?";
/// A URL's scheme and what may stand in its authority before the last colon.
const AUTHORITY: &str = "^[^/?#]*//[^/?#]*";
const PORT: &str = "0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

/// On an instance's `baseUrl`.
pub(super) fn base_url() -> Value {
    json!([
        rule(
            "self.matches('^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]')",
            "write scheme://host[:port][/path], for example http://10.0.0.5:8080"
        ),
        rule(
            &format!("!self.matches('{AUTHORITY}@')"),
            "user names and passwords in URLs are refused, since everyone could read them; give the address alone"
        ),
        rule("!self.contains('#')", "a fragment (#...) never reaches the server; leave it out"),
        rule(
            &format!("self.matches('(?i)^https?://') || self.matches('{AUTHORITY}:[0-9]+([/?#]|$)')"),
            "every scheme but http and https needs an explicit port, for example postgres://db.corp:5432"
        ),
        rule(
            &format!("!self.matches('{AUTHORITY}:[0-9]+([/?#]|$)') || self.matches('{AUTHORITY}:{PORT}([/?#]|$)')"),
            "a port goes from 1 to 65535"
        ),
    ])
}

/// On an instance's `healthUrl`.
pub(super) fn health_url() -> Value {
    let mut rules = base_url();
    let scheme = rule(
        "!self.contains('://') || self.matches('(?i)^(https?|tcp|grpcs?)://')",
        "a healthUrl is http, https, tcp, grpc or grpcs, since a probe has to speak it; for another scheme leave it out and use check.tcp",
    );
    if let Some(rules) = rules.as_array_mut() {
        rules.push(scheme);
    }
    rules
}

/// On an instance: whether its own check fits its URLs.
pub(super) fn instance() -> Value {
    let own = |kind: &str, schemes: &str| {
        format!(
            "!has(self.check) || !has(self.check.{kind}) || \
             (has(self.healthUrl) ? self.healthUrl : self.baseUrl).matches('(?i)^({schemes})://')"
        )
    };
    json!([
        rule(
            &own("http", HTTP),
            "check.http is for http and https; use check.tcp, or give a healthUrl that speaks http"
        ),
        rule(
            &own("grpc", GRPC),
            "check.grpc is for grpc, grpcs, http and https; use check.tcp, or give a healthUrl that speaks grpc"
        ),
        rule(
            "!has(self.healthUrl) || !has(self.check) || !has(self.check.http) || !has(self.check.http.path)",
            "give either healthUrl or check.http.path, not both"
        ),
    ])
}

/// On a check.
pub(super) fn check() -> Value {
    json!([rule(
        "[has(self.http), has(self.tcp), has(self.grpc), has(self.none)].filter(given, given).size() <= 1",
        "name one kind of check: http, tcp, grpc or none"
    )])
}

/// On one header of an http check.
pub(super) fn header() -> Value {
    let framing = FRAMING.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    json!([
        rule(
            &format!("!self.name.lowerAscii().matches('{}')", FORBIDDEN_PARTS.join("|")),
            "a header that carries credentials, or by which a metadata service knows its clients, is refused; probe a path that needs none"
        ),
        rule(
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
        "x-kubernetes-validations": [rule(
            &format!("self.all(key, size(key) >= 1 && size(key) <= {MAX_METADATA_KEY})"),
            &format!("a key of metadata has 1 to {MAX_METADATA_KEY} characters")
        )],
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
