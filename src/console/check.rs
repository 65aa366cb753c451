//! How an instance is probed, in words. The console keeps checks as they were written, since a newer server may know more kinds.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::data::Instance;
use crate::model::check::wanted_statuses;
use crate::wire::{Check, NamedCheck};

/// Defaults of a check's timing, as `/openapi.json` describes them; the interval's is a setting of the server.
const DEFAULTS: [(&str, u64); 3] = [("timeout_seconds", 5), ("unhealthy_threshold", 3), ("healthy_threshold", 1)];
/// The name of the plain check.
const DEFAULT: &str = "default";
/// The settings that are not the kind's own.
const TIMING: [&str; 5] =
    ["interval_seconds", "timeout_seconds", "retry_interval_seconds", "unhealthy_threshold", "healthy_threshold"];

/// The kind with its target, `http /ready`; none where it follows from the URLs.
fn kind(check: &Value) -> Option<String> {
    let (kind, own) =
        check.as_object()?.iter().find(|(key, own)| !TIMING.contains(&key.as_str()) && own.is_object())?;
    let detail = ["path", "service"].into_iter().find_map(|key| own.get(key)?.as_str()).unwrap_or_default();
    let ttl = own.get("ttl_seconds").and_then(Value::as_u64);
    Some(match (ttl, detail) {
        (Some(ttl), _) => format!("{kind} within {ttl} s"),
        (None, "") => kind.clone(),
        (None, detail) => format!("{kind} {detail}"),
    })
}

/// How the answer has to show who answered, `identity /program and header x-service`, and where it says which version runs.
fn proofs(check: &Value) -> Vec<String> {
    let Some(http) = check.get("http") else { return Vec::new() };
    let identity = http.get("identity");
    let names =
        |key: &str| identity.and_then(|identity| identity.get(key)?.as_object()).into_iter().flat_map(Map::keys);
    let pointers = names("json").cloned();
    let headers = names("header").map(|name| format!("header {name}"));
    let certificate =
        identity.and_then(|identity| identity.get("tls_san")).map(|_| "the certificate's name".to_owned());
    let shown: Vec<String> = pointers.chain(headers).chain(certificate).collect();
    let version = http.get("version_from").and_then(Value::as_str).map(|pointer| format!("version from {pointer}"));
    let identity = (!shown.is_empty()).then(|| format!("identity by {}", shown.join(" and ")));
    identity.into_iter().chain(version).collect()
}

fn read(check: Option<&str>) -> Value {
    check.and_then(|check| serde_json::from_str(check).ok()).unwrap_or(Value::Null)
}

/// `http /ready, every 10 s, timeout 5 s, 3 failures / 1 pass`: how many fails make it unhealthy, how many passes healthy. Foreign text: it is to be sanitized.
pub fn words(check: Option<&Check>) -> String {
    words_of(&read(check.map(Check::get)))
}

/// All checks of an instance: the plain one alone, or each with its name, whether it is advisory, and which one decides:
/// `db: tcp, every 10 s, timeout 5 s, 3 failures / 1 pass, decides`.
pub fn all(of: &Instance) -> Vec<String> {
    let plain = words(of.check.as_ref());
    if of.checks.is_empty() {
        return vec![plain];
    }
    let decides = |name: &str| if of.decided_by.as_deref().unwrap_or(DEFAULT) == name { ", decides" } else { "" };
    let named = of.checks.iter().map(|check| {
        let (name, advisory) = (check.name(), if check.is_advisory() { ", advisory" } else { "" });
        format!("{name}: {}{advisory}{}", words_of(&read(Some(check.get()))), decides(&name))
    });
    // One that has named checks alone has no plain one.
    let is_plain = of.check.is_some() || !of.health_url.is_empty();
    let plain = is_plain.then(|| format!("{DEFAULT}: {plain}{}", decides(DEFAULT)));
    plain.into_iter().chain(named).collect()
}

fn words_of(check: &Value) -> String {
    let of = |key: &str| {
        let default = DEFAULTS.iter().find(|(name, _)| *name == key).map_or(0, |(_, default)| *default);
        check.get(key).and_then(Value::as_u64).unwrap_or(default)
    };
    let mut text = kind(check).unwrap_or_else(|| "from its URLs".to_owned());
    if text == "none" {
        return "not checked".to_owned();
    }
    for proof in proofs(check) {
        text = format!("{text}, {proof}");
    }
    let (fails, passes) = (of("unhealthy_threshold"), of("healthy_threshold"));
    // Writing to a String cannot fail. A heartbeat has no interval.
    if !text.starts_with("heartbeat") {
        let interval = check.get("interval_seconds").and_then(Value::as_u64);
        let interval = interval.map_or_else(|| "the server's interval".to_owned(), |s| format!("every {s} s"));
        let _ = write!(text, ", {interval}, timeout {} s", of("timeout_seconds"));
    }
    let plural = |n: u64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let _ = write!(text, ", {} / {}", plural(fails, "failure", "failures"), plural(passes, "pass", "passes"));
    text
}

/// The statuses that pass the check that decides an instance's health: `2xx`, or those that it names.
pub fn wanted(of: &Instance) -> String {
    let check = match of.decided_by.as_deref() {
        Some(decides) => of.checks.iter().find(|check| check.name() == decides).map(NamedCheck::get),
        None => of.check.as_ref().map(Check::get),
    };
    let check = read(check);
    let named = check.pointer("/http/expected_statuses").and_then(Value::as_array).into_iter().flatten();
    let named: Vec<u16> = named.filter_map(|status| u16::try_from(status.as_u64()?).ok()).collect();
    wanted_statuses(&named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Check {
        serde_json::from_str(json).expect("JSON")
    }

    #[test]
    fn a_check_is_said_in_words_whoever_wrote_it() {
        for (json, said) in [
            (
                r#"{"http":{"path":"/ready"},"interval_seconds":10}"#,
                "http /ready, every 10 s, timeout 5 s, 3 failures / 1 pass",
            ),
            (
                r#"{"tcp":{},"unhealthy_threshold":1,"healthy_threshold":2}"#,
                "tcp, the server's interval, timeout 5 s, 1 failure / 2 passes",
            ),
            (
                r#"{"http":{"path":"/","identity":{"json":{"/name":"$service"},"header":{"x-service":"a"}},"version_from":"/v"}}"#,
                "http /, identity by /name and header x-service, version from /v, the server's interval, timeout 5 s, \
                 3 failures / 1 pass",
            ),
            (r#"{"heartbeat":{"ttl_seconds":30}}"#, "heartbeat within 30 s, 3 failures / 1 pass"),
            (r#"{"none":{}}"#, "not checked"),
            (r#"{"quic":{"path":"/x"}}"#, "quic /x, the server's interval, timeout 5 s, 3 failures / 1 pass"),
        ] {
            assert_eq!(words(Some(&check(json))), said);
        }
        assert!(words(None).starts_with("from its URLs, the server's interval"));
        assert_eq!(wanted(&Instance::default()), "2xx");
        let plain = Some(check(r#"{"http":{"expected_statuses":[200,401]}}"#));
        let of = Instance { check: plain, ..Instance::default() };
        assert_eq!(wanted(&of), "200 or 401");
        let named = r#"{"name":"db","http":{"path":"/db","expected_statuses":[204]},"advisory":true}"#;
        let of = Instance {
            checks: [serde_json::from_str(named).expect("JSON")].into(),
            decided_by: Some("db".into()),
            ..of
        };
        assert_eq!(wanted(&of), "204");
        assert_eq!(
            all(&of),
            [
                "default: http, the server's interval, timeout 5 s, 3 failures / 1 pass",
                "db: http /db, the server's interval, timeout 5 s, 3 failures / 1 pass, advisory, decides"
            ]
        );
    }
}
