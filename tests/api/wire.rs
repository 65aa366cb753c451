//! The JSON that is written without the wire types, for speed, is what the wire types write and read.

use std::collections::BTreeMap;

use portolan::catalog::render;
use portolan::model::acknowledgement::{Acknowledgement, Failure};
use portolan::model::check::{Check, NamedCheck};
use portolan::model::name::{CheckName, Namespace, ServiceKey, ServiceName};
use portolan::model::outcome::{Health, Reason};
use portolan::model::service::{Drain, Instance, InstanceId, InstanceSpec, Owner, Service, Source, Warning};
use portolan::model::time::UnixMs;
use portolan::model::url::EndpointUrl;
use portolan::wire;
use proptest::prelude::*;
use proptest::sample::select;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::TestApp;
use crate::watching::Watch;

const CHECKS: &[&str] = &[
    "{}",
    r#"{"tcp":{}}"#,
    r#"{"none":{},"interval_seconds":7}"#,
    r#"{"grpc":{"service":"a.B","tls":{"verify":false}},"unhealthy_threshold":2}"#,
    r#"{"heartbeat":{"ttl_seconds":9}}"#,
    r#"{"http":{"path":"/\"x","expected_statuses":[204,200],"headers":{"x-a":"b\\"}},"timeout_seconds":9}"#,
];

/// The stamp has room for the years 1970 to 9999; a clock that shows another time is shown as no probe.
fn time_of_a_probe() -> impl Strategy<Value = UnixMs> {
    time().prop_map(|at| UnixMs(at.0.max(0)))
}

fn time() -> impl Strategy<Value = UnixMs> {
    prop_oneof![5 => 0..4_102_444_800_000_i64, 1 => -1_000_000_000_000..253_402_000_000_000_i64].prop_map(UnixMs)
}

/// Any text that may be registered, characters that JSON escapes among them.
fn text() -> impl Strategy<Value = String> {
    "[a-z\"\\\\/é漢\u{1f600}]{0,6}"
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("[a-z.\"]{1,4}", text(), 0..4)
}

const NAMED: &[&str] = &[
    r#"{"name":"admin","advisory":true,"url":"http://h:9000/ready","http":{"path":"/r"},"interval_seconds":10}"#,
    r#"{"name":"disk","tcp":{}}"#,
    r#"{"name":"id","http":{"identity":{"json":{"/\"a":"$service"},"header":{"x-a":"b"},"tls_san":"c"},"version_from":"/v"}}"#,
    r#"{"name":"heartbeat","heartbeat":{"ttl_seconds":30},"unhealthy_threshold":2}"#,
];

/// What was registered besides the fields that every instance shows.
#[derive(Debug, Clone)]
struct More {
    checks: Vec<NamedCheck>,
    tags: Vec<String>,
    external_id: Option<String>,
    deregister_after_seconds: Option<u32>,
}

fn more() -> impl Strategy<Value = More> {
    let checks = proptest::sample::subsequence(NAMED, 0..=NAMED.len());
    let tags = proptest::collection::vec(text(), 0..3);
    let after = proptest::option::of(60..=31_536_000_u32);
    (checks, tags, proptest::option::of(text()), after).prop_map(|(checks, tags, external_id, after)| More {
        checks: checks.into_iter().map(|json| serde_json::from_str(json).expect("a check")).collect(),
        tags,
        external_id,
        deregister_after_seconds: after,
    })
}

/// What is known of an instance besides its health: which check decides, a warning, which checks fail besides, a version, a drain, an acknowledgement.
#[derive(Debug, Clone)]
struct Known {
    decided_by: CheckName,
    warning: Option<Warning>,
    also_failing: Vec<CheckName>,
    observed_version: Option<String>,
    drain: Option<Drain>,
    acknowledged: Option<Acknowledgement>,
}

fn known() -> impl Strategy<Value = Known> {
    let check = || select(&["default", "admin"][..]).prop_map(|name| name.parse::<CheckName>().expect("a name"));
    let warning = (check(), select(Reason::ALL), text());
    let warning = warning.prop_map(|(check, reason, message)| Warning { check, reason, message });
    let drain = (text(), text(), time(), proptest::option::of(time()));
    let drain = drain.prop_map(|(reason, by, since, until)| Drain { reason, by, since, until });
    let note = (text(), text(), time(), proptest::option::of(time()), any::<bool>());
    let acknowledged = note.prop_map(|(note, by, since, until, whole)| {
        let failure = Failure { down: None, warning: None, also: Box::default() };
        Acknowledgement { note, by, since, until, whole, failure }
    });
    let (warning, drain) = (proptest::option::of(warning), proptest::option::of(drain));
    let checks = (check(), warning, proptest::collection::vec(check(), 0..3));
    (checks, proptest::option::of(text()), drain, proptest::option::of(acknowledged)).prop_map(
        |((decided_by, warning, also_failing), observed_version, drain, acknowledged)| Known {
            decided_by,
            warning,
            also_failing,
            observed_version,
            drain,
            acknowledged,
        },
    )
}

fn spec() -> impl Strategy<Value = InstanceSpec> {
    let health_url = proptest::option::of(select(&["http://a.example:8081/health?x=1", "tcp://10.0.0.1:6379"][..]));
    let urls = (select(&["http://10.0.0.5:8080/base", "https://[::1]/", "redis://a.example:6379"][..]), health_url);
    (urls, select(CHECKS), text(), text(), labels(), 0..=1000_u16, text(), more()).prop_map(
        |((base_url, health_url), check, version, description, metadata, weight, zone, more)| InstanceSpec {
            base_url: EndpointUrl::base(base_url).expect("a URL"),
            health_url: health_url.map(|url| EndpointUrl::health(url).expect("a URL")),
            check: serde_json::from_str::<Check>(check).expect("a check"),
            checks: more.checks,
            tags: more.tags,
            external_id: more.external_id,
            deregister_after_seconds: more.deregister_after_seconds,
            version,
            description,
            metadata,
            weight,
            zone,
        },
    )
}

fn owner() -> impl Strategy<Value = Owner> {
    let token =
        (text(), text()).prop_map(|(issuer, subject)| Owner::Token { issuer: issuer.into(), subject: subject.into() });
    prop_oneof![Just(Owner::Anonymous), token]
}

fn instance() -> impl Strategy<Value = Instance> {
    let numbers = (any::<u64>(), proptest::option::of(any::<u64>()), any::<i64>());
    (spec(), numbers, time(), time(), select(Health::ALL), select(Reason::ALL), known(), owner()).prop_map(
        |(spec, (generation, fence, id), created_at, since, health, reason, known, owner)| Instance {
            id: InstanceId(id),
            name: "unnamed".parse().expect("a name"),
            spec: spec.into(),
            owner,
            generation,
            fence,
            created_at,
            health,
            reason,
            since,
            message: None,
            decided_by: known.decided_by,
            warning: known.warning.map(Into::into),
            also_failing: known.also_failing.into(),
            observed_version: known.observed_version.map(Into::into),
            drain: known.drain.map(Into::into),
            acknowledged: known.acknowledged.map(Into::into),
        },
    )
}

fn service() -> impl Strategy<Value = Service> {
    let instances = proptest::collection::vec(instance(), 0..5);
    let times = (time(), time());
    (any::<u128>(), instances, times, any::<u64>(), any::<bool>()).prop_map(
        |(id, mut instances, (registered_at, updated_at), revision, is_rest)| {
            for (n, instance) in instances.iter_mut().enumerate() {
                instance.name = format!("i{n}").parse().expect("a name");
            }
            let namespace: Namespace = "shop".parse().expect("a namespace");
            let name: ServiceName = "user-service".parse().expect("a name");
            Service {
                id: Uuid::from_u128(id),
                key: ServiceKey::new(&namespace, &name),
                source: if is_rest { Source::Rest } else { Source::Manifest },
                registered_at,
                updated_at,
                revision,
                sequence: revision,
                unreported: None,
                instances,
            }
        },
    )
}

/// Reads the text as a `T` and writes it again.
fn rewritten<T: DeserializeOwned + Serialize>(text: &[u8]) -> String {
    let value: T = serde_json::from_slice(text).unwrap_or_else(|e| panic!("{e} in {}", String::from_utf8_lossy(text)));
    serde_json::to_string(&value).expect("JSON")
}

/// With and without owners, whole and in pieces.
fn same(fast: &render::Rendered, last_check: Option<UnixMs>, expected: &wire::Service) -> Result<(), TestCaseError> {
    for owners in [true, false] {
        let mut expected = expected.clone();
        if !owners {
            expected.instances.iter_mut().for_each(|instance| instance.owner = None);
        }
        let variant = render::Variant::of(last_check, owners);
        let mut fast_text = Vec::new();
        fast.write(&variant, &mut fast_text);
        prop_assert_eq!(fast.len_of(&variant), fast_text.len());
        prop_assert!(fast.len() >= fast_text.len());
        let mut pieces = Vec::new();
        (0..=fast_text.len() / 50).for_each(|n| fast.write_part(&variant, n * 50, 50, &mut pieces));
        prop_assert_eq!(&pieces, &fast_text);
        let expected = serde_json::to_string(&expected).expect("JSON");
        prop_assert_eq!(String::from_utf8_lossy(&fast_text), expected.as_str());
        prop_assert_eq!(rewritten::<wire::Service>(&fast_text), expected);
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_catalog_renders_a_service_as_the_wire_type_does(
        service in service(),
        last_check in proptest::option::of(time_of_a_probe()),
        shown in any::<u8>(),
    ) {
        same(&render::whole(&service), last_check, &wire::Service::new(&service, last_check))?;
        let mut part = service.clone();
        part.instances = service.instances.iter().enumerate().filter(|(n, _)| shown & (1 << n) != 0).map(|(_, i)| i.clone()).collect();
        let instances: Vec<&Instance> = part.instances.iter().collect();
        same(&render::view(&service, &instances, part.front()), last_check, &wire::Service::new(&part, last_check))?;
        if let Some(picked) = part.instances.first().cloned() {
            part.instances = vec![picked.clone()];
            let expected = wire::Service { picked: Some(picked.name.as_str().into()), ..wire::Service::new(&part, last_check) };
            same(&render::picked(&service, &picked), last_check, &expected)?;
        }
    }
}

#[tokio::test]
async fn answers_around_services_are_the_wire_types() {
    let app = TestApp::start().await;
    let body = json!({"name": "a", "base_url": "http://127.0.0.1:9", "metadata": {"team": "\"x\""}});
    let id = app.register(&body).await.ok()["data"]["id"].as_str().expect("an id").to_owned();
    app.register(&json!({"name": "a", "instance": "b", "base_url": "http://127.0.0.1:8"})).await.ok();
    app.set_health("default/a", "default", Health::Healthy).await;
    for target in [&format!("/api/v1/services/{id}"), "/api/v1/services/discover?name=a&pick=weighted"] {
        let text = app.get(target).await.text();
        assert_eq!(rewritten::<wire::OneService>(text.as_bytes()), text, "{target}");
    }
    let registered = app.register(&json!({"name": "a", "base_url": "http://127.0.0.1:7"})).await.text();
    assert!(registered.contains("warnings"), "{registered}");
    assert_eq!(rewritten::<wire::OneService>(registered.as_bytes()), registered);
    for target in ["/api/v1/services?limit=1", "/api/v1/services?namespace=none"] {
        let text = app.get(target).await.text();
        assert_eq!(rewritten::<wire::ManyServices>(text.as_bytes()), text, "{target}");
    }
}

fn same_value<T: DeserializeOwned + Serialize>(value: &Value) {
    let read: T = serde_json::from_value(value.clone()).expect("a wire type");
    assert_eq!(serde_json::to_value(&read).expect("JSON"), *value);
}

#[tokio::test]
async fn events_around_services_are_the_wire_types() {
    let app = TestApp::start().await;
    app.register(&json!({"name": "a", "base_url": "http://127.0.0.1:9"})).await.ok();
    let mut watch = Watch::open(&app, "").await;
    same_value::<wire::events::Snapshot>(&watch.named("snapshot").await);
    app.register(&json!({"name": "b", "base_url": "http://127.0.0.1:9"})).await.ok();
    same_value::<wire::events::Change>(&watch.named("change").await);
    app.delete("/api/v1/services/deregister?name=b").await.ok();
    let removed = watch.named("change").await;
    assert_eq!(removed["removed"][0]["name"], "b");
    same_value::<wire::events::Change>(&removed);
}
