//! The JSON form of a check, the same in a registration, an answer and the store:
//! `{"http":{"path":"/healthz"},"interval_seconds":10}`; and its schema, as `/openapi.json` describes it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

use super::kind::{CheckKind, GrpcCheck, HeartbeatCheck, HttpCheck, MAX_PATH};
use super::tls_json::{TlsJson, read_tls};
use super::{Check, CheckTiming, Identity};
use crate::model::request_options::{Method, RequestOptions};
use crate::model::whole_number;

/// The fields of [`CheckJson`].
pub(super) const FIELDS: [&str; 11] = [
    "http",
    "tcp",
    "grpc",
    "heartbeat",
    "readiness",
    "none",
    "interval_seconds",
    "timeout_seconds",
    "retry_interval_seconds",
    "unhealthy_threshold",
    "healthy_threshold",
];

/// How an instance is probed. At most one of `http`, `tcp`, `grpc`, `heartbeat`, `none`; absent, it follows from the health URL.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Check)]
pub struct CheckJson {
    /// A GET whose status decides.
    #[serde(default, deserialize_with = "http", skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = http_schema, required = false)]
    http: Option<HttpJson>,
    /// A TCP connection that opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tcp: Option<Empty>,
    /// `grpc.health.v1.Health/Check` answers SERVING.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grpc: Option<GrpcJson>,
    /// The program reports by itself, at least once within `ttl_seconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    heartbeat: Option<HeartbeatJson>,
    /// Kubernetes reports whether it is ready. Only of an instance that is adopted from a core Service; a registration cannot ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    readiness: Option<Empty>,
    /// Never probed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    none: Option<Empty>,
    /// Time between probes; `HEALTH_CHECK_INTERVAL` when absent.
    #[serde(default, deserialize_with = "whole_number::option", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86400)]
    interval_seconds: Option<u32>,
    /// Time that one probe may take; 5 when absent.
    #[serde(default, deserialize_with = "whole_number::option", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 60)]
    timeout_seconds: Option<u32>,
    /// Time between confirming probes; 1 when absent.
    #[serde(default, deserialize_with = "whole_number::option", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 300)]
    retry_interval_seconds: Option<u32>,
    /// Consecutive fails that make it unhealthy; 3 when absent.
    #[serde(default, deserialize_with = "whole_number::option", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10)]
    unhealthy_threshold: Option<u32>,
    /// Consecutive passes that make it healthy again; 1 when absent.
    #[serde(default, deserialize_with = "whole_number::option", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10)]
    healthy_threshold: Option<u32>,
}

/// `{}`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Nothing)]
struct Empty {}

/// A heartbeat check's own settings.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = HeartbeatCheck)]
struct HeartbeatJson {
    /// Time within which the program reports again.
    #[serde(deserialize_with = "whole_number::required")]
    #[schema(minimum = 1, maximum = 86400)]
    ttl_seconds: u32,
}

/// What proves that the right program answers. Values may contain `$service`, `$instance`, `$namespace` and `$version`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Identity)]
struct IdentityJson {
    /// JSON pointers into the answer's body, with the text that stands there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    json: BTreeMap<String, String>,
    /// Headers of the answer, with their value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    header: BTreeMap<String, String>,
    /// A name in the server's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls_san: Option<String>,
}

/// An http check's own settings.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = HttpCheck)]
pub struct HttpJson {
    /// On the origin of `base_url`, where there is no `health_url`; `/` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Set in manifests only; GET when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^(GET|HEAD)$")]
    method: Option<Method>,
    /// The Host header. Set in manifests only; that of the URL when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// More headers, lower case. Set in manifests only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    headers: BTreeMap<String, String>,
    /// Statuses that pass; 200 to 299 when absent. Redirects are not followed.
    #[serde(default, deserialize_with = "whole_number::list", skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<u16>>, max_items = 16)]
    expected_statuses: Vec<u16>,
    /// For https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<TlsJson>,
    /// What proves that the right program answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<IdentityJson>,
    /// The JSON pointer of the version in the answer's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version_from: Option<String>,
}

/// A grpc check's own settings.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GrpcCheck)]
struct GrpcJson {
    /// The service asked for; empty means the whole server.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(value_type = Option<String>)]
    service: String,
    /// For grpcs and https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<TlsJson>,
}

fn http_schema() -> Schema {
    let path = ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).pattern(Some("^/"));
    let path = path.max_length(Some(MAX_PATH)).description(Some("Sent in a registration: its path alone."));
    // The derives write these two out in full, and an import beside them would count as unneeded.
    let object = utoipa::openapi::Ref::from_schema_name("HttpCheck");
    let check = utoipa::openapi::schema::OneOfBuilder::new().item(object).item(path);
    let check = check.item(ObjectBuilder::new().schema_type(SchemaType::new(Type::Null)));
    Schema::OneOf(check.description(Some("A GET whose status decides.")).build())
}

/// Reads an http check's settings, or only its path.
fn http<'de, D: Deserializer<'de>>(json: D) -> Result<Option<HttpJson>, D::Error> {
    struct Http;

    impl<'de> Visitor<'de> for Http {
        type Value = Option<HttpJson>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object or a path")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E>(self, path: &str) -> Result<Self::Value, E> {
            Ok(Some(HttpJson { path: Some(path.to_owned()), ..HttpJson::default() }))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            HttpJson::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    json.deserialize_any(Http)
}

impl TryFrom<CheckJson> for Check {
    type Error = String;

    fn try_from(json: CheckJson) -> Result<Self, String> {
        let http = json.http.map(|json| json.try_into().map(CheckKind::Http)).transpose()?;
        let grpc = json.grpc.map(|json| json.try_into().map(CheckKind::Grpc)).transpose()?;
        let heartbeat =
            json.heartbeat.map(|HeartbeatJson { ttl_seconds }| CheckKind::Heartbeat(HeartbeatCheck { ttl_seconds }));
        let readiness = json.readiness.map(|_| CheckKind::Readiness);
        let none = json.none.map(|_| CheckKind::None);
        let given = [http, json.tcp.map(|_| CheckKind::Tcp), grpc, heartbeat, readiness, none];
        let mut kinds = given.into_iter().flatten();
        let kind = kinds.next();
        if kinds.next().is_some() {
            return Err(format!("give one of {}", CheckKind::NAMES.join(", ")));
        }
        let check = Self {
            kind,
            timing: CheckTiming {
                interval_seconds: json.interval_seconds,
                timeout_seconds: json.timeout_seconds,
                retry_interval_seconds: json.retry_interval_seconds,
                unhealthy_threshold: json.unhealthy_threshold,
                healthy_threshold: json.healthy_threshold,
            },
        };
        check.accept()?;
        Ok(check)
    }
}

impl TryFrom<HttpJson> for HttpCheck {
    type Error = String;

    fn try_from(json: HttpJson) -> Result<Self, String> {
        let request_options =
            RequestOptions { method: json.method.unwrap_or_default(), host: json.host, headers: json.headers };
        Ok(Self {
            path: json.path,
            request_options,
            expected_statuses: json.expected_statuses,
            tls: read_tls(json.tls)?,
            identity: json.identity.into(),
            version_from: json.version_from,
        })
    }
}

impl TryFrom<GrpcJson> for GrpcCheck {
    type Error = String;

    fn try_from(json: GrpcJson) -> Result<Self, String> {
        Ok(Self { service: json.service, tls: read_tls(json.tls)? })
    }
}

impl From<Option<IdentityJson>> for Identity {
    fn from(json: Option<IdentityJson>) -> Self {
        json.map_or_else(Self::default, |IdentityJson { json, header, tls_san }| {
            // A header's name has no case.
            let header = header.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
            Self { json, header, tls_san }
        })
    }
}

impl From<Identity> for Option<IdentityJson> {
    fn from(identity: Identity) -> Self {
        let Identity { json, header, tls_san } = identity;
        let given = !json.is_empty() || !header.is_empty() || tls_san.is_some();
        given.then_some(IdentityJson { json, header, tls_san })
    }
}

impl From<HttpCheck> for HttpJson {
    fn from(http: HttpCheck) -> Self {
        let RequestOptions { method, host, headers } = http.request_options;
        Self {
            path: http.path,
            method: (method != Method::default()).then_some(method),
            host,
            headers,
            expected_statuses: http.expected_statuses,
            tls: http.tls.into(),
            identity: http.identity.into(),
            version_from: http.version_from,
        }
    }
}

impl From<Check> for CheckJson {
    fn from(check: Check) -> Self {
        let (mut http, mut tcp, mut grpc, mut heartbeat) = (None, None, None, None);
        let (mut readiness, mut none) = (None, None);
        match check.kind {
            Some(CheckKind::Http(h)) => {
                http = Some(h.into());
            }
            Some(CheckKind::Tcp) => tcp = Some(Empty {}),
            Some(CheckKind::Grpc(g)) => grpc = Some(GrpcJson { service: g.service, tls: g.tls.into() }),
            Some(CheckKind::Heartbeat(HeartbeatCheck { ttl_seconds })) => {
                heartbeat = Some(HeartbeatJson { ttl_seconds });
            }
            Some(CheckKind::Readiness) => readiness = Some(Empty {}),
            Some(CheckKind::None) => none = Some(Empty {}),
            None => {}
        }
        Self {
            http,
            tcp,
            grpc,
            heartbeat,
            readiness,
            none,
            interval_seconds: check.timing.interval_seconds,
            timeout_seconds: check.timing.timeout_seconds,
            retry_interval_seconds: check.timing.retry_interval_seconds,
            unhealthy_threshold: check.timing.unhealthy_threshold,
            healthy_threshold: check.timing.healthy_threshold,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::check::Check;

    #[test]
    fn a_check_survives_its_json() {
        for text in [
            r#"{"http":{"path":"/healthz","expected_statuses":[204]},"interval_seconds":10}"#,
            r#"{"http":{"method":"HEAD","host":"a.example","headers":{"x-probe":"1"},"tls":{"server_name":"a"}}}"#,
            r#"{"tcp":{}}"#,
            r#"{"grpc":{"service":"a.B","tls":{"verify":false,"ca":"corp.pem","client_cert":"probe"}},"unhealthy_threshold":2}"#,
            r#"{"http":{"identity":{"json":{"/name":"$service"},"header":{"x-service":"a"},"tls_san":"a"},"version_from":"/v"}}"#,
            r#"{"http":{"tls":{"ca_from":{"config_map":"corp-ca","key":"all.pem"},"client_cert_from":{"secret":"probe"}}}}"#,
            r#"{"grpc":{"tls":{"ca_from":{"secret":"db-tls"}}}}"#,
            r#"{"heartbeat":{"ttl_seconds":30},"unhealthy_threshold":2}"#,
            r#"{"none":{}}"#,
            "{}",
        ] {
            let check: Check = serde_json::from_str(text).expect(text);
            assert_eq!(serde_json::to_string(&check).expect("serializes"), text);
        }
    }

    #[test]
    fn the_list_of_fields_is_the_derived_one() {
        let error = serde_json::from_str::<Check>(r#"{"?":1}"#).expect_err("unknown").to_string();
        let known: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(known, super::FIELDS);
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let text = r#"{"http":{"expected_statuses":[200.0,2.04e2]},"interval_seconds":10.0,"timeout_seconds":2e0}"#;
        let check: Check = serde_json::from_str(text).expect("a check");
        assert_eq!((check.timing.interval_seconds, check.timing.timeout_seconds), (Some(10), Some(2)));
        let written = serde_json::to_string(&check).expect("serializes");
        assert_eq!(written, r#"{"http":{"expected_statuses":[200,204]},"interval_seconds":10,"timeout_seconds":2}"#);
    }

    #[test]
    fn an_http_check_may_be_only_its_path() {
        let read = |text: &str| serde_json::from_str::<Check>(text).expect(text);
        let check = read(r#"{"http":"/healthz?deep=1","interval_seconds":5}"#);
        assert_eq!(check, read(r#"{"http":{"path":"/healthz?deep=1"},"interval_seconds":5}"#));
        assert_eq!(
            serde_json::to_string(&check).expect("serializes"),
            r#"{"http":{"path":"/healthz?deep=1"},"interval_seconds":5}"#
        );
        assert_eq!(read(r#"{"http":null}"#), Check::default());
        for wrong in [r#"{"http":"healthz"}"#, r#"{"http":""}"#, r#"{"http":7}"#, r#"{"http":["/"]}"#, r#"{"tcp":"/"}"#]
        {
            assert!(serde_json::from_str::<Check>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn refusals_name_the_field() {
        for (text, word) in [
            (r#"{"http":{},"tcp":{}}"#, "one of"),
            (r#"{"interval_seconds":0}"#, "interval_seconds"),
            (r#"{"http":{"path":"healthz"}}"#, "http.path"),
            (r#"{"http":"/a b"}"#, "http.path contains a space unescaped (character 3); write it as %20"),
            (r#"{"http":"/\u00e4"}"#, "write it as %C3%A4"),
            (r#"{"http":{"tls":{"ca":"../secret"}}}"#, "tls.ca"),
            (r#"{"http":{"tls":{"client_cert":"../secret"}}}"#, "tls.client_cert"),
            (r#"{"http":{"tls":{"ca_from":{"config_map":"../secret"}}}}"#, "tls.ca_from"),
            (r#"{"http":{"tls":{"ca_from":{}}}}"#, "either a config_map or a secret"),
            (r#"{"http":{"tls":{"ca_from":{"config_map":"a","secret":"a"}}}}"#, "either a config_map or a secret"),
            (r#"{"http":{"tls":{"ca_from":{"config_map":"a","namespace":"b"}}}}"#, "namespace"),
            (r#"{"http":{"tls":{"ca":"a","ca_from":{"config_map":"a"}}}}"#, "not both"),
            (r#"{"grpc":{"tls":{"client_cert":"a","client_cert_from":{"secret":"a"}}}}"#, "not both"),
            (r#"{"http":{"headers":{"cookie":"a"}}}"#, "cookie"),
            (r#"{"http":{"method":"POST"}}"#, "POST"),
            (r#"{"htpp":{}}"#, "htpp"),
        ] {
            let error = serde_json::from_str::<Check>(text).expect_err(text).to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
