//! Targets for Prometheus.

use http::{Method, StatusCode};
use portolan::model::outcome::Health;
use serde_json::{Value, json};

use crate::app::{Options, TestApp};

const PATH: &str = "/sd/prometheus";

async fn groups(app: &TestApp, query: &str) -> Vec<Value> {
    let answer = app.get(&format!("{PATH}{query}")).await;
    let kind = answer.headers["content-type"].to_str().expect("ASCII");
    // One of the types that Prometheus takes.
    assert_eq!((answer.status, kind), (StatusCode::OK, "application/json; charset=utf-8"));
    answer.json().as_array().expect("a list").clone()
}

fn targets(groups: &[Value]) -> Vec<&str> {
    groups.iter().map(|group| group["targets"][0].as_str().expect("a target")).collect()
}

#[tokio::test]
async fn every_instance_is_a_target_whatever_its_health() {
    let app = TestApp::start().await;
    assert!(groups(&app, "").await.is_empty(), "an empty list, not an envelope");
    let metadata: serde_json::Map<String, Value> = [("team", "red"), ("a.b/c", "first"), ("a-b-c", "second")]
        .map(|(k, v)| (k.to_owned(), v.into()))
        .into_iter()
        .collect();
    for body in [
        json!({"name": "users", "instance": "b", "base_url": "https://users.test", "namespace": "shop", "weight": 0}),
        json!({"name": "users", "instance": "a", "base_url": "http://[2001:db8::1]:81/x", "namespace": "shop",
               "version": "1.2.0", "zone": "east", "tags": ["canary", "blue"], "metadata": metadata}),
        json!({"name": "carts", "base_url": "grpc://127.0.0.1:9090"}),
    ] {
        app.register(&body).await.ok();
    }
    app.set_health("shop/users", "a", Health::Unhealthy).await;

    let all = groups(&app, "").await;
    assert_eq!(
        targets(&all),
        ["127.0.0.1:9090", "[2001:db8::1]:81", "users.test:443"],
        "by namespace, name and instance"
    );
    let labels = &all[1]["labels"];
    for (label, value) in [
        ("__scheme__", "http"),
        ("__meta_portolan_namespace", "shop"),
        ("__meta_portolan_name", "users"),
        ("__meta_portolan_instance", "a"),
        ("__meta_portolan_health", "unhealthy"),
        ("__meta_portolan_version", "1.2.0"),
        ("__meta_portolan_zone", "east"),
        ("__meta_portolan_tags", ",canary,blue,"),
        ("__meta_portolan_drained", "false"),
        ("__meta_portolan_base_url", "http://[2001:db8::1]:81/x"),
        ("__meta_portolan_metadata_team", "red"),
        ("__meta_portolan_metadata_a_b_c", "second"),
    ] {
        assert_eq!(labels[label], value, "{label} of {labels}");
    }
    assert_eq!(all[2]["labels"]["__scheme__"], "https");
    let drained = |groups: &[Value]| {
        groups.iter().map(|group| group["labels"]["__meta_portolan_drained"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(drained(&all), ["false", "false", "true"], "a weight of 0 drains");
    assert_eq!(targets(&groups(&app, "?namespace=default").await), ["127.0.0.1:9090"]);
    assert_eq!(targets(&groups(&app, "?status=unhealthy").await), ["[2001:db8::1]:81"]);
    assert_eq!(targets(&groups(&app, "?namespace=*&meta.team=red").await), ["[2001:db8::1]:81"]);
    assert_eq!(groups(&app, "").await, all, "the order is stable");
}

#[tokio::test]
async fn a_long_list_is_sent_in_pieces() {
    let app = TestApp::start().await;
    for number in 0..300 {
        let body = json!({"name": format!("s{number:03}"), "base_url": format!("http://127.0.0.1:{}", 1000 + number)});
        app.register(&body).await.ok();
    }
    let all = groups(&app, "").await;
    let wanted: Vec<String> = (0..300).map(|number| format!("127.0.0.1:{}", 1000 + number)).collect();
    assert_eq!(targets(&all), wanted);
}

/// Prometheus keeps what it has if the status is not 200; an empty list would make it forget.
#[tokio::test]
async fn a_refusal_is_no_empty_list() {
    let app = TestApp::with(Options { read_auth: true, auth: true, ..Options::default() }).await;
    for (query, status) in [("", 401), ("?healthy=yes", 401)] {
        assert_eq!(app.get(&format!("{PATH}{query}")).await.status, status, "{query}");
    }
    let app = TestApp::start().await;
    for query in ["?healthy=true", "?namespace=Not%20one", "?status=fine", "?limit=3"] {
        assert_eq!(app.get(&format!("{PATH}{query}")).await.status, 400, "{query}");
    }
    let posted = app.send(app.request(Method::POST, PATH)).await;
    assert_eq!(posted.status, 405);
}
