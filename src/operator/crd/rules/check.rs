//! Rules of one check: its kinds, its request, and what proves that the right program answers.

use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use super::{PLAIN, at, listed, rule};
use crate::model::check::{CheckKind, MAX_DEMANDED_HEADER, MAX_DEMANDED_VALUE, MAX_DEMANDS, MAX_POINTER};
use crate::model::request_options::{FORBIDDEN_PARTS, FRAMING};

/// A JSON pointer ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)), without the characters that [`PLAIN`] refuses.
pub(in crate::operator::crd) const POINTER: &str = concat!(
    r"^(/([^/~\x00-\x1f\x7f-\x9f\x{61c}\x{200b}\x{200e}\x{200f}\x{2028}-\x{202e}",
    r"\x{2060}-\x{206f}\x{feff}\x{fff9}-\x{fffb}\x{e0000}-\x{e007f}]|~[01])*)*$"
);

/// The name of a ConfigMap or Secret: an RFC 1123 subdomain.
pub(in crate::operator::crd) const OBJECT: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// On a check.
pub(in crate::operator::crd) fn check() -> Value {
    json!([one_kind()])
}

fn one_kind() -> Value {
    let given: Vec<String> = CheckKind::NAMES.iter().map(|kind| format!("has(self.{kind})")).collect();
    rule(
        &format!("[{}].filter(given, given).size() <= 1", given.join(", ")),
        &format!("name one kind of check: {}", listed(CheckKind::NAMES, "or")),
    )
}

/// On a check with a name.
pub(in crate::operator::crd) fn named_check() -> Value {
    json!([
        one_kind(),
        at(
            ".name",
            "self.name != 'default'",
            "default is the name of the plain check; give this one another name, or write it as check"
        ),
        at(
            ".url",
            "!has(self.url) || !has(self.http) || !has(self.http.path)",
            "give either url or http.path, not both: a url has its path"
        ),
    ])
}

/// On an http check.
pub(in crate::operator::crd) fn http() -> Value {
    json!([at(
        ".method",
        "!has(self.method) || self.method == 'GET' || !(has(self.versionFrom) || (has(self.identity) && has(self.identity.json)))",
        "identity.json and versionFrom need an answer with a body; leave method out"
    )])
}

/// On the TLS settings of a check.
pub(in crate::operator::crd) fn tls() -> Value {
    let not_both = |one: &str, from: &str| {
        at(
            &format!(".{from}"),
            &format!("!has(self.{one}) || !has(self.{from})"),
            &format!(
                "give either {one}, a name in Portolan's own folder, or {from}, an object of this namespace; not both"
            ),
        )
    };
    json!([not_both("ca", "caFrom"), not_both("clientCert", "clientCertFrom")])
}

/// On where a CA bundle is.
pub(in crate::operator::crd) fn ca_from() -> Value {
    json!([rule("has(self.configMap) != has(self.secret)", "name either a configMap or a secret of this namespace")])
}

/// On an identity.
pub(in crate::operator::crd) fn identity() -> Value {
    let count = |field: &str| format!("(has(self.{field}) ? self.{field}.size() : 0)");
    let all = format!("{} + {} + (has(self.tlsSan) ? 1 : 0)", count("json"), count("header"));
    json!([
        rule(
            "has(self.json) || has(self.header) || has(self.tlsSan)",
            "name at least one of json, header and tlsSan: without any, every program would pass"
        ),
        rule(&format!("{all} <= {MAX_DEMANDS}"), &format!("an identity has at most {MAX_DEMANDS} demands in all")),
    ])
}

/// JSON pointers with their texts.
pub(in crate::operator::crd) fn identity_json(_: &mut schemars::SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": MAX_DEMANDS,
        "additionalProperties": { "type": "string", "minLength": 1, "maxLength": MAX_DEMANDED_VALUE, "pattern": PLAIN },
        "x-kubernetes-validations": [rule(
            &format!("self.all(key, bytes(key).size() <= {MAX_POINTER} && key.matches(r'{POINTER}'))"),
            &format!("a key is a JSON pointer of at most {MAX_POINTER} bytes that begins with '/', such as /build/name")
        )],
    })
}

/// Headers with their values.
pub(in crate::operator::crd) fn identity_header(_: &mut schemars::SchemaGenerator) -> Schema {
    let token = format!("^[A-Za-z0-9!#$%&'*+.^_`|~-]{{1,{MAX_DEMANDED_HEADER}}}$");
    json_schema!({
        "type": "object",
        "maxProperties": MAX_DEMANDS,
        "additionalProperties": { "type": "string", "minLength": 1, "maxLength": MAX_DEMANDED_VALUE, "pattern": "^[ -~]*$" },
        "x-kubernetes-validations": [
            rule(
                &format!("self.all(key, key.matches(r\"{token}\"))"),
                &format!("a key is the name of a header, of 1 to {MAX_DEMANDED_HEADER} characters, such as X-Service")
            ),
            rule(
                "self.all(a, self.exists_one(b, b.lowerAscii() == a.lowerAscii()))",
                "a header is given twice, since upper and lower case make no difference in its name; keep one"
            ),
        ],
    })
}

/// On the headers of an http check, whose names are compared without regard to case.
pub(in crate::operator::crd) fn headers() -> Value {
    json!([rule(
        "self.all(h, self.exists_one(other, other.name.lowerAscii() == h.name.lowerAscii()))",
        "a header is given twice, since upper and lower case make no difference in its name; keep one"
    )])
}

/// On one header of an http check.
pub(in crate::operator::crd) fn header() -> Value {
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
