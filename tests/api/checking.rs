//! Checks on request, by the real prober against real targets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use portolan::api::access::Scopes;
use portolan::prober::ProberSettings;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::app::{Options, TestApp, token};
use crate::schema::Schemas;

/// A target that answers with the current status.
struct Target {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    _task: JoinSet<()>,
}

impl Target {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let status = Arc::new(AtomicU16::new(200));
        let mut task = JoinSet::new();
        let current = Arc::clone(&status);
        task.spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { break };
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let answer = format!("HTTP/1.1 {} X\r\ncontent-length: 0\r\n\r\n", current.load(Ordering::Relaxed));
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, status, _task: task }
    }

    fn body(&self, name: &str, instance: &str) -> Value {
        // Rarely probed on schedule, so that only the requested checks change anything.
        json!({
            "name": name, "instance": instance, "base_url": format!("http://{}", self.address),
            "health_url": format!("http://{}/health", self.address), "check": {"interval_seconds": 86400},
        })
    }
}

async fn probing() -> TestApp {
    TestApp::with(Options { prober: Some(ProberSettings::default()), ..Options::default() }).await
}

async fn check(app: &TestApp, id: &str) -> Value {
    let target = format!("/api/v1/services/{id}/health-check");
    let answer = app.send(app.request(Method::POST, &target)).await;
    Schemas::load().check("POST", &target, answer.status.as_u16(), &answer.json());
    answer.ok()
}

#[tokio::test]
async fn one_outcome_counts_at_once_in_the_reply_and_for_the_next_read() {
    let app = probing().await;
    let target = Target::start().await;
    let id = app.register(&target.body("a", "default")).await.ok()["data"]["id"].as_str().expect("an id").to_owned();
    for (status, health, reason) in
        [(200, "healthy", "Passed"), (503, "unhealthy", "UnexpectedStatus"), (204, "healthy", "Passed")]
    {
        target.status.store(status, Ordering::Relaxed);
        let done = check(&app, &id).await;
        assert_eq!(done["message"], "Health check completed");
        assert_eq!((&done["data"]["status"], &done["data"]["reason"]), (&json!(health), &json!(reason)));
        assert!(done["data"]["last_health_check"].is_string());
        let checked = &done["checks"][0];
        assert_eq!((&checked["instance"], &checked["held"]), (&json!("default"), &json!(false)));
        assert_eq!(checked["outcome"]["code"], status);
        assert_eq!(checked["outcome"]["address"], target.address.to_string());
        assert!(checked["outcome"]["timings"]["connect_us"].is_u64());
        let read = app.get("/api/v1/services/discover?name=a").await.ok();
        assert_eq!(read["data"]["status"], health);
    }
}

#[tokio::test]
async fn every_instance_is_probed_and_one_without_a_check_says_so() {
    let app = probing().await;
    let (up, down) = (Target::start().await, Target::start().await);
    down.status.store(500, Ordering::Relaxed);
    app.register(&up.body("a", "up")).await.ok();
    app.register(&down.body("a", "down")).await.ok();
    let plain = json!({"name": "a", "instance": "plain", "base_url": "http://127.0.0.1:9"});
    let id = app.register(&plain).await.ok()["data"]["id"].as_str().expect("an id").to_owned();
    let done = check(&app, &id).await;
    let mut verdicts: Vec<(String, Value)> = done["checks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| (c["instance"].as_str().expect("a name").to_owned(), c["outcome"]["verdict"].clone()))
        .collect();
    verdicts.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [("down", json!("fail")), ("plain", Value::Null), ("up", json!("pass"))];
    assert_eq!(verdicts, expected.map(|(name, verdict)| (name.to_owned(), verdict)));
    assert_eq!(done["data"]["status"], "healthy");
    let healthy = app.get("/api/v1/services/discover?name=a&healthy=true").await.ok();
    assert_eq!(healthy["data"]["instances"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_check_takes_no_body_but_an_empty_one() {
    let app = probing().await;
    let target = Target::start().await;
    let id = app.register(&target.body("a", "default")).await.ok()["data"]["id"].as_str().expect("an id").to_owned();
    let ask = |kind: &'static str, body: &'static str| {
        let request = app.request(Method::POST, &format!("/api/v1/services/{id}/health-check"));
        app.send(request.header("content-type", kind).body(body))
    };
    for (kind, body) in [("text/plain", ""), ("application/json", ""), ("application/json", " {} ")] {
        assert_eq!(ask(kind, body).await.ok()["data"]["status"], "healthy", "{kind} {body:?}");
    }
    for (kind, body) in [("text/plain", "hello"), ("text/plain", "{}"), ("application/json; charset=utf-16", "{}")] {
        assert_eq!(ask(kind, body).await.refusal(415), "not_json", "{kind} {body:?}");
    }
    let named = ask("application/json", r#"{"force": true}"#).await;
    assert_eq!(named.refusal(400), "invalid_payload");
    assert_eq!(named.json()["details"][0]["field"], "force");
    assert_eq!(ask("application/json", "[]").await.refusal(400), "invalid_payload");
}

#[tokio::test]
async fn what_cannot_be_checked_is_refused() {
    let app = probing().await;
    let nobody = "/api/v1/services/01890a5d-ac96-774b-bcce-b302099a8057/health-check";
    assert_eq!(app.send(app.request(Method::POST, nobody)).await.refusal(404), "service_not_found");
    let without = TestApp::start().await;
    let id = without.add("a").await["id"].as_str().expect("an id").to_owned();
    let answer = without.send(without.request(Method::POST, &format!("/api/v1/services/{id}/health-check"))).await;
    assert_eq!(answer.refusal(503), "unavailable");
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test]
async fn over_the_budget_of_the_address_is_a_429() {
    let budget = ProberSettings { per_address: 1, loopback_exempt: false, ..ProberSettings::default() };
    let app = TestApp::with(Options { prober: Some(budget), ..Options::default() }).await;
    let target = Target::start().await;
    let id = app.register(&target.body("a", "default")).await.ok()["data"]["id"].as_str().expect("an id").to_owned();
    let target = format!("/api/v1/services/{id}/health-check");
    for _ in 0..200 {
        let answer = app.send(app.request(Method::POST, &target)).await;
        if answer.status != 200 {
            assert_eq!(answer.refusal(429), "probe_budget");
            assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|s| s >= 1));
            return;
        }
    }
    panic!("200 checks at one a second were all made");
}

#[tokio::test]
async fn evidence_is_for_those_whose_token_covers_it() {
    let app =
        TestApp::with(Options { auth: true, prober: Some(ProberSettings::default()), ..Options::default() }).await;
    let target = Target::start().await;
    let writer = token("t", None, Some(Scopes { read: false, register: true, admin: false }));
    let reader = token("t", None, None);
    let request = app.request(Method::POST, "/api/v1/services/register").bearer_auth(&writer);
    let id = app.send(request.json(&target.body("a", "default"))).await.ok()["data"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/api/v1/services/{id}/health-check");
    let bare = app.send(app.request(Method::POST, &path).bearer_auth(&writer)).await.ok();
    let outcome = &bare["checks"][0]["outcome"];
    assert_eq!((&outcome["verdict"], &outcome["reason"]), (&json!("pass"), &json!("Passed")));
    assert!(outcome.get("address").is_none() && outcome.get("timings").is_none(), "{outcome}");
    Schemas::load().check("POST", &path, 200, &bare);
    let full = app.send(app.request(Method::POST, &path).bearer_auth(&reader)).await.ok();
    assert_eq!(full["checks"][0]["outcome"]["address"], target.address.to_string());
    let history = format!("/api/v1/services/{id}/history");
    assert_eq!(app.get(&history).await.refusal(401), "token_required");
    let report = app.send(app.request(Method::GET, &history).bearer_auth(&reader)).await.ok();
    assert_eq!(report["data"][0]["evidence"]["code"], 200);
}

#[tokio::test]
async fn where_reads_need_a_token_an_observer_must_read_or_own_the_service() {
    let prober = Some(ProberSettings::default());
    let app = TestApp::with(Options { auth: true, read_auth: true, prober, ..Options::default() }).await;
    let target = Target::start().await;
    let only_register = Some(Scopes { read: false, register: true, admin: false });
    let owner = token("owner", None, only_register);
    let request = app.request(Method::POST, "/api/v1/services/register").bearer_auth(&owner);
    let answer = app.send(request.json(&target.body("a", "default"))).await.ok();
    let path = format!("/api/v1/services/{}/health-check?observe=true", answer["data"]["id"].as_str().expect("an id"));
    let observe = async |token: &str| app.send(app.request(Method::POST, &path).bearer_auth(token)).await;
    for seen_by in [owner, token("reader", None, None)] {
        assert_eq!(observe(&seen_by).await.ok()["data"]["name"], "a");
    }
    let refused = observe(&token("other", None, only_register)).await;
    assert_eq!(refused.refusal(403), "insufficient_scope");
    assert!(refused.header("www-authenticate").contains("scope=\"read\""));
}
