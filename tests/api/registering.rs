//! What a register call does, and what it refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portolan::model::name::InstanceName;
use portolan::model::outcome::Health;
use portolan::model::ports::{Beat, BeatError, Heard, Heartbeats};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::app::{Answer, Options, TestApp};

const REGISTER: &str = "/api/v1/services/register";

async fn raw(app: &TestApp, kind: &str, body: impl Into<reqwest::Body>) -> Answer {
    app.send(app.request(Method::POST, REGISTER).header(CONTENT_TYPE, kind).body(body)).await
}

fn body() -> Value {
    json!({"name": "a", "base_url": "http://127.0.0.1:9", "version": "1.0.0"})
}

#[tokio::test]
async fn the_same_again_renews_and_moves_nothing() {
    let app = TestApp::start().await;
    let first = app.register(&body()).await.ok();
    app.set_health("default/a", "default", Health::Healthy).await;
    let revision = app.catalog.read().revision();
    let again = app.register(&body()).await.ok();
    assert_eq!(again["data"]["id"], first["data"]["id"]);
    assert_eq!(again["data"]["status"], "healthy");
    assert_eq!(again["data"]["instances"][0]["generation"], first["data"]["instances"][0]["generation"]);
    assert_eq!(app.catalog.read().revision(), revision);
    assert!(again.get("warnings").is_none());
}

/// As while an instance is being removed: so many registrations are not heard.
struct Leaving(AtomicUsize);

impl Heartbeats for Leaving {
    fn beat(&self, _: uuid::Uuid, _: &InstanceName, _: Beat) -> Result<Heard, BeatError> {
        Err(BeatError::Leaving)
    }

    fn registered(&self, _: uuid::Uuid, _: &InstanceName) -> Result<Heard, BeatError> {
        let left = self.0.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_ok() { Err(BeatError::Leaving) } else { Ok(Heard { ttl: Duration::from_secs(30) }) }
    }
}

#[tokio::test]
async fn a_renewal_of_an_instance_that_is_being_removed_is_not_acknowledged() {
    let leaving = Arc::new(Leaving(AtomicUsize::new(0)));
    let app = TestApp::with(Options { heartbeats: Some(leaving.clone()), ..Options::default() }).await;
    let leased = json!({"name": "a", "base_url": "http://127.0.0.1:9", "ttl_seconds": 30});
    app.register(&leased).await.ok();
    leaving.0.store(1, Ordering::SeqCst);
    app.register(&leased).await.ok();
    assert_eq!(leaving.0.load(Ordering::SeqCst), 0, "it went past the queue, and then through it");
    leaving.0.store(2, Ordering::SeqCst);
    let refused = app.register(&leased).await;
    assert_eq!((refused.refusal(503), refused.header("retry-after")), ("busy".to_owned(), "1"));
    app.register(&leased).await.ok();
}

#[tokio::test]
async fn another_url_resets_health_and_says_what_it_replaced() {
    let app = TestApp::start().await;
    let first = app.register(&body()).await.ok();
    app.set_health("default/a", "default", Health::Healthy).await;
    let mut moved = body();
    moved["base_url"] = "http://127.0.0.1:10".into();
    let answer = app.register(&moved).await.ok();
    assert_eq!(answer["data"]["id"], first["data"]["id"]);
    assert_eq!(answer["data"]["status"], "unknown");
    assert_ne!(answer["data"]["instances"][0]["generation"], first["data"]["instances"][0]["generation"]);
    let was = "this replaced the base_url of instance default, which was healthy: http://127.0.0.1:9 is now http://127.0.0.1:10";
    assert_eq!(answer["warnings"], json!([format!("{was}; to keep both, give each its own `instance`")]));
}

#[tokio::test]
async fn a_replaced_url_gives_a_warning_whatever_else_changes() {
    let app = TestApp::start().await;
    app.register(&body()).await.ok();
    let mut moved = body();
    moved["base_url"] = "http://127.0.0.1:10/?key=secret".into();
    moved["health_url"] = "http://127.0.0.1:10/live?key=secret".into();
    (moved["version"], moved["weight"], moved["check"]) = ("2.0.0".into(), 7.into(), json!({"interval_seconds": 5}));
    let warnings = app.register(&moved).await.ok()["warnings"].take();
    let was = "this replaced the base_url of instance default: http://127.0.0.1:9 is now http://127.0.0.1:10/?…";
    assert_eq!(
        warnings,
        json!([format!("{was}; to keep both, give each its own `instance`")]),
        "not healthy, and without its query"
    );
    let warnings = app.register(&body()).await.ok()["warnings"].take();
    let was = "this replaced the base_url of instance default: http://127.0.0.1:10/?… is now http://127.0.0.1:9";
    let removed = "this replaced the health_url of instance default: http://127.0.0.1:10/live?… is now none";
    assert_eq!(warnings, json!([format!("{was}; to keep both, give each its own `instance`"), removed]));
    let mut relabelled = body();
    relabelled["version"] = "3.0.0".into();
    assert!(app.register(&relabelled).await.ok().get("warnings").is_none());
}

#[tokio::test]
async fn an_http_check_may_be_its_path_alone() {
    let app = TestApp::start().await;
    let mut short = body();
    short["check"] = json!({"http": "/healthz", "interval_seconds": 5});
    let answer = app.register(&short).await.ok();
    let long = json!({"http": {"path": "/healthz"}, "interval_seconds": 5});
    assert_eq!(answer["data"]["instances"][0]["check"], long);
    let mut the_same = body();
    the_same["check"] = long;
    let again = app.register(&the_same).await.ok();
    assert_eq!(again["data"]["instances"][0]["generation"], answer["data"]["instances"][0]["generation"]);
}

#[tokio::test]
async fn what_is_registered_is_what_is_found() {
    let app = TestApp::start().await;
    let full = json!({
        "name": "a", "namespace": "shop", "instance": "x", "base_url": "postgres://db.example:5432", "version": "14",
        "description": "наш", "metadata": {"k": "\"v\"\\", "": "e"}, "weight": 0, "zone": "z",
        "check": {"tcp": {}, "interval_seconds": 5, "timeout_seconds": 2},
    });
    assert_eq!(app.register(&full).await.refusal(400), "invalid_payload", "an empty key");
    let mut full = full;
    full["metadata"] = json!({"k": "\"v\"\\ é"});
    app.register(&full).await.ok();
    let found = app.get("/api/v1/services/discover?name=a&namespace=shop").await.ok()["data"].take();
    for field in ["name", "namespace", "base_url", "version", "description", "metadata"] {
        assert_eq!(found[field], full[field], "{field}");
    }
    for field in ["base_url", "version", "description", "metadata", "weight", "zone", "check"] {
        assert_eq!(found["instances"][0][field], full[field], "{field}");
    }
    assert_eq!(found["instances"][0]["name"], "x");
    assert_eq!(app.get("/api/v1/services/discover?name=a").await.refusal(404), "service_not_found");
}

#[tokio::test]
async fn only_json_in_bounds_is_read() {
    let app = TestApp::start().await;
    let text = body().to_string();
    for kind in ["application/json", "application/json; charset=utf-8", "Application/JSON ;x=y"] {
        assert_eq!(raw(&app, kind, text.clone()).await.status, 200, "{kind}");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        assert_eq!(raw(&app, kind, text.clone()).await.refusal(415), "not_json", "{kind}");
    }
    let without = app.send(app.request(Method::POST, REGISTER).body(text.clone())).await;
    assert_eq!(without.refusal(415), "not_json");
    let zipped = app.request(Method::POST, REGISTER).header(CONTENT_TYPE, "application/json");
    let zipped = zipped.header("content-encoding", "gzip").body(text.clone());
    assert_eq!(app.send(zipped).await.refusal(415), "not_json");
    let exact = format!("{}{}", text, " ".repeat(64 * 1024 - text.len()));
    assert_eq!(raw(&app, "application/json", exact.clone()).await.status, 200);
    assert_eq!(raw(&app, "application/json", exact + " ").await.refusal(413), "body_too_large");
}

#[tokio::test]
async fn a_body_without_a_length_is_bounded_too() {
    let app = TestApp::start().await;
    let endless = futures::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>(vec![b' '; 4096])));
    let kind = "application/json";
    let request = app.request(Method::POST, REGISTER).header(CONTENT_TYPE, kind).body(chunked(endless));
    assert_eq!(app.send(request).await.refusal(413), "body_too_large");
}

fn chunked<S>(stream: S) -> reqwest::Body
where
    S: futures::Stream<Item = Result<Vec<u8>, std::io::Error>> + Send + Sync + 'static,
{
    use futures::StreamExt;
    use http_body_util::StreamBody;
    let frames = stream.map(|chunk| chunk.map(|bytes| hyper::body::Frame::data(bytes::Bytes::from(bytes))));
    reqwest::Body::wrap(StreamBody::new(frames))
}

#[tokio::test]
async fn malformed_json_is_a_400_that_says_where() {
    let app = TestApp::start().await;
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let many = format!("{{{}}}", (0..6000).map(|n| format!("\"\":{n}")).collect::<Vec<_>>().join(","));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "body"),
        (b"null".to_vec(), "body"),
        (b"[]".to_vec(), "body"),
        (b"{".to_vec(), "body"),
        (b"{\"name\":\"a\",}".to_vec(), "body"),
        (b"{\"name\":\"a\"} {}".to_vec(), "body"),
        (b"\xef\xbb\xbf\xef\xbb\xbf{\"name\":\"a\"}".to_vec(), "body"),
        (b"{\"name\":\"\xff\"}".to_vec(), "body"),
        (b"{\"name\":\"\\ud800\"}".to_vec(), "name"),
        (b"{\"weight\":NaN}".to_vec(), "body"),
        (b"{\"weight\":1e999}".to_vec(), "weight"),
        (b"{\"weight\":1.5}".to_vec(), "weight"),
        (b"{\"weight\":18446744073709551616}".to_vec(), "weight"),
        (b"{\"weight\":1001}".to_vec(), "weight"),
        (b"{\"name\":\"a\",\"name\":\"b\"}".to_vec(), "name"),
        (b"{\"metadata\":{\"a\":\"1\",\"a\":\"2\"}}".to_vec(), "metadata"),
        (b"{\"metadata\":{\"a\":{\"b\":1}}}".to_vec(), "metadata.a"),
        (b"{\"metadata\":\"{}\"}".to_vec(), "metadata"),
        (b"{\"check\":[]}".to_vec(), "check"),
        (b"{\"check\":{\"tcp\":{},\"http\":{}}}".to_vec(), "check"),
        (b"{\"check\":{\"http\":{\"tls\":{\"verfy\":true}}}}".to_vec(), "check.http.tls.verfy"),
        (b"{\"check\":{\"interval_seconds\":0}}".to_vec(), "check"),
        (b"{\"ttl_seconds\":0}".to_vec(), "ttl_seconds"),
        (deep.into_bytes(), "name"),
        (many.into_bytes(), "body"),
    ];
    for (bytes, field) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let answer = raw(&app, "application/json", bytes).await;
        assert_eq!(answer.refusal(400), "invalid_payload", "{shown}");
        let json = answer.json();
        assert_eq!(json["error"], "Invalid request payload");
        let details = json["details"].as_array().expect("details");
        assert!(details.iter().any(|d| d["field"] == field), "{shown}: {details:?}");
        assert!(details.iter().all(|d| d["problem"].as_str().is_some_and(|p| !p.is_empty())), "{shown}: {details:?}");
    }
}

#[tokio::test]
async fn bounds_are_the_models() {
    let app = TestApp::start().await;
    let entries = |n: usize| (0..n).map(|k| (format!("k{k}"), "v".into())).collect::<serde_json::Map<_, _>>();
    for (field, fits, too_much) in [
        ("version", json!("v".repeat(64)), json!("v".repeat(65))),
        ("description", json!("é".repeat(1024)), json!("é".repeat(1025))),
        ("zone", json!("z".repeat(63)), json!("z".repeat(64))),
        ("metadata", Value::Object(entries(64)), Value::Object(entries(65))),
        ("metadata", json!({"k": "v".repeat(1024)}), json!({"k": "v".repeat(1025)})),
        ("metadata", json!({"k".repeat(63): ""}), json!({"k".repeat(64): ""})),
        ("instance", json!("i".repeat(63)), json!("i".repeat(64))),
        ("namespace", json!("n".repeat(63)), json!("n".repeat(64))),
        ("weight", json!(1000), json!(1001)),
        ("description", json!("plain"), json!("line\nbreak")),
        ("zone", json!("a"), json!("\u{202e}a")),
        (
            "base_url",
            json!(format!("http://127.0.0.1/{}", "p".repeat(495))),
            json!(format!("http://127.0.0.1/{}", "p".repeat(496))),
        ),
        ("health_url", json!("tcp://127.0.0.1:1"), json!("postgres://127.0.0.1:1")),
        ("base_url", json!("HTTP://localhost"), json!("http://user:pw@localhost")),
    ] {
        let mut one = body();
        one[field] = fits;
        assert_eq!(app.register(&one).await.status, 200, "{field}");
        one[field] = too_much;
        let answer = app.register(&one).await;
        assert_eq!(answer.refusal(400), "invalid_payload", "{field}");
        assert!(
            answer.json()["details"][0]["field"].as_str().is_some_and(|f| f.starts_with(field)),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_denied_address_is_a_refused_registration() {
    let app = TestApp::start().await;
    for url in
        ["http://169.254.169.254/latest", "http://0xA9FEA9FE/", "http://[::ffff:169.254.169.254]/", "tcp://0.0.0.0:1"]
    {
        for field in ["base_url", "health_url"] {
            let mut one = body();
            one[field] = url.into();
            let answer = app.register(&one).await;
            assert_eq!(answer.refusal(400), "address_denied", "{url}");
            assert_eq!(answer.json()["details"][0]["field"], field);
        }
    }
}

#[tokio::test]
async fn limits_are_422_and_count_what_is_there() {
    let app = TestApp::with(Options { max_services: 2, ..Options::default() }).await;
    app.add("a").await;
    app.add("b").await;
    let third = json!({"name": "c", "base_url": "http://127.0.0.1:9"});
    assert_eq!(app.register(&third).await.refusal(422), "too_many_services");
    app.add("a").await;
    app.delete("/api/v1/services/deregister?name=a").await.ok();
    app.register(&third).await.ok();
    for n in 1..256 {
        let one = json!({"name": "c", "instance": format!("i{n}"), "base_url": "http://127.0.0.1:9"});
        app.register(&one).await.ok();
    }
    let full = json!({"name": "c", "instance": "one-more", "base_url": "http://127.0.0.1:9"});
    assert_eq!(app.register(&full).await.refusal(422), "service_full");
    for name in ["i7", "i9"] {
        app.set_health("default/c", name, Health::Unhealthy).await;
    }
    let message = app.register(&full).await.json()["error"].as_str().expect("a sentence").to_owned();
    let service = app.get("/api/v1/services/discover?name=c").await.ok();
    let instances = service["data"]["instances"].as_array().expect("a list");
    let since = &instances.iter().find(|i| i["name"] == "i7").expect("there")["since"];
    let named = format!("2 of them are unhealthy, i7 for the longest, since {}", since.as_str().expect("a time"));
    assert!(message.starts_with("the service has 256 instances") && message.contains(&named), "{message}");
}

#[tokio::test]
async fn a_query_on_a_write_is_refused() {
    let app = TestApp::start().await;
    let answer = app.post(&format!("{REGISTER}?namespace=shop"), &body()).await;
    assert_eq!(answer.refusal(400), "invalid_parameter", "it would not do what it seems to");
}
