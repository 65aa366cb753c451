//! The parts of the schema that cannot be derived: CEL rules with messages that say what to do, patterns, size limits of maps.
//!
//! In: nothing but constants of the model. Out: schemas, which the fields of [`spec`](super::spec) name.
//!
//! 1. This file: rules of fields and of maps. [`url`]: the rules of URLs.
//! 2. [`mod@source`]: rules that depend on who wrote the object.
//!
//! Nothing here is stricter than the REST API, since what a client registers there becomes an object too.

mod source;
mod url;

pub(super) use source::{root, source};
pub(super) use url::{base_url, health_url};

use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use crate::model::check::CheckKind;
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

/// Names in a sentence: `a, b and c`.
pub(super) fn listed(names: &[&str], last: &str) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [others @ .., end] => format!("{} {last} {end}", others.join(", ")),
    }
}

/// Whether a URL has one of a kind's schemes.
fn has_scheme(url: &str, schemes: &[&str]) -> String {
    // A scheme and its secure twin share a branch: the API server budgets a rule by the length of its pattern.
    let branch = |scheme: &&str| match schemes.contains(&&*format!("{scheme}s")) {
        true => Some(format!("{scheme}s?")),
        false if scheme.strip_suffix('s').is_some_and(|plain| schemes.contains(&plain)) => None,
        false => Some((*scheme).to_owned()),
    };
    let branches: Vec<String> = schemes.iter().filter_map(branch).collect();
    format!("{url}.matches('(?i)^({})://')", branches.join("|"))
}

/// The kinds that suit an instance whose scheme is none of these.
fn alternatives(kind: &str, schemes: &[&str]) -> Vec<&'static str> {
    let suits = |other: &str| {
        let needs = CheckKind::SCHEMES.iter().find(|(name, _)| *name == other).map_or(&[][..], |(_, needs)| *needs);
        needs.is_empty() || needs.iter().any(|scheme| !schemes.contains(scheme))
    };
    CheckKind::NAMES.iter().copied().filter(|other| *other != kind && suits(other)).collect()
}

/// Whether a check's retry interval is at most its interval.
fn in_order(check: &str) -> String {
    format!(
        "(!has({check}) || !has({check}.retryIntervalSeconds) || !has({check}.intervalSeconds) || \
         {check}.retryIntervalSeconds <= {check}.intervalSeconds)"
    )
}

/// On `spec`: what the service says for all its instances.
pub(super) fn spec() -> Value {
    let inherited = |(kind, schemes): &(&str, &[&str])| {
        let fits = has_scheme("(has(i.healthUrl) ? i.healthUrl : i.baseUrl)", schemes);
        at(
            &format!(".check.{kind}"),
            &format!("!has(self.check) || !has(self.check.{kind}) || self.instances.all(i, has(i.check) || {fits})"),
            &format!(
                "check.{kind} is for {}; give each instance of another scheme a check of its own ({}) or a healthUrl",
                listed(schemes, "and"),
                listed(&alternatives(kind, schemes), "or")
            ),
        )
    };
    let mut rules: Vec<Value> = CheckKind::SCHEMES.iter().map(inherited).collect();
    rules.extend([at(".check.retryIntervalSeconds", &in_order("self.check"), RETRY), source::manifest()]);
    rules.into()
}

const RETRY: &str = "retryIntervalSeconds is longer than intervalSeconds; make it at most as long";

/// On an instance: whether its own check fits its URLs.
pub(super) fn instance() -> Value {
    let own = |(kind, schemes): &(&str, &[&str])| {
        let fits = has_scheme("(has(self.healthUrl) ? self.healthUrl : self.baseUrl)", schemes);
        at(
            &format!(".check.{kind}"),
            &format!("!has(self.check) || !has(self.check.{kind}) || {fits}"),
            &format!(
                "check.{kind} is for {}; use check.tcp, or give a healthUrl that speaks {kind}",
                listed(schemes, "and")
            ),
        )
    };
    let mut rules: Vec<Value> = CheckKind::SCHEMES.iter().map(own).collect();
    rules.extend([
        at(
            ".healthUrl",
            "!has(self.healthUrl) || !has(self.check) || !has(self.check.http) || !has(self.check.http.path)",
            "give either healthUrl or check.http.path, not both",
        ),
        // What is registered over REST, and so has a generation, is bounded by its interval there.
        at(".check.retryIntervalSeconds", &format!("has(self.generation) || {}", in_order("self.check")), RETRY),
        source::kept(),
    ]);
    rules.into()
}

/// On a check.
pub(super) fn check() -> Value {
    let given: Vec<String> = CheckKind::NAMES.iter().map(|kind| format!("has(self.{kind})")).collect();
    json!([rule(
        &format!("[{}].filter(given, given).size() <= 1", given.join(", ")),
        &format!("name one kind of check: {}", listed(CheckKind::NAMES, "or"))
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
