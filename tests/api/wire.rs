//! The JSON that is written without the wire types, for speed, is what the wire types write and read.

use std::collections::BTreeMap;

use portolan::catalog::render;
use portolan::model::check::Check;
use portolan::model::name::{Namespace, ServiceKey, ServiceName};
use portolan::model::outcome::{Health, Reason};
use portolan::model::service::{Instance, InstanceId, InstanceSpec, Owner, Service, Source};
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
    r#"{"http":{"path":"/\"x","expected_statuses":[204,200],"headers":{"x-a":"b\\"}},"timeout_seconds":9}"#,
];

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

fn spec() -> impl Strategy<Value = InstanceSpec> {
    let health_url = proptest::option::of(select(&["http://a.example:8081/health?x=1", "tcp://10.0.0.1:6379"][..]));
    let urls = (select(&["http://10.0.0.5:8080/base", "https://[::1]/", "redis://a.example:6379"][..]), health_url);
    (urls, select(CHECKS), text(), text(), labels(), 0..=1000_u16, text()).prop_map(
        |((base_url, health_url), check, version, description, metadata, weight, zone)| InstanceSpec {
            base_url: EndpointUrl::base(base_url).expect("a URL"),
            health_url: health_url.map(|url| EndpointUrl::health(url).expect("a URL")),
            check: serde_json::from_str::<Check>(check).expect("a check"),
            version,
            description,
            metadata,
            weight,
            zone,
        },
    )
}

fn instance() -> impl Strategy<Value = Instance> {
    let numbers = (any::<u64>(), proptest::option::of(any::<u64>()), any::<i64>());
    (spec(), numbers, time(), time(), select(Health::ALL), select(Reason::ALL)).prop_map(
        |(spec, (generation, fence, id), created_at, since, health, reason)| Instance {
            id: InstanceId(id),
            name: "unnamed".parse().expect("a name"),
            spec: spec.into(),
            owner: Owner::Anonymous,
            generation,
            fence,
            created_at,
            health,
            reason,
            since,
            message: None,
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

fn same(fast: &render::Rendered, last_check: Option<UnixMs>, expected: &wire::Service) -> Result<(), TestCaseError> {
    let mut fast_text = Vec::new();
    fast.write(last_check, &mut fast_text);
    let expected = serde_json::to_string(expected).expect("JSON");
    prop_assert_eq!(String::from_utf8_lossy(&fast_text), expected.as_str());
    prop_assert_eq!(rewritten::<wire::Service>(&fast_text), expected);
    Ok(())
}

proptest! {
    #[test]
    fn the_catalog_renders_a_service_as_the_wire_type_does(
        service in service(),
        last_check in proptest::option::of(time()),
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
