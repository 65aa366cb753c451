//! `check`: how an instance is probed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// How an instance is probed.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::check()))]
pub struct CheckSpec {
    /// Sends an HTTP request and judges its status. Name one of http, tcp, grpc and none; without one, the scheme of healthUrl
    /// decides, and without healthUrl it is tcp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSpec>,
    /// Opens a TCP connection, to healthUrl's port where there is one, else to baseUrl's. It has no settings: write tcp: {}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<EmptySpec>,
    /// Asks the gRPC health service, grpc.health.v1.Health, which has to answer SERVING.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcSpec>,
    /// Does not probe at all: write none: {}. The instance is always offered to clients, and shown as not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none: Option<EmptySpec>,
    /// Seconds between two probes, 1 to 86400. Left out, Portolan's HEALTH_CHECK_INTERVAL, which is 30 unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub interval_seconds: Option<i32>,
    /// Seconds that one probe may take, 1 to 60. Left out, 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60))]
    pub timeout_seconds: Option<i32>,
    /// Seconds between the probes that confirm a change, 1 to 300 and at most the interval. Left out, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub retry_interval_seconds: Option<i32>,
    /// How many probes in a row have to fail before an instance counts as unhealthy, 1 to 10. Left out, 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub unhealthy_threshold: Option<i32>,
    /// How many probes in a row have to pass before an unhealthy instance counts as healthy again, 1 to 10. Left out, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub healthy_threshold: Option<i32>,
}

/// Nothing to set.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EmptySpec {}

/// An http check's settings.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct HttpSpec {
    /// The path, with a query if need be, asked for at baseUrl's host and port. Left out, /. For another host or port give a
    /// healthUrl instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^/[\x21\x22\x24-\x7e]*$"))]
    pub path: Option<String>,
    /// GET or HEAD. Left out, GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::method")]
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

/// How a server's certificate is judged.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct TlsSpec {
    /// Whether the certificate is verified at all. Left out, true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<bool>,
    /// The name expected in the certificate, and sent in the handshake, instead of the URL's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[A-Za-z0-9._:-]+$"))]
    pub server_name: Option<String>,
    /// The name of a file in Portolan's PORTOLAN_CA_DIR with the authority to trust instead of the system's; never a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    pub ca: Option<String>,
    /// The name of a pair in PORTOLAN_CA_DIR to show to a server that asks for a client certificate: NAME.crt with NAME.key, or one
    /// PEM file of that name with both; never a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 251), regex(pattern = "^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    pub client_cert: Option<String>,
}
