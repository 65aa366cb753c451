//! `check`: how an instance is probed, and how that is read into the model's check and written from it.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::identity::{IdentitySpec, identity_spec, read_identity};
use super::rules;
use super::tls::{TlsSpec, read_tls, tls_spec};
use crate::model::check::{
    Check, CheckKind, CheckTiming, GrpcCheck, HeartbeatCheck, HttpCheck, INTERVAL, MAX_POINTER, RETRY_INTERVAL,
    THRESHOLD, TIMEOUT, TTL,
};
use crate::model::request_options::{self, RequestOptions};

/// How an instance is probed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::check()))]
pub struct CheckSpec {
    /// Sends an HTTP request and judges its status. Name one of http, tcp, grpc, heartbeat and none; without one, the scheme of
    /// the URL decides: that of healthUrl, and without healthUrl it is tcp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSpec>,
    /// Opens a TCP connection, to healthUrl's port where there is one, else to baseUrl's. It has no settings: write tcp: {}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<EmptySpec>,
    /// Asks the gRPC health service, grpc.health.v1.Health, which has to answer SERVING.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcSpec>,
    /// Waits for the program to report by itself, by PUT /api/v1/services/ID/instances/NAME/heartbeat. Silent for longer than
    /// ttlSeconds, it is unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<HeartbeatSpec>,
    /// Does not probe at all: write none: {}. The instance is always offered to clients, and shown as not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<EmptySpec>,
    /// Seconds between two probes, 1 to 86400. Left out, Portolan's HEALTH_CHECK_INTERVAL, which is 30 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *INTERVAL.start(), max = *INTERVAL.end()))]
    pub interval_seconds: Option<i32>,
    /// Seconds that one probe may take, 1 to 60. Left out, 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *TIMEOUT.start(), max = *TIMEOUT.end()))]
    pub timeout_seconds: Option<i32>,
    /// Seconds between the probes that confirm a change, 1 to 300 and at most the interval. Left out, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *RETRY_INTERVAL.start(), max = *RETRY_INTERVAL.end()))]
    pub retry_interval_seconds: Option<i32>,
    /// How many probes in a row have to fail before an instance counts as unhealthy, 1 to 10. Left out, 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *THRESHOLD.start(), max = *THRESHOLD.end()))]
    pub unhealthy_threshold: Option<i32>,
    /// How many probes in a row have to pass before an unhealthy instance counts as healthy again, 1 to 10. Left out, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = *THRESHOLD.start(), max = *THRESHOLD.end()))]
    pub healthy_threshold: Option<i32>,
}

/// Nothing to set.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EmptySpec {}

/// An http check's settings.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::http()))]
pub struct HttpSpec {
    /// The path, with a query if need be, asked for at baseUrl's host and port. Left out, /. For another host or port give a
    /// healthUrl instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^/[\x21\x22\x24-\x7e]*$"))]
    pub path: Option<String>,
    /// GET or HEAD. Left out, GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "method_schema")]
    pub method: Option<Method>,
    /// The Host header, where the server goes by another name than its address, with a port if need be. Left out, host and port
    /// of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[A-Za-z0-9._:\[\]-]+$"))]
    pub host: Option<String>,
    /// More headers, at most 8, such as X-Forwarded-Proto: https. Headers that carry credentials are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["name"],
            "x-kubernetes-validations" = rules::headers()
        )
    )]
    pub headers: Vec<HeaderSpec>,
    /// The statuses that pass, at most 16 from 100 to 599. Left out, 200 to 299. Redirects are not followed: name the page itself, or
    /// let 302 pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 100, max = 599)), extend("x-kubernetes-list-type" = "atomic"))]
    pub expected_statuses: Vec<i32>,
    /// How the certificate of an https server is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// What proves that the right program answers, besides its status. Another program at the same address fails with
    /// WrongIdentity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentitySpec>,
    /// Where the answer's JSON names the version that runs, as a JSON pointer such as /build/version. Another one than the
    /// instance's version is shown as a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_POINTER), regex(pattern = rules::POINTER))]
    pub version_from: Option<String>,
}

/// The methods of an http check.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// The body comes too.
    Get,
    /// The head alone.
    Head,
}

/// One header of an http check.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[schemars(extend("x-kubernetes-validations" = rules::header()))]
pub struct HeaderSpec {
    /// Its name, in any case.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    pub name: String,
    /// Its value: visible ASCII characters and spaces.
    #[schemars(length(max = 256), regex(pattern = "^[ -~]*$"))]
    pub value: String,
}

/// A heartbeat check's settings.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatSpec {
    /// Seconds within which the program reports again, 1 to 86400.
    #[schemars(range(min = *TTL.start(), max = *TTL.end()))]
    pub ttl_seconds: i32,
}

/// A grpc check's settings.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct GrpcSpec {
    /// The service asked for, such as shop.v1.Orders. Left out, the server as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255), regex(pattern = rules::PLAIN))]
    pub service: Option<String>,
    /// How the certificate of a grpcs server is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
}

/// Reads a check.
///
/// # Errors
/// A sentence that names the first field that is wrong, and what it may hold.
pub fn read_check(spec: &CheckSpec) -> Result<Check, String> {
    let http = spec.http.as_ref().map(|http| read_http(http).map(CheckKind::Http)).transpose()?;
    let tcp = spec.tcp.map(|_| CheckKind::Tcp);
    let grpc = spec.grpc.as_ref().map(|grpc| read_grpc(grpc).map(CheckKind::Grpc)).transpose()?;
    let heartbeat = spec.heartbeat.map(read_heartbeat).transpose()?.map(CheckKind::Heartbeat);
    let none = spec.none.map(|_| CheckKind::None);
    let mut kinds = [http, tcp, grpc, heartbeat, none].into_iter().flatten();
    let kind = kinds.next();
    if kinds.next().is_some() {
        return Err(format!("name one of {}", rules::listed(CheckKind::NAMES, "and")));
    }
    let check = Check {
        kind,
        timing: CheckTiming {
            interval_seconds: count("intervalSeconds", spec.interval_seconds)?,
            timeout_seconds: count("timeoutSeconds", spec.timeout_seconds)?,
            retry_interval_seconds: count("retryIntervalSeconds", spec.retry_interval_seconds)?,
            unhealthy_threshold: count("unhealthyThreshold", spec.unhealthy_threshold)?,
            healthy_threshold: count("healthyThreshold", spec.healthy_threshold)?,
        },
    };
    check.accept()?;
    Ok(check)
}

/// A number in the model's type.
fn count<T: TryFrom<i32>>(field: &str, value: Option<i32>) -> Result<Option<T>, String> {
    value.map(|n| T::try_from(n).map_err(|_| format!("{field} is {n}, which is out of range"))).transpose()
}

fn read_http(spec: &HttpSpec) -> Result<HttpCheck, String> {
    let statuses = spec.expected_statuses.iter().map(|status| count("http.expectedStatuses", Some(*status)));
    let mut headers = BTreeMap::new();
    for header in &spec.headers {
        if headers.insert(header.name.to_ascii_lowercase(), header.value.clone()).is_some() {
            return Err(format!("http.headers: {} is given twice", header.name.escape_default()));
        }
    }
    let method = match spec.method {
        None | Some(Method::Get) => request_options::Method::Get,
        Some(Method::Head) => request_options::Method::Head,
    };
    Ok(HttpCheck {
        path: spec.path.clone(),
        request_options: RequestOptions { method, host: spec.host.clone(), headers },
        expected_statuses: statuses.filter_map(Result::transpose).collect::<Result<_, _>>()?,
        tls: read_tls(spec.tls.as_ref())?,
        identity: spec.identity.as_ref().map(read_identity).transpose()?.unwrap_or_default(),
        version_from: spec.version_from.clone(),
    })
}

fn read_heartbeat(spec: HeartbeatSpec) -> Result<HeartbeatCheck, String> {
    let ttl_seconds = count("heartbeat.ttlSeconds", Some(spec.ttl_seconds))?.unwrap_or(0);
    Ok(HeartbeatCheck { ttl_seconds })
}

fn read_grpc(spec: &GrpcSpec) -> Result<GrpcCheck, String> {
    let tls = read_tls(spec.tls.as_ref())?;
    Ok(GrpcCheck { service: spec.service.clone().unwrap_or_default(), tls })
}

/// Writes a check; none for the default one. The inverse of [`read_check`].
pub fn check_spec(check: &Check) -> Option<CheckSpec> {
    if *check == Check::default() {
        return None;
    }
    let timing = &check.timing;
    let mut spec = CheckSpec {
        interval_seconds: number(timing.interval_seconds),
        timeout_seconds: number(timing.timeout_seconds),
        retry_interval_seconds: number(timing.retry_interval_seconds),
        unhealthy_threshold: number(timing.unhealthy_threshold),
        healthy_threshold: number(timing.healthy_threshold),
        ..CheckSpec::default()
    };
    match &check.kind {
        Some(CheckKind::Http(http)) => spec.http = Some(http_spec(http)),
        Some(CheckKind::Tcp) => spec.tcp = Some(EmptySpec {}),
        Some(CheckKind::Grpc(grpc)) => spec.grpc = Some(grpc_spec(grpc)),
        Some(CheckKind::Heartbeat(HeartbeatCheck { ttl_seconds })) => {
            spec.heartbeat = number(Some(*ttl_seconds)).map(|ttl_seconds| HeartbeatSpec { ttl_seconds });
        }
        Some(CheckKind::None) => spec.none = Some(EmptySpec {}),
        // Only adopted instances have it, and those are never written.
        Some(CheckKind::Readiness) | None => {}
    }
    Some(spec)
}

/// The model's bounds lie far below 2^31.
fn number(value: Option<u32>) -> Option<i32> {
    value.map(|n| i32::try_from(n).unwrap_or(i32::MAX))
}

fn http_spec(http: &HttpCheck) -> HttpSpec {
    let RequestOptions { method, host, headers } = &http.request_options;
    HttpSpec {
        path: http.path.clone(),
        method: (*method == request_options::Method::Head).then_some(Method::Head),
        host: host.clone(),
        headers: headers.iter().map(|(name, value)| HeaderSpec { name: name.clone(), value: value.clone() }).collect(),
        expected_statuses: http.expected_statuses.iter().copied().map(i32::from).collect(),
        tls: tls_spec(&http.tls),
        identity: identity_spec(&http.identity),
        version_from: http.version_from.clone(),
    }
}

fn grpc_spec(grpc: &GrpcCheck) -> GrpcSpec {
    GrpcSpec { service: (!grpc.service.is_empty()).then(|| grpc.service.clone()), tls: tls_spec(&grpc.tls) }
}

/// An http check's method.
fn method_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": [Method::Get, Method::Head] })
}
