//! Availability and outages over the API, and the counters of both in `/metrics`.

use std::time::Duration;

use portolan::model::outcome::Health;
use portolan::model::time::UnixMs;
use portolan::wire;
use serde_json::{Value, json};

use crate::app::{Options, TestApp, token};

/// Waits until the clock shows another time: outages of no length are none, and counters count milliseconds.
async fn a_moment_later() {
    let began = UnixMs::wall();
    while UnixMs::wall().since(began) < Duration::from_millis(2) {
        tokio::task::yield_now().await;
    }
}

/// `a` is up, `b` was down and is up again, `c` is down, and `d` has no check.
async fn app() -> (TestApp, Vec<String>) {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d"] {
        ids.push(app.add(name).await["id"].as_str().expect("an id").to_owned());
    }
    for name in ["default/a", "default/b", "default/c"] {
        app.set_health(name, "default", Health::Healthy).await;
    }
    app.set_health("default/b", "default", Health::Unhealthy).await;
    a_moment_later().await;
    app.set_health("default/b", "default", Health::Healthy).await;
    app.set_health("default/c", "default", Health::Unhealthy).await;
    a_moment_later().await;
    (app, ids)
}

fn read(answer: &Value) -> wire::Availability {
    serde_json::from_value(answer["data"].clone()).expect("as described")
}

#[tokio::test]
async fn a_service_has_its_availability_and_outages() {
    let (app, ids) = app().await;
    let target = |n: usize, query: &str| format!("/api/v1/services/{}/availability{query}", ids[n]);
    let up = read(&app.get(&target(0, "?window=7d&cells=48")).await.ok());
    assert_eq!((&*up.name, &*up.status, up.percent, up.outage_count), ("a", "healthy", Some(100.0), 0));
    assert_eq!((up.until.since(up.from).as_secs(), up.recovery_seconds), (7 * 86_400, None));
    let strip = up.strip.expect("a strip");
    // A machine that takes longer than a second to prove it may have known nothing for most of the last cell.
    assert!(strip.len() == 48 && strip.starts_with("-----") && strip.ends_with(['h', '?']), "{strip}");
    assert!(up.since > up.from && up.known_seconds > 0.0);

    let was_down = read(&app.get(&target(1, "")).await.ok());
    assert!(was_down.percent.is_some_and(|percent| percent < 100.0) && was_down.strip.is_none());
    let outages = was_down.outages.expect("a list");
    assert_eq!((outages.len(), was_down.outage_count), (1, 1));
    assert_eq!((&*outages[0].reason, outages[0].check.as_deref()), ("ConnectRefused", None));
    assert_eq!((outages[0].instance_count, &*outages[0].instances[0]), (1, "default"));
    assert_eq!(was_down.recovery_seconds, Some(outages[0].seconds));

    let down = read(&app.get(&target(2, "?instance=default")).await.ok());
    assert_eq!((&*down.status, down.instance.as_deref(), down.recovery_seconds), ("unhealthy", Some("default"), None));
    assert!(down.outages.expect("a list")[0].until.is_none());

    let unchecked = app.get(&target(3, "")).await.ok();
    assert_eq!((&unchecked["data"]["percent"], &unchecked["data"]["known_seconds"]), (&Value::Null, &json!(0.0)));

    for (query, status, code) in [
        ("?window=31d", 400, "invalid_parameter"),
        ("?window=soon", 400, "invalid_parameter"),
        ("?cells=0", 400, "invalid_parameter"),
        ("?cells=97", 400, "invalid_parameter"),
        ("?limit=1", 400, "invalid_parameter"),
        ("?instance=nobody", 404, "instance_not_found"),
    ] {
        assert_eq!(app.get(&target(0, query)).await.refusal(status), code, "{query}");
    }
    let nobody = "/api/v1/services/00000000-0000-7000-8000-000000000000/availability";
    assert_eq!(app.get(nobody).await.refusal(404), "service_not_found");
}

#[tokio::test]
async fn many_services_come_in_one_answer() {
    let (app, ids) = app().await;
    let names = |answer: &Value| -> Vec<String> {
        let list = answer["data"].as_array().expect("a list");
        list.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
    };
    let chosen =
        app.get(&format!("/api/v1/availability?id={}&cells=4&id={}&id={}", ids[2], ids[0], "0".repeat(8))).await;
    assert_eq!(chosen.refusal(400), "invalid_parameter");
    let chosen = app.get(&format!("/api/v1/availability?id={}&cells=4&id={}", ids[2], ids[0])).await.ok();
    assert_eq!(names(&chosen), ["c", "a"]);
    assert!(chosen["data"].as_array().expect("a list").iter().all(|one| one.get("outages").is_none()));
    assert_eq!(chosen["data"][0]["strip"], "---u");
    let first = app.get("/api/v1/availability?namespace=*&limit=3").await.ok();
    assert_eq!(names(&first), ["d", "c", "b"]);
    let cursor = first["next_cursor"].as_str().expect("more");
    let second = app.get(&format!("/api/v1/availability?namespace=*&limit=3&cursor={cursor}")).await.ok();
    assert_eq!((names(&second), second.get("next_cursor")), (vec!["a".to_owned()], None));
    let id = &ids[0];
    assert_eq!(app.get(&format!("/api/v1/availability?id={id}&limit=3")).await.refusal(400), "invalid_parameter");
}

#[tokio::test]
async fn outages_of_all_services_outlive_them() {
    let (app, ids) = app().await;
    app.delete(&format!("/api/v1/services/{}", ids[1])).await.ok();
    let all = app.get("/api/v1/outages?window=1h").await.ok();
    let outages: Vec<wire::Outage> = serde_json::from_value(all["data"].clone()).expect("as described");
    assert_eq!(outages.iter().map(|outage| &*outage.name).collect::<Vec<_>>(), ["c", "b"]);
    assert_eq!((outages[0].until, &*outages[0].instances[0]), (None, "default"));
    let first = app.get("/api/v1/outages?limit=1").await.ok();
    let cursor = first["next_cursor"].as_str().expect("more");
    let second = app.get(&format!("/api/v1/outages?limit=1&cursor={cursor}")).await.ok();
    assert_eq!((&second["data"][0]["name"], second.get("next_cursor")), (&json!("b"), None));
    assert_eq!(app.get("/api/v1/outages?namespace=shop").await.ok()["data"], json!([]));
    assert_eq!(app.get("/api/v1/outages?cursor=x").await.refusal(400), "invalid_parameter");
}

#[tokio::test]
async fn closed_reads_show_the_tokens_namespaces_only() {
    let app = TestApp::with(Options { auth: true, read_auth: true, ..Options::default() }).await;
    let body = json!({"name": "a", "base_url": "http://127.0.0.1:9"});
    let send = |method, target: &str, namespace: &str| {
        app.request(method, target).bearer_auth(token("alice", Some(&[namespace]), None))
    };
    let added = send(reqwest::Method::POST, "/api/v1/services/register", "default").json(&body);
    let id = app.send(added).await.ok()["data"]["id"].as_str().expect("an id").to_owned();
    app.set_health("default/a", "default", Health::Unhealthy).await;
    a_moment_later().await;
    let of = format!("/api/v1/services/{id}/availability");
    for (target, mine) in [("/api/v1/availability?namespace=*", 1), ("/api/v1/outages?namespace=*", 1)] {
        assert_eq!(app.get(target).await.refusal(401), "token_required", "{target}");
        let seen = |answer: Value| answer["data"].as_array().expect("a list").len();
        assert_eq!(seen(app.send(send(reqwest::Method::GET, target, "default")).await.ok()), mine, "{target}");
        assert_eq!(seen(app.send(send(reqwest::Method::GET, target, "shop")).await.ok()), 0, "{target}");
    }
    app.send(send(reqwest::Method::GET, &of, "default")).await.ok();
    assert_eq!(app.send(send(reqwest::Method::GET, &of, "shop")).await.refusal(404), "service_not_found");
}

#[tokio::test]
async fn counters_of_known_and_unhealthy_time_grow() {
    let (app, _) = app().await;
    let value = |text: &str, what: &str, service: &str| -> f64 {
        let series = format!("portolan_service_{what}_seconds_total{{namespace=\"default\",service=\"{service}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap_or_else(|| panic!("{series} is not in\n{text}")).parse().expect("a number")
    };
    let before = app.get("/metrics").await.text();
    assert!(before.contains("# TYPE portolan_service_known_seconds counter\n"));
    a_moment_later().await;
    let after = app.get("/metrics").await.text();
    for (what, service, grows) in [
        ("known", "a", true),
        ("unhealthy", "a", false),
        ("known", "b", true),
        ("unhealthy", "b", false),
        ("known", "c", true),
        ("unhealthy", "c", true),
        ("known", "d", false),
        ("unhealthy", "d", false),
    ] {
        let passed = value(&after, what, service) - value(&before, what, service);
        assert_eq!(passed > 0.0, grows, "{what} {service}: {passed}");
    }
    assert!(value(&after, "unhealthy", "b") > 0.0 && value(&after, "unhealthy", "a") == 0.0);
    let text = app.send(app.request(reqwest::Method::GET, "/metrics").header("accept", "text/plain")).await.text();
    assert!(text.contains("# TYPE portolan_service_unhealthy_seconds_total counter\n"), "{text}");
}

#[tokio::test]
async fn a_replica_that_does_not_know_every_service_yet_does_not_leave_some_out() {
    let mirror = Some(uuid::Uuid::from_u128(0xabc << 64));
    let app = TestApp::with(Options { mirror, ..Options::default() }).await;
    let id = uuid::Uuid::from_u128(1);
    let answer = app.get(&format!("/api/v1/availability?id={id}")).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &json!("unavailable")));
    // One that knows every service leaves out what is not there.
    let whole = TestApp::start().await;
    assert_eq!(whole.get(&format!("/api/v1/availability?id={id}")).await.ok()["data"], json!([]));
}
