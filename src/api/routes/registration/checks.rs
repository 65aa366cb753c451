//! How a registration wants its instance to be checked: `check`, `checks` and `ttl_seconds`.

use serde_json::value::RawValue;

use super::whole;
use crate::api::http::json::Fields;
use crate::api::http::object_shape::NoArrays;
use crate::model::check::{Check, CheckKind, CheckTiming, HeartbeatCheck, MAX_NAMED_CHECKS, NamedCheck, TTL};
use crate::model::service::InstanceSpec;

/// The name of the check that `ttl_seconds` stands for, where there is another one.
const HEARTBEAT: &str = "heartbeat";

/// What the fields add up to.
pub(super) struct Checks {
    pub(super) plain: Check,
    /// Ordered by name.
    pub(super) named: Vec<NamedCheck>,
    /// Where the body has each of `named`.
    pub(super) places: Vec<String>,
}

impl Checks {
    /// Reads the fields. Whatever is wrong becomes a problem of its field.
    pub(super) fn take(fields: &mut Fields<'_>, has_health_url: bool) -> Self {
        let plain = fields.take_formed::<NoArrays, Check>("check");
        let (given, mut plain) = (plain.is_some(), plain.unwrap_or_default());
        refuse_manner(fields, "check", &plain);
        let mut named = named(fields);
        if let Some(ttl_seconds) = whole(fields, "ttl_seconds", TTL, "") {
            let heartbeat = heartbeat(ttl_seconds);
            if plain.is_heartbeat() || named.iter().any(|(_, one)| one.check.is_heartbeat()) {
                fields.problem(
                    "ttl_seconds",
                    "is short for a heartbeat check, and there is one already; give one of them",
                );
            } else if (given || has_health_url) && named.iter().any(|(_, one)| one.name.as_str() == HEARTBEAT) {
                fields.problem(
                    "ttl_seconds",
                    "becomes a check named heartbeat, and there is another check of that name; give that one another name",
                );
            } else if given || has_health_url {
                let name = HEARTBEAT.parse().unwrap_or_default();
                named.push((
                    "ttl_seconds".to_owned(),
                    NamedCheck { name, advisory: false, url: None, check: heartbeat },
                ));
            } else {
                plain = heartbeat;
            }
        }
        named.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name));
        let (places, named) = named.into_iter().unzip();
        Self { plain, named, places }
    }
}

/// The entries of `checks`, each with its place in the body.
fn named(fields: &mut Fields<'_>) -> Vec<(String, NamedCheck)> {
    let given: Vec<&RawValue> = fields.take("checks").unwrap_or_default();
    if given.len() > MAX_NAMED_CHECKS {
        fields.problem("checks", format!("has {} entries, more than {MAX_NAMED_CHECKS}", given.len()));
    }
    let mut named = Vec::new();
    for (at, raw) in given.into_iter().take(MAX_NAMED_CHECKS).enumerate() {
        let place = format!("checks.[{at}]");
        if let Some(one) = fields.read_formed::<NoArrays, NamedCheck>(&place, raw) {
            refuse_manner(fields, &place, &one.check);
            named.push((place, one));
        }
    }
    named
}

/// Adds a problem for each check that does not fit its URLs or the others.
pub(super) fn fit(fields: &mut Fields<'_>, spec: &InstanceSpec, places: &[String]) {
    for (at, problem) in spec.check_problems() {
        let place = at.checked_sub(1).and_then(|at| places.get(at));
        fields.problem_inside(place.map_or("check", String::as_str), problem);
    }
    for (place, named) in places.iter().zip(&spec.checks) {
        if named.check.is_heartbeat() && named.url.is_some() {
            fields.problem_inside(place, "url: a heartbeat check probes nothing; leave it out");
        }
    }
    if spec.checks.len() > MAX_NAMED_CHECKS {
        let most = format!("is one more check, and an instance has at most {MAX_NAMED_CHECKS} beside `check`");
        fields.problem("ttl_seconds", most);
    }
}

/// A registration's writer is not always a cluster's: it sends our own plain request alone.
fn refuse_manner(fields: &mut Fields<'_>, place: &str, check: &Check) {
    if check.is_readiness() {
        let wrong = "is of instances that Portolan adopts from a core Service; use http, tcp, grpc or heartbeat";
        fields.problem(&format!("{place}.readiness"), wrong);
    }
    if matches!(&check.kind, Some(CheckKind::Http(http)) if !http.request_options.is_plain()) {
        let wrong = "method, host and headers can be set in a manifest only; leave them out";
        fields.problem(&format!("{place}.http"), wrong);
    }
    let (kind, tls) = match &check.kind {
        Some(CheckKind::Http(http)) => ("http", &http.tls),
        Some(CheckKind::Grpc(grpc)) => ("grpc", &grpc.tls),
        _ => return,
    };
    if tls.names_objects() {
        let wrong = "ca_from and client_cert_from can be set in a manifest only, whose writer has rights in its namespace; leave them out";
        fields.problem(&format!("{place}.{kind}.tls"), wrong);
    }
}

fn heartbeat(ttl_seconds: u32) -> Check {
    Check { kind: Some(CheckKind::Heartbeat(HeartbeatCheck { ttl_seconds })), timing: CheckTiming::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::routes::registration::tests::{problems, read_it};

    fn of(more: &str) -> InstanceSpec {
        read_it(&format!(r#"{{"name":"a","base_url":"http://h:1",{more}}}"#)).expect(more).spec
    }

    fn names(spec: &InstanceSpec) -> Vec<&str> {
        spec.checks.iter().map(|one| one.name.as_str()).collect()
    }

    #[test]
    fn a_ttl_is_the_check_or_one_beside_it() {
        let alone = of(r#""ttl_seconds":30"#);
        assert_eq!((alone.check.kind, alone.checks), (heartbeat(30).kind, Vec::new()));
        for other in [r#""check":{"tcp":{}}"#, r#""health_url":"http://h:1/live""#] {
            let beside = of(&format!(r#""ttl_seconds":3e1,{other}"#));
            assert!(!beside.check.is_heartbeat(), "{other}");
            assert_eq!((names(&beside), &beside.checks[0].check), (vec!["heartbeat"], &heartbeat(30)));
        }
        let named_only = of(r#""ttl_seconds":30,"checks":[{"name":"disk","http":{"path":"/disk"}}]"#);
        assert!(named_only.check.is_heartbeat(), "no plain check was given");
    }

    #[test]
    fn further_checks_are_ordered_by_name_and_keep_their_words() {
        let spec = of(r#""checks":[{"name":"disk","advisory":true,"http":{"path":"/disk"},"interval_seconds":60},
                {"name":"admin","url":"http://h:9000/ready"}]"#);
        assert_eq!(names(&spec), ["admin", "disk"]);
        assert!(spec.checks[1].advisory && !spec.checks[0].advisory);
        assert_eq!(spec.check, Check::default(), "without one, there is no plain check");
    }

    #[test]
    fn what_cannot_be_checked_is_refused_by_its_place() {
        for (more, problem) in [
            (r#""ttl_seconds":0"#, "ttl_seconds: is 0, not a whole number from 1 to 86400"),
            (
                r#""ttl_seconds":9,"check":{"heartbeat":{"ttl_seconds":9}}"#,
                "ttl_seconds: is short for a heartbeat check",
            ),
            (
                r#""ttl_seconds":9,"check":{"tcp":{}},"checks":[{"name":"heartbeat","tcp":{}}]"#,
                "ttl_seconds: becomes a check named heartbeat, and there is another check of that name",
            ),
            (r#""checks":[{"name":"a","tcp":{}},{"name":"a","grpc":{}}]"#, "checks.[1]: the name is given twice"),
            (r#""checks":[{"name":"default","tcp":{}}]"#, "checks.[0]: this is the name of the plain `check`"),
            (
                r#""checks":[{"name":"a","url":"http://h:2/x","http":{"path":"/y"}}]"#,
                "checks.[0]: give either url or http.path, not both",
            ),
            (r#""checks":[{"name":"a"}]"#, "checks.[0]: it checks nothing: give http"),
            (r#""checks":[{"name":"b","tcp":{}},{"name":"a","none":{}}]"#, "checks.[1]: it checks nothing"),
            (r#""checks":[{"name":"a","tcp":[]}]"#, "checks.[0].tcp: is a list, not an object"),
            (r#""checks":[{"name":"a","http":{"path":"x"}}]"#, "checks.[0].http.path: starts with '/'"),
            (r#""checks":[{"name":"a","http":{"method":"HEAD"}}]"#, "checks.[0].http: method, host and headers"),
            (
                r#""checks":[{"name":"a","url":"http://h","heartbeat":{"ttl_seconds":9}}]"#,
                "checks.[0].url: a heartbeat",
            ),
            (
                r#""ttl_seconds":9,"health_url":"http://h:1/","checks":[{"name":"b","heartbeat":{"ttl_seconds":9}}]"#,
                "ttl_seconds: is short for a heartbeat check",
            ),
            (
                r#""check":{"heartbeat":{"ttl_seconds":9}},"checks":[{"name":"b","heartbeat":{"ttl_seconds":9}}]"#,
                "checks.[0]: one heartbeat is enough",
            ),
            (
                r#""checks":[{"name":"a","colour":"red"}]"#,
                "checks.[0].colour: unknown; expected one of name, url, advisory",
            ),
            (r#""checks":{"name":"a"}"#, "checks: is an object, not a list"),
            (r#""checks":[{"name":"a","url":"http://10.0.0.1/"}]"#, "checks.a.url: not 10/8"),
        ] {
            let found = problems(&format!(r#"{{"name":"a","base_url":"http://h:1",{more}}}"#));
            assert!(found.len() == 1 && found[0].starts_with(problem), "{found:?} instead of {problem}");
        }
        let eight: Vec<String> = (0..8).map(|n| format!(r#"{{"name":"c{n}","tcp":{{}}}}"#)).collect();
        let found = problems(&format!(r#"{{"name":"a","base_url":"http://h:1","checks":[{}]}}"#, eight.join(",")));
        assert_eq!(found, ["checks: has 8 entries, more than 7"]);
    }

    #[test]
    fn an_identity_that_cannot_match_is_refused_by_its_place() {
        let identity =
            |identity: &str| format!(r#"{{"name":"a","base_url":"http://h:1","check":{{"http":{{{identity}}}}}}}"#);
        for (wrong, words) in [
            (r#""identity":{"json":{"build/name":"a"}}"#, "check.http.identity.json: a JSON pointer begins with '/'"),
            (r#""version_from":"build""#, "check.http.version_from: a JSON pointer begins with '/'"),
            (r#""identity":{"tls_san":"a.example"}"#, "check.http.identity.tls_san: needs an https"),
        ] {
            let found = problems(&identity(wrong));
            assert!(found.len() == 1 && found[0].starts_with(words), "{found:?}");
        }
        assert!(
            read_it(&identity(r#""identity":{"json":{"/build/name":"$service"},"header":{"X-Service":"a"}}"#)).is_ok()
        );
    }
}
