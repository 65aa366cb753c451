//! What an object means.

use serde_json::{Value, json};

use super::*;
use crate::model::acknowledgement::Failure;
use crate::model::check::{Check, CheckKind, CheckTiming, Target};
use crate::model::name::{CheckName, InstanceName};
use crate::model::outcome::{Health, Reason};
use crate::model::service::{InstanceSpec, Owner};
use crate::model::url::EndpointUrl;

struct NoTens;

impl AddressGate for NoTens {
    fn admit(&self, url: &EndpointUrl) -> Result<(), String> {
        if url.host().to_string().starts_with("10.") { Err("10/8 is not probed".to_owned()) } else { Ok(()) }
    }
}

fn object(spec: &Value, status: &Value) -> ServiceResource {
    let metadata = json!({
        "name": "user-service", "namespace": "shop", "uid": "01900000-0000-7000-8000-000000000001",
        "resourceVersion": "42", "creationTimestamp": "2026-01-02T03:04:05Z",
        "managedFields": [{"time": "2026-01-02T03:05:00Z"}, {"time": "2026-01-02T03:04:30Z"}],
    });
    let object = json!({ "apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": metadata, "spec": spec, "status": status });
    serde_json::from_value(object).expect("an object")
}

fn read(spec: &Value) -> ParsedService {
    parse(&object(spec, &Value::Null), &NoTens)
}

/// What the first instance's check does, in short.
fn probed(spec: &Value) -> String {
    let parsed = read(spec);
    let mirrored = parsed.mirrored.unwrap_or_else(|| panic!("{:?}", parsed.problems));
    match mirrored.instances[0].spec.plan(std::time::Duration::from_secs(30)) {
        crate::model::check::Plan::Unchecked => "nothing".to_owned(),
        crate::model::check::Plan::Heartbeat { ttl, .. } => format!("a heartbeat every {ttl:?}"),
        crate::model::check::Plan::Probe(target, _) => {
            let path = if let Target::Http { target, .. } = &target { target.as_str() } else { "" };
            format!("{} {}:{}{path}", target.kind(), target.host(), target.port())
        }
    }
}

fn problems(spec: &Value) -> Vec<String> {
    read(spec).problems.iter().map(|p| format!("{} {p}", p.kind.as_str())).collect()
}

#[test]
fn a_manifest_is_taken_in_with_what_the_service_says_for_all() {
    let parsed = read(&json!({
        "version": "1.4.2", "description": "Accounts", "metadata": {"team": "identity"},
        "check": {"http": {"path": "/healthz"}, "intervalSeconds": 10},
        "instances": [
            {"name": "b", "baseUrl": "http://h:2", "healthUrl": "http://h:9000/live", "weight": 0, "zone": "eu-1a"},
            {"name": "a", "baseUrl": "http://h:1", "version": "2", "metadata": {}, "check": {"tcp": {}}},
        ],
    }));
    assert_eq!((&parsed.problems[..], parsed.deleting, parsed.source), (&[][..], false, Source::Manifest));
    let mirrored = parsed.mirrored.expect("taken in");
    assert_eq!((mirrored.key.as_str(), mirrored.revision), ("shop/user-service", 42));
    assert_eq!(mirrored.registered_at.to_string(), "2026-01-02T03:04:05.000Z");
    assert_eq!(mirrored.updated_at.to_string(), "2026-01-02T03:05:00.000Z");
    let [a, b] = &mirrored.instances[..] else { panic!("two instances") };
    assert_eq!((a.name.as_str(), &*a.spec.version, &*a.spec.description), ("a", "2", "Accounts"));
    assert_eq!((&a.spec.check.kind, a.spec.metadata.len(), a.spec.weight), (&Some(CheckKind::Tcp), 0, 100));
    assert_eq!(
        (b.spec.check.timing.interval_seconds, &*b.spec.metadata["team"], b.spec.weight),
        (Some(10), "identity", 0)
    );
    assert_eq!((&b.owner, b.generation, &b.reported), (&Owner::Anonymous, None, &None));
}

#[test]
fn a_manifest_without_a_check_is_probed_all_the_same() {
    let one = |more: Value| {
        let mut instance = json!({"name": "a", "baseUrl": "http://h:1/app"});
        instance.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        instance
    };
    for (spec, wanted) in [
        (json!({"instances": [one(json!({}))]}), "tcp h:1"),
        (json!({"instances": [one(json!({"healthUrl": "https://h/live"}))]}), "http h:443/live"),
        (json!({"instances": [one(json!({"healthUrl": "tcp://h:7"}))]}), "tcp h:7"),
        (json!({"instances": [one(json!({"baseUrl": "postgres://db.corp:5432"}))]}), "tcp db.corp:5432"),
        (json!({"instances": [one(json!({}))], "check": {"intervalSeconds": 5}}), "tcp h:1"),
        (json!({"instances": [one(json!({}))], "check": {"none": {}}}), "nothing"),
        (json!({"instances": [one(json!({"check": {"none": {}}}))], "check": {"tcp": {}}}), "nothing"),
        (json!({"instances": [one(json!({}))], "check": {"http": {}}}), "http h:1/"),
        (
            json!({"instances": [one(json!({"healthUrl": "http://h:2/x"}))], "check": {"http": {"path": "/y"}}}),
            "http h:2/x",
        ),
        (json!({"source": "Rest", "instances": [one(json!({}))], "check": {"tcp": {}}}), "nothing"),
        (json!({"source": "Rest", "instances": [one(json!({"healthUrl": "http://h:2/x"}))]}), "http h:2/x"),
    ] {
        assert_eq!(probed(&spec), wanted, "{spec}");
    }
}

/// Each check of the first instance by its name, with what it probes, and a `?` where it is advisory.
fn all_probed(spec: &Value) -> Vec<String> {
    let parsed = read(spec);
    let mirrored = parsed.mirrored.unwrap_or_else(|| panic!("{:?}", parsed.problems));
    let spec = &mirrored.instances[0].spec;
    let planned = spec.all_checks().filter_map(|check| {
        let what = match spec.plan_of(&check, std::time::Duration::from_secs(30)) {
            crate::model::check::Plan::Unchecked => return None,
            crate::model::check::Plan::Heartbeat { ttl, .. } => format!("within {ttl:?}"),
            crate::model::check::Plan::Probe(target, _) => {
                let path = if let Target::Http { target, .. } = &target { target.as_str() } else { "" };
                format!("{} {}{path}", target.kind(), target.port())
            }
        };
        Some(format!("{}{} {what}", check.name(), if check.advisory { "?" } else { "" }))
    });
    planned.collect()
}

#[test]
fn named_checks_are_taken_in_beside_the_plain_one_or_instead_of_it() {
    let one = |more: Value| {
        let mut instance = json!({"name": "a", "baseUrl": "http://h:1/app"});
        instance.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        json!([instance])
    };
    let disk = json!({"name": "disk", "advisory": true, "url": "http://h:9/disk", "http": {}});
    let db = json!({"name": "db", "http": {"path": "/db"}, "intervalSeconds": 5});
    let beat = json!({"name": "heartbeat", "heartbeat": {"ttlSeconds": 30}});
    for (spec, wanted) in [
        (json!({"instances": one(json!({"checks": [disk, db]}))}), &["db http 1/db", "disk? http 9/disk"][..]),
        (json!({"checks": [db], "instances": one(json!({}))}), &["db http 1/db"]),
        (json!({"checks": [db], "instances": one(json!({"checks": []}))}), &["default tcp 1"]),
        (json!({"checks": [db], "instances": one(json!({"checks": [beat]}))}), &["heartbeat within 30s"]),
        (
            json!({"checks": [db], "check": {"tcp": {}}, "instances": one(json!({}))}),
            &["default tcp 1", "db http 1/db"],
        ),
        (
            json!({"checks": [db], "instances": one(json!({"healthUrl": "http://h:2/live"}))}),
            &["default http 2/live", "db http 1/db"],
        ),
        (json!({"check": {"heartbeat": {"ttlSeconds": 9}}, "instances": one(json!({}))}), &["default within 9s"]),
        (
            json!({"checks": [beat], "check": {"intervalSeconds": 9}, "instances": one(json!({}))}),
            &["default tcp 1", "heartbeat within 30s"],
        ),
        (
            json!({"source": "Rest", "checks": [db], "instances": one(json!({"checks": [beat]}))}),
            &["heartbeat within 30s"],
        ),
    ] {
        assert_eq!(all_probed(&spec), wanted, "{spec}");
    }
}

#[test]
fn a_wrong_named_check_is_named() {
    let wrong = |checks: Value, word: &str| {
        let spec = json!({"instances": [{"name": "a", "baseUrl": "http://h:1", "checks": checks}]});
        let found = problems(&spec);
        assert!(found.len() == 1 && found[0].contains(word), "{found:?} instead of {word}");
    };
    let beat = |name: &str| json!({"name": name, "heartbeat": {"ttlSeconds": 30}});
    wrong(json!([{"name": "A", "tcp": {}}]), "checks.A.name");
    wrong(json!([{"name": "default", "tcp": {}}]), "checks.default: this is the name of the plain `check`");
    wrong(json!([{"name": "x", "tcp": {}}, {"name": "x", "grpc": {}}]), "checks.x: the name is given twice");
    wrong(json!([beat("x"), beat("y")]), "checks.y: one heartbeat is enough");
    wrong(json!([{"name": "x", "url": "postgres://h:1", "http": {}}]), "checks.x.url");
    wrong(json!([{"name": "x", "url": "http://h:1/a", "http": {"path": "/b"}}]), "checks.x: give either");
    wrong(json!([{"name": "x", "heartbeat": {"ttlSeconds": 0}}]), "checks.x.heartbeat.ttlSeconds");
    wrong(json!([{"name": "x", "http": {"expectedStatuses": [99]}}]), "checks.x.http.expectedStatuses");
    wrong((0..8).map(|n| json!({"name": format!("x{n}"), "tcp": {}})).collect(), "checks: at most 7, this has 8");
}

#[test]
fn a_manifests_instance_is_never_removed_and_has_tags_and_an_external_id() {
    let fields = json!({"name": "a", "baseUrl": "http://h:1", "tags": ["b", "a"], "externalId": "Host:a", "deregisterAfterSeconds": 60});
    let of = |spec: Value| read(&spec).mirrored.expect("taken in").instances[0].spec.clone();
    let manifest = of(json!({"instances": [fields]}));
    assert_eq!((&manifest.tags[..], manifest.external_id.as_deref()), (&["b".into(), "a".into()][..], Some("Host:a")));
    assert_eq!(manifest.deregister_after_seconds, None);
    assert_eq!(of(json!({"source": "Rest", "instances": [fields]})).deregister_after_seconds, Some(60));
    for (field, value, word) in [
        ("tags", json!([""]), "tags[0]: 1 to 512 bytes"),
        ("tags", json!(["a", "a"]), "tags[1]: a is given twice"),
        ("tags", json!(["ä".repeat(257)]), "tags[0]: 1 to 512 bytes"),
        ("tags", (0..65).map(|n| format!("t{n}")).collect(), "tags: at most 64"),
        ("externalId", json!("a\u{202e}"), "externalId: control"),
    ] {
        let mut instance = json!({"name": "a", "baseUrl": "http://h:1"});
        instance[field] = value;
        let found = problems(&json!({"instances": [instance]}));
        assert!(found.len() == 1 && found[0].contains(word), "{found:?} instead of {word}");
    }
}

#[test]
fn a_drain_lasts_until_the_leader_has_ended_it() {
    let spec = |until: Value| json!({"instances": [{"name": "a", "baseUrl": "http://h:1", "drain": {"reason": "kernel", "until": until}}]});
    let drain = |spec: &Value, status: &Value| {
        let parsed = parse(&object(spec, status), &NoTens);
        parsed.mirrored.expect("taken in").instances[0].drain.clone()
    };
    let status = |fields: Value| {
        let mut instance = json!({"name": "a", "health": "Healthy"});
        instance.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        json!({"instances": [instance]})
    };
    let until = "2026-01-02T04:00:00.000Z";
    let new = drain(&spec(json!(until)), &Value::Null).expect("drained");
    assert_eq!((&*new.reason, &*new.by), ("kernel", "its manifest"));
    assert_eq!(new.since.to_string(), "2026-01-02T03:05:00.000Z", "the object's last write");
    assert_eq!(new.until.expect("an end").to_string(), until);

    let held = status(json!({"drained": true, "drainedSince": "2026-01-02T03:04:00.000Z"}));
    let later = drain(&spec(json!(until)), &held).expect("drained");
    assert_eq!(later.since.to_string(), "2026-01-02T03:04:00.000Z", "whatever is written later");
    let over = status(json!({"drainOver": until}));
    assert_eq!(drain(&spec(json!(until)), &over), None);
    assert!(drain(&spec(json!("2026-01-02T05:00:00Z")), &over).is_some(), "another one");
    assert!(drain(&spec(Value::Null), &over).is_some(), "one without an end");

    for (field, value, word) in [
        ("until", json!("tomorrow"), "drain.until: write a time"),
        ("since", json!("yesterday"), "drain.since: write a time"),
        ("reason", json!(""), "drain.reason: say why"),
        ("by", json!("a\u{1b}"), "drain.by: control"),
    ] {
        let mut wrong = spec(json!(until));
        wrong["instances"][0]["drain"][field] = value;
        let found = problems(&wrong);
        assert!(found.len() == 1 && found[0].contains(word), "{found:?} instead of {word}");
    }
}

#[test]
fn what_the_leader_found_is_read_back() {
    let spec = json!({"instances": [{"name": "a", "baseUrl": "http://h:1", "checks": [{"name": "disk", "advisory": true, "tcp": {}}]}]});
    let hash = read(&spec).instances[0].probe_hash.clone().expect("readable");
    let status = json!({"instances": [{
        "name": "a", "health": "Unhealthy", "reason": "ConnectRefused", "decidedBy": "disk", "observedVersion": "1.2", "probeHash": hash,
        "since": "2026-01-02T03:00:00.000Z", "alsoFailing": ["default", "no name"],
        "warning": {"check": "disk", "reason": "VersionDiffers", "message": "m"},
        "acknowledgement": {"note": "ordered", "by": "alice", "since": "2026-01-02T03:04:05.678Z", "wholeService": true},
    }]});
    let parsed = parse(&object(&spec, &status), &NoTens).mirrored.expect("taken in");
    let reported = parsed.instances[0].reported.clone().expect("reported");
    let warning = reported.warning.expect("a warning");
    assert_eq!(*reported.also_failing, [CheckName::default()]);
    let known = parsed.instances[0].acknowledged.clone().expect("it is known");
    assert_eq!((&*known.note, &*known.by, known.whole, known.until), ("ordered", "alice", true, None));
    assert_eq!(known.since.to_string(), "2026-01-02T03:04:05.678Z");
    let disk: CheckName = "disk".parse().expect("a name");
    let failure =
        Failure { down: Some((disk.clone(), reported.since)), warning: Some(disk), also: reported.also_failing };
    assert_eq!(known.failure, failure, "what the same status says of the instance");
    assert_eq!((reported.decided_by.as_str(), reported.observed_version.as_deref()), ("disk", Some("1.2")));
    assert_eq!((warning.check.as_str(), warning.reason, &*warning.message), ("disk", Reason::VersionDiffers, "m"));
}

#[test]
fn an_acknowledgement_of_nothing_or_of_something_else_is_not_read() {
    let spec = json!({"instances": [{"name": "a", "baseUrl": "http://h:1"}]});
    let hash = read(&spec).instances[0].probe_hash.clone().expect("readable");
    let known = |health: &str, hash: &str, note: &str| {
        let acknowledgement = json!({"note": note, "by": "alice", "since": "2026-01-02T03:04:05Z"});
        let a = json!({"name": "a", "health": health, "probeHash": hash, "acknowledgement": acknowledgement});
        let parsed = parse(&object(&spec, &json!({ "instances": [a] })), &NoTens).mirrored.expect("taken in");
        parsed.instances[0].acknowledged.is_some()
    };
    assert!(known("Unhealthy", &hash, "ordered"));
    assert!(!known("Healthy", &hash, "ordered"), "nothing fails");
    assert!(!known("Unhealthy", "0000", "ordered"), "another URL failed");
    assert!(!known("Unhealthy", &hash, "a\u{1b}"), "nothing that Portolan writes");
}

#[test]
fn one_bad_instance_hides_no_other() {
    let spec = json!({"metadata": {"a": "b\u{202e}"}, "instances": [
        {"name": "good", "baseUrl": "http://h:1", "metadata": {}},
        {"name": "inherits", "baseUrl": "http://h:1"},
        {"name": "url", "baseUrl": "http://a..b/", "metadata": {}},
        {"name": "kind", "baseUrl": "postgres://db:1", "check": {"http": {}}, "metadata": {}},
        {"name": "two", "baseUrl": "http://h:1", "healthUrl": "http://h:1/x", "check": {"http": {"path": "/y"}}, "metadata": {}},
        {"name": "many", "baseUrl": "http://h:1", "check": {"http": {}, "tcp": {}}, "metadata": {}},
        {"name": "number", "baseUrl": "http://h:1", "check": {"intervalSeconds": -1}, "metadata": {}},
        {"name": "range", "baseUrl": "http://h:1", "check": {"tcp": {}, "intervalSeconds": 0}, "metadata": {}},
        {"name": "header", "baseUrl": "http://h:1", "check": {"http": {"headers": [{"name": "Cookie", "value": "a"}]}}, "metadata": {}},
        {"name": "No_Label", "baseUrl": "http://h:1", "metadata": {}},
        {"name": "good", "baseUrl": "http://h:2", "metadata": {}},
    ]});
    insta::assert_debug_snapshot!(problems(&spec));
    let parsed = read(&spec);
    let served: Vec<_> = parsed.mirrored.expect("the good one").instances.into_iter().map(|i| i.name).collect();
    assert_eq!(served.iter().map(InstanceName::as_str).collect::<Vec<_>>(), ["good"]);
    assert_eq!(parsed.instances.len(), 10, "each name once");
}

#[test]
fn a_denied_address_is_served_only_where_a_probe_fails_it() {
    for (instance, served) in [
        (json!({"name": "a", "baseUrl": "http://10.0.0.1"}), true),
        (json!({"name": "a", "baseUrl": "http://h", "healthUrl": "http://10.0.0.1/live"}), true),
        (json!({"name": "a", "baseUrl": "http://10.0.0.1", "healthUrl": "http://h/live"}), false),
        (json!({"name": "a", "baseUrl": "http://10.0.0.1", "check": {"none": {}}}), false),
        (
            json!({"name": "a", "baseUrl": "http://10.0.0.1", "checks": [{"name": "x", "url": "http://h", "http": {}}]}),
            false,
        ),
        (
            json!({"name": "a", "baseUrl": "http://10.0.0.1", "checks": [{"name": "x", "advisory": true, "tcp": {}}]}),
            false,
        ),
        (json!({"name": "a", "baseUrl": "http://10.0.0.1", "checks": [{"name": "x", "tcp": {}}]}), true),
        (
            json!({"name": "a", "baseUrl": "http://h", "checks": [{"name": "x", "url": "http://10.0.0.1", "http": {}}]}),
            true,
        ),
    ] {
        let parsed = read(&json!({"instances": [instance, {"name": "b", "baseUrl": "http://h"}]}));
        let [problem] = &parsed.problems[..] else { panic!("{parsed:?}") };
        assert_eq!((problem.kind, problem.instance.as_deref()), (ProblemKind::AddressDenied, Some("a")));
        assert!(problem.sentence.to_lowercase().contains("url: 10/8 is not probed"), "{problem}");
        assert_eq!(parsed.mirrored.expect("b").instances.len(), 1 + usize::from(served), "{instance}");
    }
}

#[test]
fn a_verdict_holds_only_for_what_was_probed() {
    let spec = json!({"instances": [{"name": "a", "baseUrl": "http://h:1"}, {"name": "b", "baseUrl": "http://h:2"}]});
    let hash = |n: usize| read(&spec).instances[n].probe_hash.clone().expect("readable");
    assert_ne!(hash(0), hash(1));
    let reported = |name: &str, hash: String, reason: &str| json!({"name": name, "health": "Unhealthy", "reason": reason, "message": "m", "probeHash": hash, "since": "2026-01-02T03:04:05.678Z"});
    let status =
        json!({"instances": [reported("a", hash(0), "ConnectRefused"), reported("b", hash(0), "ConnectRefused")]});
    let parsed = parse(&object(&spec, &status), &NoTens).mirrored.expect("taken in");
    let a = parsed.instances[0].reported.clone().expect("reported");
    assert_eq!((a.health, a.reason, &*a.message), (Health::Unhealthy, Reason::ConnectRefused, "m"));
    assert_eq!(a.since.to_string(), "2026-01-02T03:04:05.678Z");
    assert_eq!(parsed.instances[1].reported, None);

    let status = json!({"instances": [reported("a", hash(0), "FromTheFuture")]});
    let parsed = parse(&object(&spec, &status), &NoTens).mirrored.expect("taken in");
    assert_eq!(parsed.instances[0].reported.as_ref().map(|t| t.health), Some(Health::Unhealthy));
}

#[test]
fn the_hash_is_the_same_on_every_replica_and_in_every_version() {
    let golden = |base: &str, health: Option<&str>, check: &str| {
        let spec = InstanceSpec {
            health_url: health.map(|url| EndpointUrl::health(url).expect(url)),
            check: serde_json::from_str(check).expect(check),
            version: "has no part in it".to_owned(),
            metadata: [("a".to_owned(), "b".to_owned())].into(),
            weight: 7,
            ..InstanceSpec::at(EndpointUrl::base(base).expect(base))
        };
        probe_hash(&spec)
    };
    insta::assert_debug_snapshot!([
        golden("http://10.0.0.5:8080", None, "{}"),
        golden("http://10.0.0.5:8080", Some("http://10.0.0.5:9000/live"), "{}"),
        golden("http://10.0.0.5:8080", None, r#"{"tcp":{}}"#),
        golden("http://h", None, r#"{"http":{"path":"/a","expected_statuses":[204,200]},"interval_seconds":10}"#),
        golden(
            "http://h",
            None,
            r#"{"http":{"method":"HEAD","host":"a.b","headers":{"x-b":"2","x-a":"1"},"tls":{"verify":false}}}"#
        ),
        golden(
            "grpcs://h:1",
            None,
            r#"{"grpc":{"service":"a.B","tls":{"ca":"corp.pem","server_name":"x"}},"timeout_seconds":2}"#
        ),
        golden(
            "tcp://h:1",
            None,
            r#"{"none":{},"retry_interval_seconds":3,"unhealthy_threshold":4,"healthy_threshold":5}"#
        ),
    ]);
}

#[test]
fn the_hash_covers_every_check() {
    let golden = |check: &str, checks: &str| {
        let spec = InstanceSpec {
            check: serde_json::from_str(check).expect(check),
            checks: serde_json::from_str(checks).expect(checks),
            ..InstanceSpec::at(EndpointUrl::base("http://h").expect("a URL"))
        };
        probe_hash(&spec)
    };
    let hashes = [
        golden("{}", "[]"),
        golden("{}", r#"[{"name":"a","tcp":{}}]"#),
        golden("{}", r#"[{"name":"a","advisory":true,"tcp":{}}]"#),
        golden("{}", r#"[{"name":"a","url":"tcp://h:1","tcp":{}}]"#),
        golden("{}", r#"[{"name":"a","tcp":{}},{"name":"b","heartbeat":{"ttl_seconds":30}}]"#),
        golden(
            r#"{"http":{"identity":{"json":{"/name":"$service"},"header":{"x-a":"b"},"tls_san":"c"},"version_from":"/v"}}"#,
            "[]",
        ),
    ];
    let different: std::collections::BTreeSet<&String> = hashes.iter().collect();
    assert_eq!(different.len(), hashes.len());
    insta::assert_debug_snapshot!(hashes);
}

#[test]
fn an_object_that_does_not_fit_is_recorded_with_its_place() {
    let lenient: Lenient = serde_json::from_value(json!({
        "metadata": {"name": "a", "namespace": "b", "uid": "01900000-0000-7000-8000-000000000001", "resourceVersion": "7"},
        "spec": {"instances": "none\u{1b}[2J"},
    }))
    .expect("any object with metadata");
    let parsed = parse_any(&lenient, &NoTens);
    assert_eq!(parsed.mirrored, None);
    let problem = parsed.problems[0].to_string();
    assert!(problem.contains("cannot be read") && !problem.contains('\u{1b}'), "{problem}");
    let id = ObjectId::of(kube::Resource::meta(&lenient)).expect("a id");
    assert_eq!((id.key.as_str(), id.revision), ("b/a", 7));
}

#[test]
fn what_is_being_deleted_or_empty_is_not_taken_in() {
    let mut object = object(&json!({"instances": [{"name": "a", "baseUrl": "http://h"}]}), &Value::Null);
    object.metadata.deletion_timestamp = object.metadata.creation_timestamp.clone();
    let parsed = parse(&object, &NoTens);
    assert_eq!((parsed.mirrored, parsed.deleting, parsed.problems.len()), (None, true, 0));
    assert_eq!(
        problems(&json!({"instances": []})),
        ["Invalid spec.instances is empty; name at least one, or a core Service in spec.from"]
    );
    object.metadata.deletion_timestamp = None;
    object.metadata.name = Some("a.b".to_owned());
    let parsed = parse(&object, &NoTens);
    assert_eq!(parsed.mirrored, None);
    assert!(parsed.problems[0].sentence.contains("try \"a-b\""), "{:?}", parsed.problems);
}

mod round_trip;
