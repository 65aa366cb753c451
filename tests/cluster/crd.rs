//! The custom resource's definition, judged by a real API server.

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

fn http(settings: &Value) -> Value {
    instance(&json!({ "check": { "http": settings } }))
}

fn header(name: &str, value: &str) -> Value {
    http(&json!({ "headers": [{ "name": name, "value": value }] }))
}

/// What must be refused, and the words that say why.
fn refusals() -> Vec<(Value, &'static str)> {
    let many = |n: usize| (0..n).map(|i| json!({"name": format!("i{i}"), "baseUrl": "http://h"})).collect::<Value>();
    let keys = |n: usize| (0..n).map(|i| (format!("k{i}"), json!("v"))).collect::<serde_json::Map<_, _>>();
    vec![
        (url("h:80"), "write scheme://host[:port][/path]"),
        (url("http:///x"), "write scheme://host[:port][/path]"),
        (url("http://user:pw@h/"), "user names and passwords in URLs are refused"),
        (url("http://@h/"), "user names and passwords in URLs are refused"),
        (url("http://h/#top"), "a fragment (#...) never reaches the server"),
        (url("postgres://db.corp"), "every scheme but http and https needs an explicit port"),
        (url("tcp://h"), "every scheme but http and https needs an explicit port"),
        (url("http://h:0"), "a port goes from 1 to 65535"),
        (url("tcp://h:65536"), "a port goes from 1 to 65535"),
        (url("http://h/\u{202e}"), "baseUrl in body should match"),
        (url("http://h/a b"), "baseUrl in body should match"),
        (url("http://h\\@e/"), "baseUrl in body should match"),
        (url(&format!("http://h/{}", "a".repeat(512))), "may not be more than 512"),
        (instance(&json!({"healthUrl": "postgres://db:5432"})), "a healthUrl is http, https, tcp, grpc or grpcs"),
        (instance(&json!({"healthUrl": "http://u@h"})), "user names and passwords in URLs are refused"),
        (instance(&json!({"name": "A_b"})), "name in body should match"),
        (instance(&json!({"name": "a".repeat(64)})), "may not be more than 63"),
        (instance(&json!({"weight": 1001})), "less than or equal to 1000"),
        (instance(&json!({"weight": -1})), "greater than or equal to 0"),
        (instance(&json!({"zone": "a\u{0}"})), "zone in body should match"),
        (instance(&json!({"metadata": {"k": "a\u{2028}b"}})), "metadata.k in body should match"),
        (instance(&json!({"metadata": {"k".repeat(64): "v"}})), "a key of metadata has 1 to 63 characters"),
        (instance(&json!({"metadata": {"": "v"}})), "a key of metadata has 1 to 63 characters"),
        (instance(&json!({"metadata": keys(65)})), "must have at most 64 items"),
        (with(url("http://h"), "description", json!("a\nb")), "description in body should match"),
        (with(url("http://h"), "version", json!("v".repeat(65))), "may not be more than 64"),
        (with(url("http://h"), "source", json!("Other")), "supported values: \"Manifest\", \"Rest\""),
        (instance(&json!({"check": {"http": {}, "tcp": {}}})), "name one kind of check"),
        (with(url("http://h"), "check", json!({"none": {}, "grpc": {}})), "name one kind of check"),
        (
            instance(&json!({"baseUrl": "postgres://h:1", "check": {"http": {}}})),
            "check.http is for http and https; use",
        ),
        (
            instance(&json!({"baseUrl": "postgres://h:1", "check": {"grpc": {}}})),
            "check.grpc is for grpc, grpcs, http and",
        ),
        (with(url("amqp://h:1"), "check", json!({"http": {}})), "check.http is for http and https; give each"),
        (with(url("amqp://h:1"), "check", json!({"grpc": {}})), "check.grpc is for grpc, grpcs, http and https; give"),
        (
            instance(&json!({"healthUrl": "http://h/x", "check": {"http": {"path": "/y"}}})),
            "give either healthUrl or check.http.path, not both",
        ),
        (instance(&json!({"check": {"intervalSeconds": 0}})), "greater than or equal to 1"),
        (instance(&json!({"check": {"intervalSeconds": 86401}})), "less than or equal to 86400"),
        (instance(&json!({"check": {"timeoutSeconds": 61}})), "less than or equal to 60"),
        (instance(&json!({"check": {"retryIntervalSeconds": 301}})), "less than or equal to 300"),
        (instance(&json!({"check": {"unhealthyThreshold": 11}})), "less than or equal to 10"),
        (instance(&json!({"check": {"healthyThreshold": 0}})), "greater than or equal to 1"),
        (
            instance(&json!({"check": {"intervalSeconds": 5, "retryIntervalSeconds": 6}})),
            "an instance's check.retryIntervalSeconds is longer",
        ),
        (
            with(url("http://h"), "check", json!({"intervalSeconds": 5, "retryIntervalSeconds": 6})),
            "check.retryIntervalSeconds is longer than check.intervalSeconds",
        ),
        (http(&json!({"path": "x"})), "path in body should match"),
        (http(&json!({"method": "POST"})), "supported values: \"GET\", \"HEAD\""),
        (http(&json!({"host": "a b"})), "host in body should match"),
        (http(&json!({"expectedStatuses": [600]})), "less than or equal to 599"),
        (http(&json!({"expectedStatuses": vec![200; 17]})), "must have at most 16 items"),
        (http(&json!({"tls": {"ca": "../ca.pem"}})), "ca in body should match"),
        (
            http(&json!({"headers": (0..9).map(|i| json!({"name": format!("x{i}"), "value": ""})).collect::<Value>()})),
            "must have at most 8 items",
        ),
        (header("Authorization", "Bearer x"), "a header that carries credentials"),
        (header("proxy-authorization", "x"), "a header that carries credentials"),
        (header("Cookie", "x"), "a header that carries credentials"),
        (header("X-aws-ec2-metadata-token", "x"), "a header that carries credentials"),
        (header("X-aws-ec2-metadata-token-ttl-seconds", "6"), "a header that carries credentials"),
        (header("Metadata-Flavor", "Google"), "a header that carries credentials"),
        (header("Metadata", "true"), "a header that carries credentials"),
        (header("Host", "x"), "set http.host"),
        (header("Transfer-Encoding", "chunked"), "set http.host"),
        (header("x-a", "a\r\nb: c"), "value in body should match"),
        (json!({"instances": []}), "should have at least 1 items"),
        (json!({"instances": many(257)}), "must have at most 256 items"),
        (
            json!({"instances": [{"name": "a", "baseUrl": "http://h"}, {"name": "a", "baseUrl": "http://g"}]}),
            "Duplicate value",
        ),
        (json!({}), "spec.instances: Required value"),
    ]
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_what_to_do() {
    let plane = installed().await;
    let namespace = plane.namespace("refused").await.expect("a namespace");
    let api = services(plane, &namespace).await;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let mut wrong = Vec::new();
    for (spec, words) in refusals() {
        match api.create(&dry, &named("a", &spec)).await {
            Err(kube::Error::Api(refused)) if refused.message.contains(words) => {}
            other => wrong.push(format!("{words:?}: {spec}\n  {other:?}")),
        }
    }
    let label = "a service's name is 1 to 63 characters of a-z, 0-9 and '-'";
    for name in ["a.b", &"a".repeat(64)] {
        match api.create(&dry, &named(name, &url("http://h"))).await {
            Err(kube::Error::Api(refused)) if refused.message.contains(label) => {}
            other => wrong.push(format!("{name}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
    assert!(refused.contains("source cannot be changed; delete the object and create it anew"), "{refused}");
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
    ] {
        let accepted = api.create(&dry, &named("a", &spec)).await;
        assert!(accepted.is_ok(), "{spec}\n{accepted:?}");
    }
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
    assert!(found.is_empty() && seen > 80, "{seen} fields, without words: {found:?}");

    // Another test's kubectl may have kept a list of kinds from before.
    let fresh = format!("--cache-dir={}", plane.folder().join("explain").display());
    let explain = ["explain", "psvc.spec.instances.check.http", &fresh];
    let explained = plane.kubectl().run(&explain).await.expect("an explanation");
    for words in ["enum: GET, HEAD", "Redirects are not followed", "Left out, GET."] {
        assert!(explained.contains(words), "{explained}");
    }
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
