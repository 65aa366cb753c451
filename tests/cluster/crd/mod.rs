//! The custom resource's definition, judged by a real API server.

mod both;
mod refusals;
mod upgrade;

use std::time::Duration;

use control_plane::ControlPlane;
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use portolan::model::text::{is_hostile, is_joiner};
use portolan::operator::crd::ServiceResource;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::common::{define, shared};

/// The shared control plane with the definition installed.
pub(crate) async fn installed() -> &'static ControlPlane {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let plane = shared().await;
    INSTALLED.get_or_init(async || define(plane).await).await;
    plane
}

async fn services(plane: &ControlPlane, namespace: &str) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<ServiceResource>(&());
    Api::namespaced_with(plane.client().await.expect("a client"), namespace, &kind)
}

fn named(name: &str, spec: &Value) -> DynamicObject {
    let object =
        json!({ "apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": { "name": name }, "spec": spec });
    serde_json::from_value(object).expect("an object")
}

/// A spec whose one instance has these fields besides its name and, unless given, a base URL.
fn instance(fields: &Value) -> Value {
    let mut instance = json!({ "name": "a", "baseUrl": "http://10.0.0.5:8080" });
    instance.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    json!({ "instances": [instance] })
}

fn with(mut spec: Value, field: &str, value: Value) -> Value {
    spec[field] = value;
    spec
}

fn url(url: &str) -> Value {
    instance(&json!({ "baseUrl": url }))
}

/// The schema's patterns and the code's own idea of hostile characters are written apart, and mean the same. Joiners may be in text, and in
/// no address.
#[tokio::test]
async fn exactly_the_hostile_characters_are_refused() {
    let plane = installed().await;
    let namespace = plane.namespace("hostile").await.expect("a namespace");
    let api = services(plane, &namespace).await;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let kind = |c: char| (is_hostile(c), c.is_whitespace(), is_joiner(c));
    let differs = |a: char, b: char| kind(a) != kind(b);
    let plane_of = |from: u32, to: u32| (from..to).filter_map(char::from_u32).collect::<Vec<_>>();
    let all = [plane_of(0, 0x3100), plane_of(0xfe00, 0x1_0000), plane_of(0xd_fff0, 0xe_0100)].concat();
    let edges = all.windows(2).filter(|pair| differs(pair[0], pair[1])).flatten().copied();
    let edges: std::collections::BTreeSet<char> = edges.collect();
    assert!(edges.len() > 30, "{edges:?}");
    for c in edges {
        let text = with(url("http://h"), "description", json!(format!("a{c}b")));
        let accepted = api.create(&dry, &named("a", &text)).await.is_ok();
        assert_eq!(accepted, !is_hostile(c), "U+{:04X} in a description", c as u32);
        let accepted = api.create(&dry, &named("a", &url(&format!("http://h/a{c}b")))).await.is_ok();
        let plain = !is_hostile(c) && !c.is_whitespace() && !is_joiner(c);
        assert_eq!(accepted, plain, "U+{:04X} in a URL", c as u32);
    }
}

#[tokio::test]
async fn the_source_stays_what_it_was() {
    let plane = installed().await;
    let namespace = plane.namespace("source").await.expect("a namespace");
    let api = services(plane, &namespace).await;
    let mut object = api.create(&PostParams::default(), &named("a", &url("http://h"))).await.expect("created");
    assert_eq!(object.data["spec"]["source"], "Manifest");
    // A default inside of a list would make every `kubectl apply` of the same manifest a change.
    assert_eq!(object.data["spec"]["instances"], json!([{ "name": "a", "baseUrl": "http://h" }]));
    object.data["spec"]["source"] = json!("Rest");
    let refused = api.replace("a", &PostParams::default(), &object).await.expect_err("refused").to_string();
    assert!(
        refused.contains("spec.source: Forbidden: source cannot be changed; delete the object, then create it again"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_is_right_is_accepted() {
    let plane = installed().await;
    let namespace = plane.namespace("accepted").await.expect("a namespace");
    let api = services(plane, &namespace).await;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let many = (0..256).map(|i| json!({"name": format!("i{i}"), "baseUrl": format!("http://h{i}:{}", i + 1)}));
    for spec in [
        url("HTTPS://[::1]:65535/a?b=c@d"),
        url("http://münchen.example/"),
        url("postgres://db.corp:5432"),
        instance(
            &json!({"baseUrl": "postgres://db.corp:5432", "check": {"tcp": {}, "intervalSeconds": 5, "retryIntervalSeconds": 5}}),
        ),
        instance(
            &json!({"baseUrl": "postgres://db.corp:5432", "healthUrl": "http://db.corp:8008/primary", "check": {"http": {"method": "HEAD"}}}),
        ),
        with(
            json!({"instances": [{"name": "a", "baseUrl": "http://h"}, {"name": "b", "baseUrl": "amqp://h:5672", "check": {"tcp": {}}}]}),
            "check",
            json!({"http": {"path": "/healthz", "expectedStatuses": [200, 302], "headers": [{"name": "X-Forwarded-Proto", "value": "https"}]}}),
        ),
        instance(
            &json!({"baseUrl": "grpcs://h:443", "check": {"grpc": {"service": "a.B", "tls": {"verify": true, "ca": "corp.pem"}}}}),
        ),
        instance(
            &json!({"baseUrl": "https://h", "check": {"http": {"tls": {"caFrom": {"configMap": "corp.ca-1", "key": "ca-bundle.crt"}, "clientCertFrom": {"secret": "a"}}}}}),
        ),
        instance(&json!({"check": {"none": {}}, "weight": 0, "zone": "eu-1a", "metadata": {"équipe": "identité"}})),
        // What the REST API takes is never refused here.
        with(
            instance(
                &json!({"check": {"intervalSeconds": 1, "retryIntervalSeconds": 3}, "owner": {"subject": "ci"}, "generation": 7}),
            ),
            "source",
            json!("Rest"),
        ),
        json!({"instances": many.collect::<Value>()}),
        with(
            with(everything(), "check", json!({"heartbeat": {"ttlSeconds": 30}})),
            "checks",
            json!([{"name": "ready", "http": {"path": "/ready"}}, {"name": "disk", "advisory": true, "url": "http://h:9/disk"}]),
        ),
        with(instance(&registered()), "source", json!("Rest")),
        // At their bounds.
        instance(&json!({
            "checks": (0..7).map(|i| json!({"name": format!("x{i}"), "tcp": {}})).collect::<Value>(),
            "tags": (0..64).map(|i| format!("{i:0>512}")).collect::<Value>(),
            "externalId": "e".repeat(512),
            "drain": {"reason": "r".repeat(256), "until": "2026-01-02T03:04:05+02:00"},
        })),
    ] {
        let accepted = api.create(&dry, &named("a", &spec)).await;
        assert!(accepted.is_ok(), "{spec}\n{accepted:?}");
    }
}

/// An instance of a manifest with each field that it may have beside checks.
fn everything() -> Value {
    instance(&json!({
        "tags": ["traefik.enable=true", "b"], "externalId": "order-service:18091",
        "drain": {"reason": "kernel update", "by": "ops", "since": "2026-01-02T03:04:05Z", "until": "2026-01-02T15:00:00Z"},
    }))
}

/// What the registrar writes of an instance.
fn registered() -> Value {
    let identity = json!({"json": {"/build/name": "$service"}, "header": {"X!#$%&'*+.^_`|~-Y": "$service"}, "tlsSan": "$service.corp"});
    json!({
        "baseUrl": "https://10.0.0.5:8080", "generation": 7, "owner": {"subject": "ci"}, "deregisterAfterSeconds": 60, "tags": ["a"], "externalId": "a:b",
        "check": {"http": {"path": "/live", "identity": identity, "versionFrom": "/build/version"}},
        "checks": [{"name": "heartbeat", "heartbeat": {"ttlSeconds": 86400}, "intervalSeconds": 1, "retryIntervalSeconds": 3}],
        "drain": {"reason": "r", "by": "ci", "since": "2026-01-02T03:04:05.678Z"},
    })
}

/// The properties below `schema` that say nothing of themselves.
fn silent(schema: &Value, path: &str, found: &mut Vec<String>, seen: &mut usize) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        *seen += 1;
        if property["description"].as_str().unwrap_or_default().len() < 10 {
            found.push(path.clone());
        }
        silent(property, &path, found, seen);
        silent(&property["items"], &path, found, seen);
    }
}

#[tokio::test]
async fn every_field_is_explained() {
    let plane = installed().await;
    let client = plane.client().await.expect("a client");
    // What kubectl explain reads; the server writes it a moment after the definition.
    let served = async {
        loop {
            let request = http::Request::get("/openapi/v3/apis/portolan.dev/v1alpha1").body(Vec::new());
            match client.request::<Value>(request.expect("a request")).await {
                Ok(served) => return served,
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let served = tokio::time::timeout(Duration::from_mins(3), served).await.expect("published");
    let schema = &served["components"]["schemas"]["dev.portolan.v1alpha1.Service"];
    let (mut found, mut seen) = (Vec::new(), 0);
    for part in ["spec", "status"] {
        silent(&schema["properties"][part], part, &mut found, &mut seen);
    }
    assert!(found.is_empty() && seen > 200, "{seen} fields, without words: {found:?}");

    // Another test's kubectl may have kept a list of kinds from before.
    let fresh = format!("--cache-dir={}", plane.folder().join("explain").display());
    let explain = ["explain", "psvc.spec.instances.check.http", &fresh];
    let explained = plane.kubectl().run(&explain).await.expect("an explanation");
    for words in ["enum: GET, HEAD", "Redirects are not followed", "Left out, GET.", "WrongIdentity"] {
        assert!(explained.contains(words), "{explained}");
    }
    let explain = ["explain", "psvc.spec.instances.drain", &fresh];
    let explained = plane.kubectl().run(&explain).await.expect("an explanation");
    assert!(explained.contains("out of selection on purpose") && explained.contains("-required-"), "{explained}");
}

#[tokio::test]
async fn the_columns_show_what_is_down_since_when_and_why() {
    let plane = installed().await;
    let namespace = plane.namespace("columns").await.expect("a namespace");
    let kubectl = plane.kubectl();
    let spec = with(url("http://h:1"), "version", json!("1.4.2"));
    let api = services(plane, &namespace).await;
    let mut object = api.create(&PostParams::default(), &named("user-service", &spec)).await.expect("created");
    let bare = kubectl.run(&["get", "psvc", "-n", &namespace]).await.expect("a table");
    let heads: Vec<_> = bare.lines().next().expect("a head").split_whitespace().collect();
    assert_eq!(heads, ["NAME", "READY", "STATUS", "SINCE", "VERSION", "REASON", "AGE"]);

    object.data["status"] =
        json!({"ready": "1/2", "state": "Degraded", "since": "2026-01-02T03:04:05.678Z", "reason": "ConnectRefused"});
    let status = serde_json::to_vec(&object).expect("JSON");
    api.replace_status("user-service", &PostParams::default(), &serde_json::from_slice(&status).expect("an object"))
        .await
        .expect("written");
    let down = ["get", "portolan", "-n", &namespace, "-o", "wide", "--field-selector", "status.state=Degraded"];
    let wide = kubectl.run(&down).await.expect("a table");
    let cells: Vec<_> = wide.lines().nth(1).expect("a row").split_whitespace().collect();
    let [name, ready, state, since, version, reason, _, url] = cells[..] else { panic!("{wide}") };
    assert_eq!(
        [name, ready, state, version, reason, url],
        ["user-service", "1/2", "Degraded", "1.4.2", "ConnectRefused", "http://h:1"]
    );
    assert!(since.ends_with('d') || since.ends_with('y'), "{wide}");
    for none in ["status.state=Down", "spec.source=Rest"] {
        let none = kubectl.run(&["get", "psvc", "-n", &namespace, "-o", "name", "--field-selector", none]).await;
        assert_eq!(none.expect("an answer"), "");
    }
}

#[tokio::test]
async fn before_its_first_status_an_object_is_not_taken_for_ready() {
    let plane = installed().await;
    let namespace = plane.namespace("fresh").await.expect("a namespace");
    let api = services(plane, &namespace).await;
    let fresh = json!({ "observedGeneration": -1, "healthy": 0, "total": 0 });
    let created = api.create(&PostParams::default(), &named("cart", &url("http://h"))).await.expect("created");
    assert_eq!(created.data["status"], fresh, "in the answer");
    assert_eq!(api.get("cart").await.expect("found").data["status"], fresh, "and to every reader");
    let mut changed = created;
    changed.data["spec"]["description"] = json!("Carts");
    let changed = api.replace("cart", &PostParams::default(), &changed).await.expect("changed");
    assert_eq!((changed.metadata.generation, &changed.data["status"]), (Some(2), &fresh));

    // A manifest that is applied again changes nothing because of it.
    let manifest = format!(
        "{{apiVersion: portolan.dev/v1alpha1, kind: Service, metadata: {{name: shop, namespace: {namespace}}}, \
         spec: {{instances: [{{name: a, baseUrl: 'http://h'}}]}}}}"
    );
    plane.kubectl().apply(&manifest).await.expect("applied");
    let again = plane.kubectl().apply(&manifest).await.expect("applied");
    assert_eq!(again, "service.portolan.dev/shop unchanged\n");
}
