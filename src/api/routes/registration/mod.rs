//! The body of a register call: the legacy gateway's fields and Portolan's own; one answer names every problem.
//!
//! In: the bytes. Out: a [`Registration`], or the refusal. [`checks`] reads how the instance is checked; everything else is here.

mod checks;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use crate::api::http::envelope::{ApiError, Code, Detail};
use crate::api::http::json::{self, Fields};
use crate::model::check::AnyCheck;
use crate::model::name::{InstanceName, Namespace, ServiceName};
use crate::model::namespace_policy::{PolicyInForce, Ruling};
use crate::model::ports::{AddressGate, Registration};
use crate::model::registration::derived_name;
use crate::model::service::{
    DEFAULT_WEIGHT, DEREGISTER_AFTER, InstanceSpec, MAX_DESCRIPTION, MAX_EXTERNAL_ID, MAX_METADATA, MAX_METADATA_KEY,
    MAX_METADATA_VALUE, MAX_TAG, MAX_TAGS, MAX_VERSION, MAX_WEIGHT, MAX_ZONE,
};
use crate::model::text;
use crate::model::url::EndpointUrl;
use crate::model::value_error::ValueError;
use crate::model::whole_number::WholeNumber;
use checks::Checks;

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
    "checks",
    "ttl_seconds",
    "deregister_after_seconds",
    "tags",
    "external_id",
];

/// What a body is judged by.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    /// The namespace where none is given.
    pub(super) namespace: &'a Namespace,
    /// What may be probed.
    pub(super) addresses: &'a dyn AddressGate,
}

/// Reads a register request.
///
/// # Errors
/// 400 `invalid_payload`, or `address_denied` where the address policy alone refuses it; `details` name each problem. 503 `unavailable` while
/// the policy cannot judge a URL.
pub(super) fn read(bytes: &[u8], rules: Rules<'_>) -> Result<Registration, ApiError> {
    let mut fields = Fields::read(bytes)?;
    let namespace: Option<Namespace> = label(&mut fields, "namespace");
    let instance: Option<InstanceName> = label(&mut fields, "instance");
    let service = required(&mut fields, "name", "the service's name").and_then(|name| {
        let read = name.parse::<ServiceName>();
        fields.check("name", read)
    });
    let spec = spec(&mut fields);
    fields.end(FIELDS, |_| None);
    let denied = spec.as_ref().map_or_else(Vec::new, |spec| denied(spec, |url| rules.addresses.admit(url)));
    let mut problems = fields.problems();
    let only_denied = problems.is_empty();
    problems.extend(denied);
    match (service, spec) {
        (Some(service), Some(spec)) if problems.is_empty() => {
            decided(&spec, rules.addresses)?;
            let external_id = spec.external_id.as_deref();
            let derived = instance.is_none() && external_id.is_some();
            let instance = instance.or_else(|| external_id.map(derived_name)).unwrap_or_default();
            let namespace = namespace.unwrap_or_else(|| rules.namespace.clone());
            Ok(Registration { namespace, service, instance, derived, spec })
        }
        _ => {
            let mut error = json::invalid(problems);
            if only_denied {
                error.code = Code::AddressDenied;
            }
            Err(error)
        }
    }
}

/// Requires that each URL can be judged now.
fn decided(spec: &InstanceSpec, addresses: &dyn AddressGate) -> Result<(), ApiError> {
    let undecided = denied(spec, |url| addresses.undecided(url).map_or(Ok(()), Err));
    let Some(first) = undecided.first() else { return Ok(()) };
    let error = ApiError::new(Code::Unavailable, first.to_string()).retry_after(1);
    Err(undecided.into_iter().fold(error, ApiError::detail))
}

/// Reads a register call that did not come over HTTP, by the same rules.
///
/// # Errors
/// What is wrong, field by field.
pub fn read_registration(
    json: &[u8],
    namespace: &Namespace,
    addresses: &dyn AddressGate,
) -> Result<Registration, Vec<Detail>> {
    read(json, Rules { namespace, addresses }).map_err(|error| error.details().to_vec())
}

/// Refuses what the policies of the namespace do not allow.
///
/// # Errors
/// 400 `address_denied` where only their networks refuse it, else `invalid_payload`; `details` name each field and policy.
pub(super) fn accept_policy(spec: &InstanceSpec, ruling: &Ruling) -> Result<(), ApiError> {
    let Some(policy) = ruling.policy() else { return Ok(()) };
    let beyond: Vec<Detail> = spec.all_checks().flat_map(|any| excesses(policy, &any)).collect();
    let only_denied = beyond.is_empty();
    let denied = denied(spec, |url| policy.admit_url(url));
    if only_denied && denied.is_empty() {
        return Ok(());
    }
    let mut error = json::invalid(beyond.into_iter().chain(denied));
    if only_denied {
        error.code = Code::AddressDenied;
    }
    Err(error)
}

fn excesses(policy: &PolicyInForce, any: &AnyCheck<'_>) -> Vec<Detail> {
    let at = any.name.map_or_else(|| "check".to_owned(), |name| format!("checks.{name}"));
    let excesses = policy.excesses(any.check).into_iter();
    excesses.map(|excess| Detail::new(format!("{at}.{}", excess.field), excess.to_string())).collect()
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
fn spec(fields: &mut Fields<'_>) -> Option<InstanceSpec> {
    let base_url =
        required(fields, "base_url", "the address where the service is reached, such as http://10.0.0.5:8080");
    let base_url = base_url.and_then(|text| fields.check("base_url", EndpointUrl::base(&text)));
    let health_url: String = fields.take("health_url").unwrap_or_default();
    let health_url = (!health_url.is_empty()).then(|| fields.check("health_url", EndpointUrl::health(&health_url)));
    let checks = Checks::take(fields, health_url.is_some());
    let version = bounded(fields, "version", MAX_VERSION);
    let description = bounded(fields, "description", MAX_DESCRIPTION);
    let zone = bounded(fields, "zone", MAX_ZONE);
    let metadata = fields.take("metadata").map(|Metadata(map)| map).unwrap_or_default();
    check_metadata(fields, &metadata);
    let weight = weight(fields);
    let tags = tags(fields);
    let external_id = external_id(fields);
    let deregister_after_seconds = whole(fields, "deregister_after_seconds", DEREGISTER_AFTER, "");
    let base_url = base_url?;
    let health_url = match health_url {
        Some(None) => return None,
        given => given.flatten(),
    };
    let spec = InstanceSpec {
        base_url,
        health_url,
        check: checks.plain,
        checks: checks.named,
        tags,
        external_id,
        deregister_after_seconds,
        version,
        description,
        metadata,
        weight,
        zone,
    };
    checks::fit(fields, &spec, &checks.places);
    Some(spec)
}

fn weight(fields: &mut Fields<'_>) -> u16 {
    whole(fields, "weight", 0..=MAX_WEIGHT, "; 0 drains the instance").unwrap_or(DEFAULT_WEIGHT)
}

/// A whole number within a range, in every notation; `more` follows the sentence about a wrong one.
fn whole<T: TryFrom<u64> + PartialOrd + fmt::Display + Copy>(
    fields: &mut Fields<'_>,
    field: &str,
    range: RangeInclusive<T>,
    more: &str,
) -> Option<T> {
    let given: serde_json::Number = fields.take(field)?;
    let number = WholeNumber::deserialize(&given).ok().and_then(|WholeNumber(n)| T::try_from(n).ok());
    let number = number.filter(|n| range.contains(n)).ok_or_else(|| {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        ValueError::new(format!("is {given}, not {expected}{more}")).expecting(expected)
    });
    fields.check(field, number)
}

fn tags(fields: &mut Fields<'_>) -> Vec<String> {
    let tags: Vec<String> = fields.take("tags").unwrap_or_default();
    if tags.len() > MAX_TAGS {
        fields.problem("tags", format!("has {} entries, more than {MAX_TAGS}", tags.len()));
    }
    for (at, tag) in tags.iter().take(MAX_TAGS).enumerate() {
        let field = format!("tags.[{at}]");
        if tags.iter().take(at).any(|before| before == tag) {
            fields.problem(&field, "is given twice");
        } else {
            fields.check(&field, sized(tag, MAX_TAG));
        }
    }
    tags
}

fn external_id(fields: &mut Fields<'_>) -> Option<String> {
    let id: String = fields.take("external_id")?;
    fields.check("external_id", sized(&id, MAX_EXTERNAL_ID)).map(|()| id)
}

/// A text of 1 to `max` bytes.
fn sized(text: &str, max: usize) -> Result<(), ValueError> {
    if !(1..=max).contains(&text.len()) {
        return Err(
            ValueError::new(format!("has {} bytes, not 1 to {max}", text.len())).expecting(format!("1 to {max} bytes"))
        );
    }
    text::accept(text, max).map_err(Into::into)
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

fn denied(spec: &InstanceSpec, admit: impl Fn(&EndpointUrl) -> Result<(), String>) -> Vec<Detail> {
    let urls = [("base_url".to_owned(), Some(&spec.base_url)), ("health_url".to_owned(), spec.health_url.as_ref())];
    let named = spec.checks.iter().map(|named| (format!("checks.{}.url", named.name), named.url.as_ref()));
    let judged = urls.into_iter().chain(named).filter_map(|(field, url)| Some((field, admit(url?).err()?)));
    judged.map(|(field, why)| Detail::new(&field, why)).collect()
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
pub(super) mod tests {
    use super::*;

    struct NoTens;

    impl AddressGate for NoTens {
        fn admit(&self, url: &EndpointUrl) -> Result<(), String> {
            if url.host().to_string().starts_with("10.") { Err("not 10/8".to_owned()) } else { Ok(()) }
        }

        fn undecided(&self, url: &EndpointUrl) -> Option<String> {
            url.host().to_string().starts_with("11.").then(|| "11/8 cannot be judged now".to_owned())
        }
    }

    pub(super) fn read_it(json: &str) -> Result<Registration, ApiError> {
        let namespace = Namespace::default();
        read(json.as_bytes(), Rules { namespace: &namespace, addresses: &NoTens })
    }

    pub(super) fn problems(json: &str) -> Vec<String> {
        let error = read_it(json).expect_err("refused");
        error.details().iter().map(ToString::to_string).collect()
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
            "zone":"a\u0000","chek":{},"ttl_seconds":0,"check":{"http":{"path":"x"}},"tags":["a","","a"],"external_id":"",
            "deregister_after_seconds":59}"#;
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
    fn only_a_manifest_names_certificates_of_its_namespace() {
        let own = r#""tls":{"ca_from":{"config_map":"corp-ca"}}"#;
        let pair = r#""tls":{"client_cert_from":{"secret":"probe"}}"#;
        let wrong = "tls: ca_from and client_cert_from can be set in a manifest only, whose writer has rights in its namespace; leave them out";
        for (kind, place, checks) in [
            ("http", "check", format!(r#""check":{{"http":{{{own}}}}}"#)),
            ("grpc", "check", format!(r#""check":{{"grpc":{{{pair}}}}}"#)),
            ("http", "checks.[0]", format!(r#""checks":[{{"name":"b","http":{{{pair}}}}}]"#)),
        ] {
            let json = format!(r#"{{"name":"a","base_url":"https://h",{checks}}}"#);
            assert_eq!(problems(&json), [format!("{place}.{kind}.{wrong}")]);
        }
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

    #[test]
    fn a_url_that_cannot_be_judged_now_may_be_registered_later() {
        let mut error =
            read_it(r#"{"name":"a","base_url":"http://h","health_url":"http://11.0.0.1"}"#).expect_err("refused");
        assert_eq!((error.code, error.details().len()), (Code::Unavailable, 1));
        assert_eq!(error.message, "health_url: 11/8 cannot be judged now");
        assert!(error.headers_mut().contains_key("retry-after"));
        let error = read_it(r#"{"name":"","base_url":"http://11.0.0.1"}"#).expect_err("refused");
        assert_eq!(error.code, Code::InvalidPayload, "what cannot become right is named first");
    }
}
