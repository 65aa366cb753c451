//! Selection of services and instances.

use std::collections::BTreeMap;

use portolan::model::outcome::Health;
use serde_json::{Value, json};

use crate::app::TestApp;

/// `s` with four instances: two versions, two zones, one drained, one down.
async fn fleet() -> TestApp {
    let app = TestApp::start().await;
    for (name, version, zone, weight, team) in [
        ("a", "1.4.0", "east", 100, "red"),
        ("b", "1.5.2", "west", 300, "red"),
        ("c", "2.0.0", "west", 0, "blue"),
        ("d", "2.0.1", "east", 100, "blue"),
    ] {
        let body = json!({
            "name": "s", "instance": name, "base_url": format!("http://127.0.0.1/{name}"), "version": version, "zone": zone,
            "weight": weight, "metadata": {"team": team},
        });
        app.register(&body).await.ok();
    }
    for (name, health) in
        [("a", Health::Healthy), ("b", Health::Healthy), ("c", Health::Healthy), ("d", Health::Unhealthy)]
    {
        app.set_health("default/s", name, health).await;
    }
    app
}

fn instances(answer: &Value) -> Vec<&str> {
    answer["data"]["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|i| i["name"].as_str().expect("a name"))
        .collect()
}

#[tokio::test]
async fn instances_are_selected_together_and_apart() {
    let app = fleet().await;
    for (query, shown) in [
        ("", vec!["b", "a", "c", "d"]),
        ("status=healthy", vec!["b", "a", "c"]),
        ("status=unhealthy", vec!["d"]),
        ("version=^1", vec!["b", "a"]),
        ("version=1.5.x", vec!["b"]),
        ("version=%3E%3D1.5%20%3C2.0.1", vec!["b", "c"]),
        ("zone=west", vec!["b", "c"]),
        ("zone=west&version=^2", vec!["c"]),
        ("meta.team=blue", vec!["c", "d"]),
        ("meta.team=blue&status=unhealthy", vec!["d"]),
        ("healthy=true", vec!["b", "a"]),
        ("healthy=true&zone=east", vec!["a"]),
        ("healthy=false&zone=east", vec!["a", "d"]),
    ] {
        let answer = app.get(&format!("/api/v1/services/discover?name=s&{query}")).await.ok();
        assert_eq!(instances(&answer), shown, "{query}");
    }
}

#[tokio::test]
async fn what_the_service_shows_is_of_what_is_selected() {
    let app = fleet().await;
    let base = async |query: &str| {
        let data = app.get(&format!("/api/v1/services/discover?name=s{query}")).await.ok()["data"].take();
        (
            data["base_url"].as_str().expect("a URL").to_owned(),
            data["version"].as_str().expect("text").to_owned(),
            data["status"].clone(),
        )
    };
    assert_eq!(base("").await, ("http://127.0.0.1/b".into(), "2.0.1".into(), json!("healthy")));
    assert_eq!(base("&version=^1.4,<1.5").await, ("http://127.0.0.1/a".into(), "1.4.0".into(), json!("healthy")));
    assert_eq!(base("&status=unhealthy").await, ("http://127.0.0.1/d".into(), "2.0.1".into(), json!("unhealthy")));
}

#[tokio::test]
async fn none_healthy_is_a_503_and_none_at_all_a_404() {
    let app = fleet().await;
    let refused = async |query: &str, status: u16| {
        app.get(&format!("/api/v1/services/discover?name=s&{query}")).await.refusal(status)
    };
    assert_eq!(refused("healthy=true&version=2.0.1", 503).await, "no_healthy_instance");
    assert_eq!(
        refused("healthy=true&version=2.0.0", 503).await,
        "no_healthy_instance",
        "drained ones are never selected"
    );
    assert_eq!(refused("pick=weighted&version=^2", 503).await, "no_healthy_instance");
    assert_eq!(refused("zone=mars", 404).await, "service_not_found");
    assert_eq!(refused("zone=mars&healthy=true", 404).await, "service_not_found");
    for bad in
        ["status=up", "version=>=", "healthy=yes", "pick=random", "pick=", "zon=a", "meta=a", "limit=1", "namespace=*"]
    {
        assert_eq!(refused(bad, 400).await, "invalid_parameter", "{bad}");
    }
}

#[tokio::test]
async fn a_weighted_pick_follows_the_weights_and_is_not_cached() {
    let app = fleet().await;
    let mut drawn: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..400 {
        let answer = app.get("/api/v1/services/discover?name=s&pick=weighted").await;
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("etag"), "");
        let data = answer.ok()["data"].take();
        let instances = data["instances"].as_array().expect("instances");
        assert_eq!(instances.len(), 1, "the one that was drawn");
        for field in ["base_url", "version", "status"] {
            assert_eq!(data[field], instances[0][field], "{field}");
        }
        assert_eq!(data["picked"], instances[0]["name"]);
        *drawn.entry(data["base_url"].as_str().expect("a URL").to_owned()).or_default() += 1;
    }
    assert_eq!(drawn.keys().map(String::as_str).collect::<Vec<_>>(), ["http://127.0.0.1/a", "http://127.0.0.1/b"]);
    // 300 of 400 expected for b; seven standard deviations are 61.
    assert!((239..=361).contains(&drawn["http://127.0.0.1/b"]), "{drawn:?}");
}

#[tokio::test]
async fn lists_select_services() {
    let app = fleet().await;
    let plain = json!({"name": "t", "base_url": "http://127.0.0.1/t", "version": "1.0.0", "zone": "west"});
    app.register(&plain).await.ok();
    for (query, shown) in [
        ("", vec!["t", "s"]),
        ("status=healthy", vec!["s"]),
        ("status=unknown", vec!["t"]),
        ("status=unhealthy", vec![]),
        ("version=^2", vec!["s"]),
        ("version=^1", vec!["t", "s"]),
        ("zone=west", vec!["t", "s"]),
        ("zone=west&version=1.0.0", vec!["t"]),
        ("meta.team=red&version=^2", vec![]),
        ("meta.team=red&zone=east", vec!["s"]),
    ] {
        let answer = app.get(&format!("/api/v1/services?{query}")).await.ok();
        let names: Vec<_> =
            answer["data"].as_array().expect("a list").iter().map(|s| s["name"].as_str().expect("a name")).collect();
        assert_eq!(names, shown, "{query}");
    }
    assert_eq!(app.get("/api/v1/services?healthy=true").await.refusal(400), "invalid_parameter");
}

#[tokio::test]
async fn namespaces_are_apart_and_hints_say_where() {
    let app = TestApp::start().await;
    for (namespace, name) in [("default", "a"), ("shop", "a"), ("shop", "b"), ("ops", "b"), ("ops", "c")] {
        let body = json!({"name": name, "namespace": namespace, "base_url": "http://127.0.0.1:9"});
        app.register(&body).await.ok();
    }
    let names = async |query: &str| {
        let list = app.get(&format!("/api/v1/services{query}")).await.ok();
        let all = list["data"].as_array().expect("a list").iter();
        let all: Vec<String> =
            all.map(|s| format!("{}/{}", s["namespace"].as_str().unwrap(), s["name"].as_str().unwrap())).collect();
        (all, list["hint"].as_str().map(str::to_owned))
    };
    assert_eq!(names("").await, (vec!["default/a".into()], None));
    assert_eq!(names("?namespace=shop").await.0, ["shop/b", "shop/a"]);
    assert_eq!(names("?namespace=*").await.0, ["ops/c", "ops/b", "shop/b", "shop/a", "default/a"]);
    let hint = names("?namespace=empty").await.1.expect("a hint");
    assert_eq!(hint, "none in namespace empty; 5 in 3 other namespaces: add namespace=*");
    let stats = app.get("/api/v1/services/stats").await.ok();
    assert_eq!(stats["data"]["total_services"], 1);
    let stats = app.get("/api/v1/services/stats?namespace=*").await.ok();
    assert_eq!((&stats["data"]["total_services"], &stats["data"]["not_checked_services"]), (&json!(5), &json!(5)));
    assert_eq!(stats["data"]["unknown_services"], 0, "nobody asked for a check");
    let missing = app.get("/api/v1/services/discover?name=b").await;
    assert_eq!(missing.refusal(404), "service_not_found");
    assert_eq!(missing.json()["error"], "Service not found");
    assert_eq!(missing.json()["hint"], "none in namespace default, but in ops, shop: add namespace=ops");
}
