//! The body of a register call: the legacy gateway's fields and Portolan's own; one answer names every problem.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use crate::api::http::envelope::{ApiError, Code, Detail};
use crate::api::http::json::{self, Fields};
use crate::api::http::object_shape::NoArrays;
use crate::model::check::{Check, CheckKind};
use crate::model::name::{InstanceName, Namespace, ServiceName};
use crate::model::ports::{AddressGate, Registration};
use crate::model::service::{
    DEFAULT_WEIGHT, InstanceSpec, MAX_DESCRIPTION, MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE, MAX_VERSION,
    MAX_WEIGHT, MAX_ZONE,
};
use crate::model::text;
use crate::model::url::EndpointUrl;
use crate::model::value_error::ValueError;
use crate::model::whole_number::WholeNumber;

/// Every field of the body.
const FIELDS: &[&str] = &[
    "name",
    "version",
    "description",
    "base_url",
    "health_url",
    "metadata",
    "namespace",
    "instance",
    "weight",
    "zone",
    "check",
];

/// What a body is judged by.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    /// The namespace where none is given.
    pub(super) namespace: &'a Namespace,
    /// The interval where the check has none.
    pub(super) interval: Duration,
    /// What may be probed.
    pub(super) addresses: &'a dyn AddressGate,
}

/// Reads a register request.
///
/// # Errors
/// 400 `invalid_payload`, or `address_denied` where the address policy alone refuses it; `details` name each problem.
pub(super) fn read(bytes: &[u8], rules: Rules<'_>) -> Result<Registration, ApiError> {
    let mut fields = Fields::read(bytes)?;
    let namespace: Option<Namespace> = label(&mut fields, "namespace");
    let instance: Option<InstanceName> = label(&mut fields, "instance");
    let service = required(&mut fields, "name", "the service's name").and_then(|name| {
        let read = name.parse::<ServiceName>();
        fields.check("name", read)
    });
    let spec = spec(&mut fields, rules.interval);
    fields.end(FIELDS, reserved);
    let denied = spec.as_ref().map_or_else(Vec::new, |spec| denied(spec, rules.addresses));
    let mut problems = fields.problems();
    let only_denied = problems.is_empty();
    problems.extend(denied);
    match (service, spec) {
        (Some(service), Some(spec)) if problems.is_empty() => Ok(Registration {
            namespace: namespace.unwrap_or_else(|| rules.namespace.clone()),
            service,
            instance: instance.unwrap_or_default(),
            spec,
        }),
        _ => {
            let mut error = json::invalid(problems);
            if only_denied {
                error.code = Code::AddressDenied;
            }
            Err(error)
        }
    }
}

fn reserved(field: &str) -> Option<&'static str> {
    matches!(field, "ttl_seconds" | "deregister_after_seconds")
        .then_some("is not supported by this version; a registration stays until it is deregistered")
}

fn label<T: std::str::FromStr<Err: Into<ValueError>>>(fields: &mut Fields<'_>, field: &str) -> Option<T> {
    let text: String = fields.take(field)?;
    fields.check(field, text.parse())
}

/// A required text; the legacy gateway counts an empty one as missing.
fn required(fields: &mut Fields<'_>, field: &str, what: &str) -> Option<String> {
    let problems_before = fields.problem_count();
    let text: Option<String> = fields.take(field);
    match text {
        Some(text) if !text.is_empty() => Some(text),
        None if fields.problem_count() > problems_before => None,
        _ => {
            fields.problem(field, format!("is missing; give {what}"));
            None
        }
    }
}

/// A text of at most `max` characters; absent is empty.
fn bounded(fields: &mut Fields<'_>, field: &str, max: usize) -> String {
    let text: String = fields.take(field).unwrap_or_default();
    let accepted = text::accept(&text, max);
    fields.check(field, accepted).map(|()| text).unwrap_or_default()
}

/// `None` where a field that the rest depends on is wrong; its problem is recorded.
fn spec(fields: &mut Fields<'_>, interval: Duration) -> Option<InstanceSpec> {
    let base_url =
        required(fields, "base_url", "the address where the service is reached, such as http://10.0.0.5:8080");
    let base_url = base_url.and_then(|text| fields.check("base_url", EndpointUrl::base(&text)));
    let health_url: String = fields.take("health_url").unwrap_or_default();
    let health_url = (!health_url.is_empty()).then(|| fields.check("health_url", EndpointUrl::health(&health_url)));
    let check = fields.take_formed::<NoArrays, Check>("check").unwrap_or_default();
    refuse_manner(fields, &check);
    let version = bounded(fields, "version", MAX_VERSION);
    let description = bounded(fields, "description", MAX_DESCRIPTION);
    let zone = bounded(fields, "zone", MAX_ZONE);
    let metadata = fields.take("metadata").map(|Metadata(map)| map).unwrap_or_default();
    check_metadata(fields, &metadata);
    let weight = weight(fields);
    let base_url = base_url?;
    let health_url = match health_url {
        Some(None) => return None,
        given => given.flatten(),
    };
    let spec = InstanceSpec { base_url, health_url, check, version, description, metadata, weight, zone };
    check_plan(fields, &spec.check, &spec, interval);
    Some(spec)
}

fn weight(fields: &mut Fields<'_>) -> u16 {
    let given: Option<serde_json::Number> = fields.take("weight");
    let Some(given) = given else { return DEFAULT_WEIGHT };
    let weight = WholeNumber::deserialize(&given).ok().and_then(|WholeNumber(n)| u16::try_from(n).ok());
    let weight = weight.filter(|n| *n <= MAX_WEIGHT).ok_or_else(|| {
        let expected = format!("a whole number from 0 to {MAX_WEIGHT}");
        ValueError::new(format!("is {given}, not {expected}; 0 drains the instance")).expecting(expected)
    });
    fields.check("weight", weight).unwrap_or(DEFAULT_WEIGHT)
}

/// A registration's writer is not always a cluster's: it sends our own plain request alone.
fn refuse_manner(fields: &mut Fields<'_>, check: &Check) {
    if matches!(&check.kind, Some(CheckKind::Http(http)) if !http.request_options.is_plain()) {
        fields.problem("check.http", "method, host and headers can be set in a manifest only; leave them out");
    }
}

fn check_plan(fields: &mut Fields<'_>, check: &Check, spec: &InstanceSpec, interval: Duration) {
    let plan = check.plan(&spec.base_url, spec.health_url.as_ref(), interval);
    fields.check("check", plan);
}

fn check_metadata(fields: &mut Fields<'_>, metadata: &BTreeMap<String, String>) {
    if metadata.len() > MAX_METADATA {
        fields.problem("metadata", format!("has {} entries, more than {MAX_METADATA}", metadata.len()));
    }
    for (key, value) in metadata {
        let at = format!("metadata.{}", text::escape(key, MAX_METADATA_KEY));
        if key.is_empty() {
            fields.problem("metadata", "a key is 1 to 63 characters; found an empty one");
        }
        fields.check(&at, text::accept(key, MAX_METADATA_KEY));
        fields.check(&at, text::accept(value, MAX_METADATA_VALUE));
    }
}

fn denied(spec: &InstanceSpec, addresses: &dyn AddressGate) -> Vec<Detail> {
    let urls = [("base_url", Some(&spec.base_url)), ("health_url", spec.health_url.as_ref())];
    let judged = urls.into_iter().filter_map(|(field, url)| Some((field, addresses.admit(url?).err()?)));
    judged.map(|(field, why)| Detail::new(field, why)).collect()
}

/// An object of strings without a key twice.
struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: serde::Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Strings;

        impl<'de> Visitor<'de> for Strings {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object whose values are strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    if all.contains_key(&key) {
                        return Err(serde::de::Error::custom(format!("{key} is given twice")));
                    }
                    all.insert(key, value);
                }
                Ok(Metadata(all))
            }
        }

        json.deserialize_map(Strings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoTens;

    impl AddressGate for NoTens {
        fn admit(&self, url: &EndpointUrl) -> Result<(), String> {
            if url.host().to_string().starts_with("10.") { Err("not 10/8".to_owned()) } else { Ok(()) }
        }
    }

    fn read_it(json: &str) -> Result<Registration, ApiError> {
        let namespace = Namespace::default();
        read(json.as_bytes(), Rules { namespace: &namespace, interval: Duration::from_secs(30), addresses: &NoTens })
    }

    fn problems(json: &str) -> Vec<String> {
        let error = read_it(json).expect_err("refused");
        error.details().iter().map(|d| format!("{}: {}", d.field, d.problem)).collect()
    }

    #[test]
    fn the_legacy_gateways_body_reads_and_null_is_absent() {
        let json = r#"{"name":"user-service","version":"1.0.0","description":"d","base_url":"http://h:1",
            "health_url":"http://h:1/health","metadata":{"team":"backend"},"weight":null}"#;
        let read = read_it(json).expect("valid");
        assert_eq!(read.key().as_str(), "default/user-service");
        assert_eq!(read.instance.as_str(), "default");
        assert_eq!(read.spec.weight, 100);
        assert_eq!(read.spec.metadata["team"], "backend");
    }

    #[test]
    fn every_problem_comes_in_one_answer() {
        let json = r#"{"name":"User_Service","base_url":"nowhere","version":5,"metadata":{"a":1},"weight":-1,
            "zone":"a\u0000","chek":{},"ttl_seconds":9,"check":{"http":{"path":"x"}}}"#;
        insta::assert_debug_snapshot!(problems(json));
    }

    #[test]
    fn missing_and_nested_fields_are_named() {
        insta::assert_debug_snapshot!(problems(r#"{"name":"","check":{"http":{"pathh":"/"}}}"#));
        insta::assert_debug_snapshot!(problems(
            r#"{"name":"a","base_url":"postgres://h:5","check":{"http":{}},"metadata":{"k":"1","k":"2"},"weight":1e4}"#
        ));
    }

    #[test]
    fn only_a_manifest_sets_method_host_and_headers() {
        for set in [r#""method":"HEAD""#, r#""host":"a.example""#, r#""headers":{"x-a":"1"}"#] {
            let json = format!(r#"{{"name":"a","base_url":"http://h","check":{{"http":{{{set}}}}}}}"#);
            assert_eq!(
                problems(&json),
                ["check.http: method, host and headers can be set in a manifest only; leave them out"]
            );
        }
        assert!(read_it(r#"{"name":"a","base_url":"http://h","check":{"http":{"method":"GET"}}}"#).is_ok());
    }

    #[test]
    fn a_denied_address_has_its_own_code() {
        let error = read_it(r#"{"name":"a","base_url":"http://10.0.0.1"}"#).expect_err("refused");
        assert_eq!(error.code, Code::AddressDenied);
        assert_eq!(error.details()[0].field, "base_url");
        let error = read_it(r#"{"name":"","base_url":"http://10.0.0.1"}"#).expect_err("refused");
        assert_eq!(error.code, Code::InvalidPayload);
        assert_eq!(error.details().len(), 2);
    }
}
