//! The JSON form of a check, the same in a registration, an answer and the store:
//! `{"http":{"path":"/healthz"},"interval_seconds":10}`.

use serde::{Deserialize, Serialize};

use super::check::{Check, CheckKind, GrpcCheck, HttpCheck, TlsCheck};
use super::text;

/// Most statuses in `expected_statuses`.
const MAX_STATUSES: usize = 16;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    http: Option<HttpJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tcp: Option<Empty>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grpc: Option<GrpcJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    none: Option<Empty>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interval_seconds: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_seconds: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_interval_seconds: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unhealthy_threshold: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    healthy_threshold: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    expected_statuses: Vec<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<TlsJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GrpcJson {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<TlsJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verify: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
}

fn within(field: &str, value: Option<u32>, range: std::ops::RangeInclusive<u32>) -> Result<(), String> {
    match value {
        Some(v) if !range.contains(&v) => Err(format!("{field} is {v}, expected {} to {}", range.start(), range.end())),
        _ => Ok(()),
    }
}

impl TryFrom<CheckJson> for Check {
    type Error = String;

    fn try_from(json: CheckJson) -> Result<Self, String> {
        within("interval_seconds", json.interval_seconds, 1..=86_400)?;
        within("timeout_seconds", json.timeout_seconds, 1..=60)?;
        within("retry_interval_seconds", json.retry_interval_seconds, 1..=300)?;
        within("unhealthy_threshold", json.unhealthy_threshold, 1..=10)?;
        within("healthy_threshold", json.healthy_threshold, 1..=10)?;
        let http = json.http.map(http_kind).transpose()?;
        let grpc = json.grpc.map(grpc_kind).transpose()?;
        let given = [http, json.tcp.map(|_| CheckKind::Tcp), grpc, json.none.map(|_| CheckKind::None)];
        let mut kinds = given.into_iter().flatten();
        let kind = kinds.next();
        if kinds.next().is_some() {
            return Err("give one of http, tcp, grpc, none".to_owned());
        }
        Ok(Self {
            kind,
            interval_seconds: json.interval_seconds,
            timeout_seconds: json.timeout_seconds,
            retry_interval_seconds: json.retry_interval_seconds,
            unhealthy_threshold: json.unhealthy_threshold,
            healthy_threshold: json.healthy_threshold,
        })
    }
}

fn http_kind(json: HttpJson) -> Result<CheckKind, String> {
    if let Some(path) = &json.path {
        let visible =
            path.starts_with('/') && path.len() <= 512 && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !visible {
            return Err("http.path starts with '/', and is at most 512 visible ASCII characters without '#'".to_owned());
        }
    }
    if json.expected_statuses.len() > MAX_STATUSES || json.expected_statuses.iter().any(|s| !(100..=599).contains(s)) {
        return Err(format!("http.expected_statuses holds at most {MAX_STATUSES} statuses from 100 to 599"));
    }
    let tls = json.tls.map(tls_check).transpose()?.unwrap_or_default();
    Ok(CheckKind::Http(HttpCheck { path: json.path, expected_statuses: json.expected_statuses, tls }))
}

fn grpc_kind(json: GrpcJson) -> Result<CheckKind, String> {
    text::accept(&json.service, 255).map_err(|e| format!("grpc.service: {e}"))?;
    let tls = json.tls.map(tls_check).transpose()?.unwrap_or_default();
    Ok(CheckKind::Grpc(GrpcCheck { service: json.service, tls }))
}

fn tls_check(json: TlsJson) -> Result<TlsCheck, String> {
    if let Some(name) = &json.server_name {
        let fits = name.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
        if !fits || name.is_empty() {
            return Err("tls.server_name is a DNS name or an address".to_owned());
        }
    }
    if let Some(ca) = &json.ca {
        let plain = ca.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        if !plain || ca.is_empty() || ca.len() > 255 || ca.starts_with('.') {
            return Err("tls.ca is the name of a file in PORTOLAN_CA_DIR, never a path".to_owned());
        }
    }
    Ok(TlsCheck { verify: json.verify.unwrap_or(true), server_name: json.server_name, ca: json.ca })
}

impl From<TlsCheck> for Option<TlsJson> {
    fn from(tls: TlsCheck) -> Self {
        (tls != TlsCheck::default()).then(|| TlsJson {
            verify: (!tls.verify).then_some(false),
            server_name: tls.server_name,
            ca: tls.ca,
        })
    }
}

impl From<Check> for CheckJson {
    fn from(check: Check) -> Self {
        let (mut http, mut tcp, mut grpc, mut none) = (None, None, None, None);
        match check.kind {
            Some(CheckKind::Http(h)) => {
                http = Some(HttpJson { path: h.path, expected_statuses: h.expected_statuses, tls: h.tls.into() });
            }
            Some(CheckKind::Tcp) => tcp = Some(Empty {}),
            Some(CheckKind::Grpc(g)) => grpc = Some(GrpcJson { service: g.service, tls: g.tls.into() }),
            Some(CheckKind::None) => none = Some(Empty {}),
            None => {}
        }
        Self {
            http,
            tcp,
            grpc,
            none,
            interval_seconds: check.interval_seconds,
            timeout_seconds: check.timeout_seconds,
            retry_interval_seconds: check.retry_interval_seconds,
            unhealthy_threshold: check.unhealthy_threshold,
            healthy_threshold: check.healthy_threshold,
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
            r#"{"tcp":{}}"#,
            r#"{"grpc":{"service":"a.B","tls":{"verify":false,"ca":"corp.pem"}},"unhealthy_threshold":2}"#,
            r#"{"none":{}}"#,
            "{}",
        ] {
            let check: Check = serde_json::from_str(text).expect(text);
            assert_eq!(serde_json::to_string(&check).expect("serializes"), text);
        }
    }

    #[test]
    fn refusals_name_the_field() {
        for (text, word) in [
            (r#"{"http":{},"tcp":{}}"#, "one of"),
            (r#"{"interval_seconds":0}"#, "interval_seconds"),
            (r#"{"http":{"path":"healthz"}}"#, "http.path"),
            (r#"{"http":{"tls":{"ca":"../secret"}}}"#, "tls.ca"),
            (r#"{"htpp":{}}"#, "htpp"),
        ] {
            let error = serde_json::from_str::<Check>(text).expect_err(text).to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
