//! What an object means.

use serde_json::{Value, json};

use super::*;
use crate::model::check::{Check, CheckKind, CheckTiming, Target};
use crate::model::name::InstanceName;
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
    ] {
        let parsed = read(&json!({"instances": [instance, {"name": "b", "baseUrl": "http://h"}]}));
        let [problem] = &parsed.problems[..] else { panic!("{parsed:?}") };
        assert_eq!((problem.kind, problem.instance.as_deref()), (ProblemKind::AddressDenied, Some("a")));
        assert!(problem.sentence.contains("Url: 10/8 is not probed"), "{problem}");
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
    assert_eq!(problems(&json!({"instances": []})), ["Invalid spec.instances is empty; name at least one"]);
    object.metadata.deletion_timestamp = None;
    object.metadata.name = Some("a.b".to_owned());
    let parsed = parse(&object, &NoTens);
    assert_eq!(parsed.mirrored, None);
    assert!(parsed.problems[0].sentence.contains("try \"a-b\""), "{:?}", parsed.problems);
}

mod round_trip {
    use proptest::prelude::*;

    use super::*;
    use crate::model::check::{GrpcCheck, HttpCheck, TlsCheck};
    use crate::model::ports::Registration;
    use crate::operator::registrar::object;

    fn text(max: usize) -> impl Strategy<Value = String> {
        proptest::collection::vec(any::<char>().prop_filter("plain", |c| !text::is_hostile(*c)), 0..max)
            .prop_map(|chars| chars.into_iter().collect())
    }

    fn tls() -> impl Strategy<Value = TlsCheck> {
        let file = || proptest::option::of("[a-z]{1,9}");
        (any::<bool>(), proptest::option::of("[a-z.]{1,9}"), file(), file())
            .prop_map(|(verify, server_name, ca, client_cert)| TlsCheck { verify, server_name, ca, client_cert })
    }

    fn kind() -> impl Strategy<Value = Option<CheckKind>> {
        let http =
            (proptest::option::of("/[a-z?=]{0,9}"), proptest::collection::vec(100u16..600, 0..4), tls()).prop_map(
                |(path, expected_statuses, tls)| HttpCheck { path, expected_statuses, tls, ..HttpCheck::default() },
            );
        prop_oneof![
            Just(None),
            Just(Some(CheckKind::Tcp)),
            Just(Some(CheckKind::None)),
            http.prop_map(|http| Some(CheckKind::Http(http))),
            (text(9), tls()).prop_map(|(service, tls)| Some(CheckKind::Grpc(GrpcCheck { service, tls }))),
        ]
    }

    fn check() -> impl Strategy<Value = Check> {
        let seconds = || proptest::option::of(1u32..=10);
        (kind(), seconds(), seconds(), seconds(), seconds(), seconds()).prop_map(|(kind, a, b, c, d, e)| Check {
            kind,
            timing: CheckTiming {
                interval_seconds: a,
                timeout_seconds: b,
                retry_interval_seconds: c,
                unhealthy_threshold: d,
                healthy_threshold: e,
            },
        })
    }

    fn spec() -> impl Strategy<Value = InstanceSpec> {
        let metadata = proptest::collection::btree_map("[a-z]{1,9}", text(20), 0..5);
        let url = |path: bool| {
            let path = if path { "/[a-z]{0,5}" } else { "/?" };
            (prop_oneof![Just("http"), Just("https")], "[a-z]{1,9}", 1u16.., path)
                .prop_map(|(scheme, host, port, path)| format!("{scheme}://{host}:{port}{path}"))
        };
        (url(false), proptest::option::of(url(true)), check(), [text(20), text(40), text(9)], metadata, 0u16..=1000)
            .prop_map(|(base, health, check, [version, description, zone], metadata, weight)| InstanceSpec {
                base_url: EndpointUrl::base(&base).expect("a URL"),
                health_url: health.map(|url| EndpointUrl::health(&url).expect("a URL")),
                check,
                version,
                description,
                metadata,
                weight,
                zone,
            })
    }

    proptest! {
        #[test]
        fn a_registration_comes_back_from_the_api_as_it_went(
            spec in spec(), owner in proptest::option::of((text(9), text(9))), generation in 0..=u64::MAX / 2,
        ) {
            let owner = owner.map_or(Owner::Anonymous, |(issuer, subject)| Owner::Token { issuer: issuer.into(), subject: subject.into() });
            let fits = spec.check.plan(&spec.base_url, spec.health_url.as_ref(), std::time::Duration::from_secs(30)).is_ok();
            let registration = Registration {
                namespace: "shop".parse().expect("a label"), service: "a".parse().expect("a label"),
                instance: "i-1".parse().expect("a label"), spec,
            };
            let entry = object::entry(&registration.instance, &registration.spec, &owner, generation);
            let mut object = object::resource(&registration.key(), None, vec![entry]);
            object.metadata.uid = Some("01900000-0000-7000-8000-000000000001".to_owned());
            object.metadata.resource_version = Some("1".to_owned());
            let stored = serde_json::to_string(&object).expect("JSON");
            let parsed = parse(&serde_json::from_str(&stored).expect("an object"), &NoTens);
            prop_assert_eq!(parsed.mirrored.is_some(), fits, "{:?}", parsed.problems);
            if let Some(mirrored) = parsed.mirrored {
                prop_assert_eq!(mirrored.key, registration.key());
                prop_assert_eq!(mirrored.source, Source::Rest);
                let [instance] = &mirrored.instances[..] else { return Err(TestCaseError::fail("one instance")) };
                prop_assert_eq!(&*instance.spec, &registration.spec);
                prop_assert_eq!((&instance.owner, instance.generation), (&owner, Some(generation)));
            }
        }
    }
}
