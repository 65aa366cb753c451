//! The parts of the schema that cannot be derived: CEL rules with messages that say what to do, patterns, size limits of maps.
//!
//! In: nothing but constants of the model. Out: schemas, which the fields of [`spec`](super::spec) name.
//!
//! 1. This file: rules of the service, of its instances, and of maps. [`url`]: the rules of URLs. [`mod@check`]: those of one check.
//! 2. [`mod@source`]: rules that depend on who wrote the object. [`policy`]: those of a policy of namespaces.
//!
//! Nothing here is stricter than the REST API, since what a client registers there becomes an object too.

mod check;
mod policy;
mod source;
mod url;

pub(super) use check::{
    OBJECT, POINTER, ca_from, check, header, headers, http, identity, identity_header, identity_json, named_check, tls,
};
pub(super) use policy::{
    LABEL_KEY, LABEL_VALUE, allowed_networks, denied_networks, match_labels, policy_checks, policy_conditions,
    policy_defaults, requirement,
};
pub(super) use source::{root, source};
pub(super) use url::{base_url, check_url, check_url_patterns, health_url};

use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use crate::model::check::{CheckKind, MAX_NAMED_CHECKS};
use crate::model::name::MAX_LABEL;
use crate::model::service::{MAX_EXTERNAL_ID, MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE, MAX_TAG, MAX_TAGS};

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

/// A rule whose message names a field below the one that has the rule.
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
        "(!has({check}.retryIntervalSeconds) || !has({check}.intervalSeconds) || \
         {check}.retryIntervalSeconds <= {check}.intervalSeconds)"
    )
}

/// The same of `self.check`, if there is one, and of each of `self.checks`.
fn all_in_order() -> [String; 2] {
    let each = format!("!has(self.checks) || self.checks.all(c, {})", in_order("c"));
    [format!("!has(self.check) || {}", in_order("self.check")), each]
}

/// What a check `c` probes of an instance `i`: its own URL, the instance's health URL, or the base URL where it has a path.
fn probed(c: &str, i: &str) -> String {
    format!(
        "(has({c}.url) ? {c}.url : has({i}.healthUrl) && !(has({c}.http) && has({c}.http.path)) ? {i}.healthUrl : {i}.baseUrl)"
    )
}

/// On `spec`: what the service says for all its instances.
pub(super) fn spec() -> Value {
    let inherited = |(kind, schemes): &(&str, &[&str])| {
        let fits = has_scheme("(has(i.healthUrl) ? i.healthUrl : i.baseUrl)", schemes);
        at(
            &format!(".check.{kind}"),
            &format!(
                "!has(self.check) || !has(self.check.{kind}) || !has(self.instances) || self.instances.all(i, has(i.check) || {fits})"
            ),
            &format!(
                "check.{kind} is for {}; give each instance of another scheme a check of its own ({}) or a healthUrl",
                listed(schemes, "and"),
                listed(&alternatives(kind, schemes), "or")
            ),
        )
    };
    let named = |(kind, schemes): &(&str, &[&str])| {
        let fits = has_scheme(&probed("c", "i"), schemes);
        at(
            ".checks",
            &format!(
                "!has(self.checks) || self.checks.all(c, !has(c.{kind}) || !has(self.instances) || self.instances.all(i, has(i.checks) || {fits}))"
            ),
            &format!(
                "a check by {kind} is for {}; give it a url, or give each instance of another scheme checks of its own",
                listed(schemes, "and")
            ),
        )
    };
    let mut rules: Vec<Value> = CheckKind::SCHEMES.iter().flat_map(|kind| [inherited(kind), named(kind)]).collect();
    let [plain, each] = all_in_order();
    rules.extend([
        at(".check.retryIntervalSeconds", &plain, RETRY),
        at(".checks", &each, RETRY),
        at(
            ".instances",
            &one_heartbeat(),
            "an instance has one heartbeat check at most: its program reports once for all; keep one",
        ),
        rule(
            "has(self.instances) || has(self.from)",
            "name at least one instance, or in from a core Service whose endpoints are the instances",
        ),
        at(
            ".publish.service",
            "!has(self.from) || !has(self.publish) || self.publish.service != self.from.service",
            "endpoints that come from this core Service cannot be published to it again; name another",
        ),
        at(".check.heartbeat", "!has(self.from) || !has(self.check) || !has(self.check.heartbeat)", NO_REPORT),
        at(".checks", "!has(self.from) || !has(self.checks) || self.checks.all(c, !has(c.heartbeat))", NO_REPORT),
        source::manifest(),
    ]);
    rules.into()
}

/// Whether each instance, with what the service says for it, has one heartbeat check at most.
fn one_heartbeat() -> String {
    let plain = "(has(i.check) ? has(i.check.heartbeat) : has(self.check) && has(self.check.heartbeat)) ? 1 : 0";
    let of = |checks: &str| format!("{checks}.filter(c, has(c.heartbeat)).size()");
    let named = format!(
        "has(i.checks) ? {} : has(self.checks) && self.source != 'Rest' ? {} : 0",
        of("i.checks"),
        of("self.checks")
    );
    format!("!has(self.instances) || self.instances.all(i, ({plain}) + ({named}) <= 1)")
}

const RETRY: &str = "retryIntervalSeconds is longer than intervalSeconds; make it at most as long";

const NO_REPORT: &str = "adopted endpoints cannot send heartbeats; use another kind of check, or leave it out";

/// On an instance: whether its own checks fit its URLs.
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
    let named = |(kind, schemes): &(&str, &[&str])| {
        let fits = has_scheme(&probed("c", "self"), schemes);
        at(
            ".checks",
            &format!("!has(self.checks) || self.checks.all(c, !has(c.{kind}) || {fits})"),
            &format!(
                "a check by {kind} is for {}; use tcp, or give it a url that speaks {kind}",
                listed(schemes, "and")
            ),
        )
    };
    let mut rules: Vec<Value> = CheckKind::SCHEMES.iter().flat_map(|kind| [own(kind), named(kind)]).collect();
    let [plain, each] = all_in_order();
    rules.extend([
        at(
            ".healthUrl",
            "!has(self.healthUrl) || !has(self.check) || !has(self.check.http) || !has(self.check.http.path)",
            "give either healthUrl or check.http.path, not both",
        ),
        // What is registered over REST, and so has a generation, is bounded by its interval there.
        at(".check.retryIntervalSeconds", &format!("has(self.generation) || {plain}"), RETRY),
        at(".checks", &format!("has(self.generation) || {each}"), RETRY),
        source::kept(),
    ]);
    rules.into()
}

/// On a drain.
pub(super) fn drain() -> Value {
    json!([at(
        ".until",
        "!has(self.until) || !has(self.since) || self.until > self.since",
        "until is when the drain ends, so it is later than since; correct one of them"
    )])
}

/// Free texts to select by.
pub(super) fn tags(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_TAGS,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string", "minLength": 1, "maxLength": MAX_TAG, "pattern": PLAIN,
            "x-kubernetes-validations": [in_bytes("a tag", MAX_TAG)],
        },
    })
}

/// On an external id.
pub(super) fn external_id() -> Value {
    json!([in_bytes("an externalId", MAX_EXTERNAL_ID)])
}

/// A schema counts characters.
fn in_bytes(what: &str, most: usize) -> Value {
    rule(&format!("bytes(self).size() <= {most}"), &format!("{what} has at most {most} bytes"))
}

/// Names of an instance's checks.
pub(super) fn check_names(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MAX_NAMED_CHECKS,
        "x-kubernetes-list-type": "atomic",
        "items": { "type": "string", "maxLength": MAX_LABEL },
    })
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
    conditions_of("the service", "Accepted, Ready, Degraded, Stalled, Published, Adopted or PolicyApplied.")
}

fn conditions_of(what: &str, types: &str) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 12,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": format!("One thing that is true, false or unknown of {what}."),
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "type": "string", "maxLength": 316, "description": types,
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
