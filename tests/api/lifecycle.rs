//! An instance's life through the API: names from external ids, drains, heartbeats, and what readers select by them.

use std::time::Duration;

use portolan::model::outcome::Health;
use portolan::prober::ProberSettings;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Answer, Options, TestApp, token};
use crate::watching::Watch;

async fn put(app: &TestApp, target: &str, body: &Value) -> Answer {
    app.send(app.request(Method::PUT, target).json(body)).await
}

/// The path of an instance, and what follows it.
fn path(service: &Value, instance: &str, what: &str) -> String {
    format!("/api/v1/services/{}/instances/{instance}/{what}", service["id"].as_str().expect("an id"))
}

fn instance<'a>(service: &'a Value, name: &str) -> &'a Value {
    let all = service["instances"].as_array().expect("a list");
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name} in {service}"))
}

/// Waits until it holds; fails if it never does.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while !holds().await {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), waited).await.unwrap_or_else(|_| panic!("never: {what}"));
}

async fn found(app: &TestApp, query: &str) -> Value {
    app.get(&format!("/api/v1/services/discover?name=s{query}")).await.ok()["data"].take()
}

#[tokio::test]
async fn every_field_of_a_program_is_kept_and_shown() {
    let app = TestApp::start().await;
    let full = json!({
        "name": "s", "base_url": "http://127.0.0.1:9", "health_url": "http://127.0.0.1:9/live",
        "tags": ["traefik.http.routers.x.rule=Host(`a`)", "größe"], "external_id": "host:users:9", "ttl_seconds": 30,
        "deregister_after_seconds": 600,
        "checks": [
            {"name": "disk", "advisory": true, "http": {"path": "/disk"}, "interval_seconds": 60},
            {"name": "admin", "url": "http://127.0.0.1:8/ready", "http": {"identity": {"json": {"/name": "$service"}}}},
        ],
    });
    let service = app.register(&full).await.ok()["data"].take();
    let shown = &service["instances"][0];
    assert!(shown["name"].as_str().is_some_and(|name| name.starts_with("host-users-9-")), "{shown}");
    for field in ["tags", "external_id", "deregister_after_seconds"] {
        assert_eq!(shown[field], full[field], "{field}");
    }
    let checks =
        [&full["checks"][1], &full["checks"][0], &json!({"name": "heartbeat", "heartbeat": {"ttl_seconds": 30}})];
    assert_eq!(shown["checks"], json!(checks), "ordered by name");
    assert!(shown.get("check").is_none() && shown.get("drain").is_none() && shown.get("decided_by").is_none());
    let revision = app.catalog.read().revision();
    assert_eq!(app.register(&full).await.ok()["data"]["instances"].as_array().map(Vec::len), Some(1));
    assert_eq!(app.catalog.read().revision(), revision, "a repeat moves nothing");

    let mut moved = full.clone();
    moved["base_url"] = "http://127.0.0.1:10".into();
    let two = app.register(&moved).await.ok()["data"].take();
    assert_eq!(two["instances"].as_array().map(Vec::len), Some(2), "another address is another instance");
    let mut named = full.clone();
    named["instance"] = "b".into();
    let refused = app.register(&named).await;
    assert_eq!(refused.refusal(409), "external_id_taken");
    assert!(refused.text().contains("leave out `instance`"), "{}", refused.text());
    let both = "/api/v1/services/deregister?name=s&external_id=host:users:9";
    let refused = app.delete(both).await;
    assert_eq!(refused.refusal(409), "has_instances");
    assert!(refused.text().contains("2 instances have this external_id"), "{}", refused.text());
    assert_eq!(app.delete(&format!("{both}&instance=b")).await.refusal(400), "invalid_parameter");
    app.delete(&format!("{both}&all=true")).await.ok();
    assert_eq!(app.get("/api/v1/services/discover?name=s").await.refusal(404), "service_not_found");
}

#[tokio::test]
async fn if_match_guards_a_removal_by_external_id() {
    let app = TestApp::start().await;
    let body = json!({"name": "s", "base_url": "http://127.0.0.1:9", "external_id": "x"});
    let service = app.register(&body).await.ok()["data"].take();
    let generation = service["instances"][0]["generation"].as_u64().expect("a number");
    let target = "/api/v1/services/deregister?name=s&external_id=x";
    let delete = |generation: u64| app.request(Method::DELETE, target).header("if-match", generation.to_string());
    assert_eq!(app.send(delete(generation + 1)).await.refusal(412), "stale_generation");
    app.send(delete(generation)).await.ok();
    assert_eq!(app.delete(target).await.refusal(404), "service_not_found");
}

#[tokio::test]
async fn bad_values_are_named_by_their_fields() {
    let app = TestApp::start().await;
    let many: Vec<String> = (0..65).map(|n| format!("t{n}")).collect();
    for (field, fits, wrong, named) in [
        ("tags", json!(many[..64]), json!(many), "tags"),
        ("tags", json!(["t".repeat(512)]), json!(["t".repeat(513)]), "tags.[0]"),
        ("tags", json!(["a", "b"]), json!(["a", "b", "a"]), "tags.[2]"),
        ("tags", json!([]), json!("a"), "tags"),
        ("external_id", json!("x".repeat(512)), json!("x".repeat(513)), "external_id"),
        ("external_id", json!("a b:c"), json!(""), "external_id"),
        ("external_id", json!("a"), json!("a\u{1b}"), "external_id"),
        ("ttl_seconds", json!(86_400), json!(86_401), "ttl_seconds"),
        ("ttl_seconds", json!(1.0), json!("30s"), "ttl_seconds"),
        ("deregister_after_seconds", json!(60), json!(59), "deregister_after_seconds"),
        ("deregister_after_seconds", json!(31_536_000), json!(31_536_001), "deregister_after_seconds"),
        ("checks", json!([{"name": "a", "tcp": {}}]), json!([{"tcp": {}}]), "checks.[0].name"),
        (
            "check",
            json!({"http": {"identity": {"json": {"/a~1b": "$version"}}}}),
            json!({"http": {"identity": {"json": {"a": "b"}}}}),
            "check",
        ),
    ] {
        let mut one = json!({"name": "s", "instance": "i", "base_url": "http://127.0.0.1:9"});
        one[field] = fits;
        assert_eq!(app.register(&one).await.status, 200, "{field}: {}", one[field]);
        one[field] = wrong;
        let answer = app.register(&one).await;
        assert_eq!(answer.refusal(400), "invalid_payload", "{field}");
        let details = answer.json()["details"].take();
        assert_eq!(details.as_array().map(Vec::len), Some(1), "{details}");
        assert!(details[0]["field"].as_str().is_some_and(|field| field.starts_with(named)), "{details}");
    }
    let denied = json!({"name": "s", "base_url": "http://127.0.0.1:9",
        "checks": [{"name": "a", "url": "http://169.254.169.254/latest"}]});
    let answer = app.register(&denied).await;
    assert_eq!(answer.refusal(400), "address_denied");
    assert_eq!(answer.json()["details"][0]["field"], "checks.a.url");
}

#[tokio::test]
async fn tags_and_warnings_select() {
    let app = TestApp::start().await;
    for (name, tags) in [("a", json!(["x", "y z"])), ("b", json!(["x"])), ("c", json!([]))] {
        let body = json!({"name": "s", "instance": name, "base_url": format!("http://127.0.0.1/{name}"), "tags": tags});
        app.register(&body).await.ok();
    }
    app.set_warning("default/s", "b").await;
    let names = |service: &Value| -> Vec<String> {
        let all = service["instances"].as_array().expect("a list");
        all.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
    };
    for (query, shown) in [
        ("", vec!["b", "a", "c"]),
        ("&tag=x", vec!["b", "a"]),
        ("&tag=x&tag=y%20z", vec!["a"]),
        ("&tag=y+z", vec!["a"]),
        ("&warning=false", vec!["a", "c"]),
        ("&warning=true", vec!["b"]),
        ("&tag=x&warning=false", vec!["a"]),
    ] {
        assert_eq!(names(&found(&app, query).await), shown, "{query}");
    }
    let none = app.get("/api/v1/services/discover?name=s&tag=y%20z&warning=true").await;
    assert_eq!(none.refusal(404), "service_not_found");
    for (query, listed) in [("tag=x", 1), ("tag=x&tag=z", 0), ("tag=y%20z&warning=true", 0), ("warning=true", 1)] {
        let list = app.get(&format!("/api/v1/services?{query}")).await.ok();
        assert_eq!(list["data"].as_array().map(Vec::len), Some(listed), "{query}: of one instance all at once");
    }
    let many = "&tag=t".repeat(17);
    for wrong in [many.as_str(), "&warning=maybe", "&version=1&version=2"] {
        let answer = app.get(&format!("/api/v1/services/discover?name=s{wrong}")).await;
        assert_eq!(answer.refusal(400), "invalid_parameter", "{wrong}");
    }
    let b = found(&app, "&warning=true").await;
    let warning = &instance(&b, "b")["warning"];
    assert_eq!(warning["check"], "default");
    assert_eq!(warning["message"], "as the test says");
}

/// `s` with the healthy instances `a`, which has more weight, and `b`.
async fn two_healthy(app: &TestApp) -> Value {
    for (name, weight) in [("a", 200), ("b", 100)] {
        let body =
            json!({"name": "s", "instance": name, "base_url": format!("http://127.0.0.1/{name}"), "weight": weight});
        app.register(&body).await.ok();
        app.set_health("default/s", name, Health::Healthy).await;
    }
    found(app, "").await
}

#[tokio::test]
async fn a_drained_instance_is_shown_and_never_selected() {
    let app = TestApp::start().await;
    let service = two_healthy(&app).await;
    assert_eq!(service["base_url"], "http://127.0.0.1/a");
    let mut watch = Watch::open(&app, "").await;
    watch.named("snapshot").await;
    let drain = path(&service, "a", "drain");
    let drained = put(&app, &drain, &json!({"reason": "kernel \u{1f427}", "for_seconds": 1800})).await.ok();
    assert_eq!(drained["message"], "Instance drained");
    let change = watch.named("change").await;
    for shown in [&drained["data"], &change["upserts"][0], &found(&app, "").await] {
        let a = instance(shown, "a");
        assert_eq!((&a["weight"], &a["status"]), (&json!(200), &json!("healthy")), "both stay");
        assert_eq!((&a["drain"]["reason"], &a["drain"]["by"]), (&json!("kernel \u{1f427}"), &json!("anonymous")));
        assert!(a["drain"]["since"].is_string() && a["drain"]["until"].is_string(), "{a}");
        assert_eq!(shown["base_url"], "http://127.0.0.1/b", "the front is one that may be used");
        assert_eq!(shown["instances"][0]["name"], "b", "and comes first");
    }
    for _ in 0..20 {
        assert_eq!(found(&app, "&pick=weighted").await["picked"], "b");
    }
    let healthy = found(&app, "&healthy=true").await;
    assert_eq!(healthy["instances"].as_array().map(Vec::len), Some(1));
    let metrics = app.get("/metrics").await;
    for (health, count) in [("healthy", 1), ("unhealthy", 0), ("drained", 1)] {
        let line =
            format!("portolan_service_instances{{namespace=\"default\",service=\"s\",health=\"{health}\"}} {count}\n");
        assert!(metrics.text().contains(&line), "{line}");
    }
    let repeated = put(&app, &drain, &json!({"reason": "disk"})).await.ok()["data"].take();
    assert_eq!(instance(&repeated, "a")["drain"]["since"], instance(&drained["data"], "a")["drain"]["since"]);
    assert!(instance(&repeated, "a")["drain"].get("until").is_none(), "it has no end any more");
    put(&app, &path(&service, "b", "drain"), &json!({"reason": "all"})).await.ok();
    for query in ["&pick=weighted", "&healthy=true"] {
        let answer = app.get(&format!("/api/v1/services/discover?name=s{query}")).await;
        assert_eq!(answer.refusal(503), "no_healthy_instance", "{query}");
    }
    let ended = app.delete(&drain).await.ok();
    assert_eq!(ended["message"], "Drain ended");
    assert_eq!(ended["data"]["base_url"], "http://127.0.0.1/a");
    assert!(instance(&ended["data"], "a").get("drain").is_none());
    let revision = app.catalog.read().revision();
    app.delete(&drain).await.ok();
    assert_eq!(app.catalog.read().revision(), revision, "there was none to end");
    let history = app.get("/api/v1/services/history?name=s&instance=a").await.ok();
    let events: Vec<_> = history["data"].as_array().expect("entries").iter().map(|e| e["event"].as_str()).collect();
    assert_eq!(events, ["undrained", "drained", "drained", "health"].map(Some));
    assert_eq!(history["data"][1]["message"], "drained by anonymous: disk");
}

#[tokio::test]
async fn history_of_an_instance_that_never_was_is_not_found() {
    let app = TestApp::start().await;
    let service = two_healthy(&app).await;
    let id = service["id"].as_str().expect("an id").to_owned();
    for path in ["history?name=s&".to_owned(), format!("{id}/history?")] {
        let of = |instance: &str| format!("/api/v1/services/{path}instance={instance}");
        assert_eq!(app.get(&of("nope")).await.refusal(404), "instance_not_found");
        assert_eq!(app.get(&of("a")).await.ok()["data"].as_array().map(Vec::len), Some(1));
    }
    let body = json!({"name": "s", "instance": "quiet", "base_url": "http://127.0.0.1/quiet"});
    app.post("/api/v1/services/register", &body).await.ok();
    let quiet = app.get("/api/v1/services/history?name=s&instance=quiet").await.ok();
    assert_eq!(quiet["data"], json!([]), "registered, but nothing has changed");
    app.delete(&format!("/api/v1/services/{id}")).await;
    app.delete(&format!("/api/v1/services/{id}?all=true")).await.ok();
    assert_eq!(app.get("/api/v1/services/history?name=s&instance=nope").await.refusal(404), "instance_not_found");
    app.get("/api/v1/services/history?name=s&instance=a").await.ok();
}

#[tokio::test]
async fn a_drain_ends_by_itself() {
    let app = TestApp::start().await;
    let service = two_healthy(&app).await;
    let mut watch = Watch::open(&app, "").await;
    watch.named("snapshot").await;
    put(&app, &path(&service, "a", "drain"), &json!({"reason": "short", "for_seconds": 1})).await.ok();
    assert!(instance(&watch.named("change").await["upserts"][0], "a")["drain"].is_object());
    let ended = watch.named("change").await;
    assert!(instance(&ended["upserts"][0], "a").get("drain").is_none(), "{ended}");
    let history = app.get("/api/v1/services/history?name=s&limit=1").await.ok();
    assert_eq!(history["data"][0]["event"], "undrained");
    assert_eq!(history["data"][0]["message"], "its drain ended by itself");
}

#[tokio::test]
async fn only_owners_drain_and_beat() {
    let app =
        TestApp::with(Options { auth: true, prober: Some(ProberSettings::default()), ..Options::default() }).await;
    let as_user = |request: reqwest::RequestBuilder, user: &str| request.bearer_auth(token(user, None, None));
    let body = json!({"name": "s", "instance": "a", "base_url": "http://127.0.0.1:9", "ttl_seconds": 30});
    let register = app.request(Method::POST, "/api/v1/services/register").json(&body);
    let service = app.send(as_user(register, "alice")).await.ok()["data"].take();
    for (method, what, body) in [
        (Method::PUT, "drain", Some(json!({"reason": "r"}))),
        (Method::DELETE, "drain", None),
        (Method::PUT, "heartbeat", None),
    ] {
        let request = || {
            let request = app.request(method.clone(), &path(&service, "a", what));
            if let Some(body) = &body { request.json(body) } else { request }
        };
        assert_eq!(app.send(request()).await.refusal(401), "token_required", "{what}");
        assert_eq!(app.send(as_user(request(), "bob")).await.refusal(403), "not_owner", "{what}");
        let elsewhere = request().bearer_auth(token("alice", Some(&["shop"]), None));
        let refused = app.send(elsewhere).await;
        assert_eq!(refused.refusal(403), "namespace_forbidden", "{what}");
        app.send(as_user(request(), "alice")).await.ok();
    }
    let by = app
        .send(as_user(app.request(Method::PUT, &path(&service, "a", "drain")).json(&json!({"reason": "r"})), "alice"));
    assert_eq!(instance(&by.await.ok()["data"], "a")["drain"]["by"], "alice");
}

#[tokio::test]
async fn a_heartbeat_proves_its_instance() {
    let app = TestApp::with(Options { prober: Some(ProberSettings::default()), ..Options::default() }).await;
    let body = json!({"name": "s", "instance": "a", "base_url": "http://127.0.0.1:9", "ttl_seconds": 30});
    let service = app.register(&body).await.ok()["data"].take();
    let beat = path(&service, "a", "heartbeat");
    let heard = app.send(app.request(Method::PUT, &beat)).await.ok();
    let data = json!({"instance": "a", "status": "pass", "ttl_seconds": 30});
    assert_eq!(heard, json!({"success": true, "message": "Heartbeat received", "data": data}));
    let healthy = async || found(&app, "").await["status"] == "healthy";
    until("it is healthy", healthy).await;
    let warned = put(&app, &beat, &json!({"status": "warn", "note": "disk \u{1b}[2J 91 %"})).await.ok();
    assert_eq!(warned["data"]["status"], "warn");
    let warns = "/api/v1/services/discover?name=s&warning=true&status=healthy";
    until("it warns", async || app.get(warns).await.status == 200).await;
    let shown = found(&app, "").await;
    let message = instance(&shown, "a")["warning"]["message"].as_str().expect("a sentence").to_owned();
    assert!(message.contains("91 %") && !message.contains('\u{1b}'), "{message}");

    for (wrong, field) in [(json!({"status": "ok"}), "status"), (json!({"note": "n".repeat(257)}), "note")] {
        let answer = put(&app, &beat, &wrong).await;
        assert_eq!(answer.refusal(400), "invalid_payload");
        assert_eq!(answer.json()["details"][0]["field"], field);
    }
    let text = app.request(Method::PUT, &beat).header("content-type", "text/plain").body("{}");
    assert_eq!(app.send(text).await.refusal(415), "not_json");
    app.register(&json!({"name": "s", "instance": "b", "base_url": "http://127.0.0.1:8"})).await.ok();
    let none = put(&app, &path(&service, "b", "heartbeat"), &json!({})).await;
    assert_eq!(none.refusal(409), "no_heartbeat_check");
    assert!(none.text().contains("ttl_seconds"), "{}", none.text());
    let nowhere = json!({"id": "01890a5d-ac96-774b-bcce-b302099a8057"});
    for target in [
        path(&service, "c", "heartbeat"),
        path(&nowhere, "a", "heartbeat"),
        path(&json!({"id": "x"}), "a", "heartbeat"),
    ] {
        let missing = put(&app, &target, &json!({})).await;
        assert_eq!(missing.refusal(404), "instance_not_found", "{target}");
        assert!(missing.text().contains("register again"), "{}", missing.text());
    }
}

#[tokio::test]
async fn a_process_that_was_replaced_does_not_keep_its_successors_registration_alive() {
    let app = TestApp::with(Options { prober: Some(ProberSettings::default()), ..Options::default() }).await;
    let body = |port: u16| json!({"name": "s", "instance": "a", "base_url": format!("http://127.0.0.1:{port}"), "ttl_seconds": 30});
    let service = app.register(&body(9)).await.ok()["data"].take();
    let first = instance(&service, "a")["generation"].clone();
    let beat = async |tag: &str| {
        app.send(app.request(Method::PUT, &path(&service, "a", "heartbeat")).header("if-match", tag)).await
    };
    for tag in [first.to_string(), format!("\"{first}\""), "*".to_owned()] {
        beat(&tag).await.ok();
    }
    let successor = app.register(&body(8)).await.ok()["data"].take();
    let second = instance(&successor, "a")["generation"].clone();
    let late = beat(&first.to_string()).await;
    assert_eq!(late.refusal(412), "stale_generation");
    assert!(late.text().contains(&format!("now has generation {second}")), "{}", late.text());
    beat(&second.to_string()).await.ok();
    assert_eq!(beat("x").await.refusal(400), "invalid_parameter");
}

#[tokio::test]
async fn heartbeats_and_drains_are_bounded_apart_from_writes() {
    let options = Options { rate: Some(1), prober: Some(ProberSettings::default()), ..Options::default() };
    let app = TestApp::with(options).await;
    let body = json!({"name": "s", "instance": "a", "base_url": "http://127.0.0.1:9", "ttl_seconds": 30});
    let service = app.register(&body).await.ok()["data"].take();
    let other = json!({"name": "t", "base_url": "http://127.0.0.1:9"});
    assert_eq!(app.register(&other).await.refusal(429), "rate_limited", "the quota of writes is spent");
    for _ in 0..3 {
        app.register(&body).await.ok();
        app.send(app.request(Method::PUT, &path(&service, "a", "heartbeat"))).await.ok();
        put(&app, &path(&service, "a", "drain"), &json!({"reason": "r"})).await.ok();
    }
    let mut refused = None;
    for _ in 0..1000 {
        let answer = app.send(app.request(Method::PUT, &path(&service, "a", "heartbeat"))).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("they have a bound of their own");
    assert_eq!(refused.refusal(429), "rate_limited");
    assert!(refused.text().contains("200 heartbeats for each write"), "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty());
    app.delete("/api/v1/services/deregister?name=s").await.ok();
}
