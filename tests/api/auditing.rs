//! The audit log: which requests leave a line, and what it says.

use std::io::{Read, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use portolan::api::access::Scopes;
use portolan::model::outcome::Health;
use portolan::model::time::Clock;
use portolan::operator::replicas::pass_on::LeaderLine;
use portolan::prober::ProberSettings;
use portolan::telemetry::metrics::Metrics;
use reqwest::Method;
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};

use crate::app::{Answer, Options, TestApp, token};

/// Reached only by a test that fails.
const HANG: Duration = Duration::from_mins(1);
const READ: Scopes = Scopes { read: true, register: false, admin: false };
const FIRST: &str = "/api/v1/services/register";

/// A server with an audit file, and that file.
struct Audited {
    app: TestApp,
    path: PathBuf,
    seen: usize,
    _folder: tempfile::TempDir,
}

impl Audited {
    async fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let app = TestApp::with(Options { audit: Some(path.clone()), ..options }).await;
        Self { app, path, seen: 0, _folder: folder }
    }

    async fn call(&self, method: Method, target: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        let mut request = self.app.request(method, target);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.app.send(request).await
    }

    /// The next line.
    async fn line(&mut self) -> Value {
        let started = Instant::now();
        loop {
            let lines = lines(&self.path);
            if let Some(line) = lines.get(self.seen) {
                self.seen += 1;
                return line.clone();
            }
            assert!(started.elapsed() < HANG, "only {} lines: {lines:?}", self.seen);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the next line says of these fields; absent ones are null.
    async fn says<const N: usize>(&mut self, fields: [&str; N]) -> [Value; N] {
        let line = self.line().await;
        fields.map(|field| line[field].clone())
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn pay(port: u16) -> Value {
    json!({"name": "pay", "base_url": format!("http://127.0.0.1:{port}")})
}

#[tokio::test]
async fn each_write_leaves_a_line_and_a_renewal_or_a_read_leaves_none() {
    let mut of = Audited::with(Options::default()).await;
    let named = ["action", "outcome", "status", "service", "instance"];
    let done = |action: &str, instance: Value| [json!(action), json!("done"), json!(200), json!("pay"), instance];
    let first = of.call(Method::POST, FIRST, None, Some(pay(1))).await;
    let (id_of_request, service) = (first.header("portolan-request-id").to_owned(), first.ok()["data"].clone());
    let line = of.line().await;
    assert_eq!(named.map(|field| line[field].clone()), done("register", json!("default")));
    for (field, value) in [
        ("kind", json!("anonymous")),
        ("client", json!("127.0.0.1")),
        ("peer", json!("127.0.0.1")),
        ("namespace", json!("default")),
        ("id", service["id"].clone()),
        ("generation", service["instances"][0]["generation"].clone()),
        ("revision", service["revision"].clone()),
        ("request_id", json!(id_of_request)),
        ("target", json!("portolan::audit")),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }

    of.call(Method::POST, FIRST, None, Some(pay(1))).await.ok();
    of.app.get("/api/v1/services").await.ok();
    of.call(Method::POST, FIRST, None, Some(json!({"name": "pay", "instance": "b", "base_url": "http://127.0.0.1:2"})))
        .await
        .ok();
    assert_eq!(of.says(named).await, done("register", json!("b")), "neither the renewal nor the read left a line");

    let at = format!("/api/v1/services/{}", service["id"].as_str().expect("an id"));
    let drain = format!("{at}/instances/b/drain");
    of.call(Method::PUT, &drain, None, Some(json!({"reason": "new disk"}))).await.ok();
    let line = of.line().await;
    assert_eq!(named.map(|field| line[field].clone()), done("drain", json!("b")));
    assert_eq!(line["note"], "new disk");
    of.app.delete(&drain).await.ok();
    assert_eq!(of.says(named).await, done("undrain", json!("b")));

    of.app.set_health("default/pay", "b", Health::Unhealthy).await;
    let acknowledgement = format!("{at}/acknowledgement?instance=b");
    of.call(Method::PUT, &acknowledgement, None, Some(json!({"note": "known"}))).await.ok();
    let line = of.line().await;
    assert_eq!(named.map(|field| line[field].clone()), done("acknowledge", json!("b")));
    assert_eq!(line["note"], "known");
    of.app.delete(&acknowledgement).await.ok();
    assert_eq!(of.says(named).await, done("unacknowledge", json!("b")));

    let check = format!("{at}/health-check");
    for (target, action) in [(check.clone(), "check"), (format!("{check}?observe=true&instance=b"), "observe")] {
        // No prober runs here.
        assert_eq!(of.app.send(of.app.request(Method::POST, &target)).await.refusal(503), "unavailable");
        let code = of.says(["action", "outcome", "status", "code"]).await;
        assert_eq!(code, [json!(action), json!("failed"), json!(503), json!("unavailable")]);
    }

    let generation = of.app.get(&at).await.ok()["data"]["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .find_map(|one| (one["name"] == "b").then(|| one["generation"].clone()));
    of.app.delete(&format!("{at}/instances/b")).await.ok();
    let line = of.line().await;
    assert_eq!(named.map(|field| line[field].clone()), done("deregister", json!("b")));
    assert_eq!(Some(&line["generation"]), generation.as_ref(), "that of the instance that is gone");
    of.app.delete("/api/v1/services/deregister?name=pay").await.ok();
    assert_eq!(of.says(named).await, done("deregister", Value::Null));
    of.call(Method::POST, FIRST, None, Some(pay(1))).await.ok();
    of.line().await;
    let id = of.app.get("/api/v1/services/discover?name=pay").await.ok()["data"]["id"].clone();
    of.app.delete(&format!("/api/v1/services/{}", id.as_str().expect("an id"))).await.ok();
    assert_eq!(of.says(named).await, done("deregister", Value::Null));
}

#[tokio::test]
async fn who_asked_is_named_and_only_what_was_verified_is_believed() {
    let mut of = Audited::with(Options { auth: true, ..Options::default() }).await;
    let (owner, thief) = (token("owner", None, None), token("thief", None, None));
    let who = ["kind", "subject", "status", "code", "service"];
    let id = of.call(Method::POST, FIRST, Some(&owner), Some(pay(1))).await.ok()["data"]["id"].clone();
    assert_eq!(of.says(who).await, [json!("token"), json!("owner"), json!(200), Value::Null, json!("pay")]);
    let at = format!("/api/v1/services/{}", id.as_str().expect("an id"));

    of.app.delete(&at).await.refusal(401);
    let nobody = |code: &str| [json!("unverified"), Value::Null, json!(401), json!(code), json!("pay")];
    assert_eq!(of.says(who).await, nobody("token_required"), "the path names the service");
    let forged = format!("{owner}x");
    of.call(Method::DELETE, &at, Some(&forged), None).await.refusal(401);
    assert_eq!(of.says(who).await, nobody("token_invalid"));

    let refused = |subject: &str, code: &str| [json!("token"), json!(subject), json!(403), json!(code), json!("pay")];
    of.call(Method::DELETE, &at, Some(&thief), None).await.refusal(403);
    assert_eq!(of.says(who).await, refused("thief", "not_owner"));
    let reader = token("reader", None, Some(READ));
    of.call(Method::DELETE, &at, Some(&reader), None).await.refusal(403);
    assert_eq!(of.says(who).await, refused("reader", "insufficient_scope"), "refused before its handler");
    let elsewhere = token("guest", Some(&["shop"]), None);
    of.call(Method::POST, FIRST, Some(&elsewhere), Some(pay(1))).await.refusal(403);
    assert_eq!(of.says(who).await, refused("guest", "namespace_forbidden"));
    of.call(Method::PUT, &format!("{at}/instances/default/heartbeat"), Some(&thief), None).await.refusal(403);
    assert_eq!(of.says(who).await, refused("thief", "not_owner"), "a refused heartbeat is said");
    of.call(Method::PUT, &format!("{at}/instances/default/heartbeat"), Some(&owner), None).await.refusal(409);
    let stale = of.app.request(Method::DELETE, &format!("{at}/instances/default")).header("if-match", "99");
    of.app.send(stale.bearer_auth(&owner)).await.refusal(412);
    let stale = ["action", "status", "code"];
    assert_eq!(of.says(stale).await, [json!("deregister"), json!(412), json!("stale_generation")]);

    let text = std::fs::read_to_string(&of.path).expect("it is there");
    for secret in [&owner, &thief, &reader, &elsewhere] {
        let signature = secret.rsplit('.').next().expect("three parts");
        assert!(!text.contains(signature) && !text.contains("Bearer"), "no token gets there");
    }
}

#[tokio::test]
async fn a_foreign_page_is_named_and_a_client_over_its_limit_is_not() {
    let mut of = Audited::with(Options { rate: Some(1), ..Options::default() }).await;
    let page = of.app.request(Method::POST, FIRST).header("origin", "https://evil.example").json(&pay(1));
    assert_eq!(of.app.send(page).await.refusal(403), "cross_origin");
    let said = of.says(["kind", "status", "code"]).await;
    assert_eq!(said, [json!("unverified"), json!(403), json!("cross_origin")]);
    of.call(Method::POST, FIRST, None, Some(pay(1))).await.ok();
    of.line().await;
    of.call(Method::POST, FIRST, None, Some(pay(2))).await.refusal(429);
    let id = of.app.get("/api/v1/services/discover?name=pay").await.ok()["data"]["id"].clone();
    of.app.delete(&format!("/api/v1/services/{}", id.as_str().expect("an id"))).await.ok();
    assert_eq!(of.says(["action", "status"]).await, [json!("deregister"), json!(200)], "the 429 left no line");
}

#[tokio::test]
async fn a_heartbeat_that_changes_nothing_leaves_no_line() {
    let mut of = Audited::with(Options::default()).await;
    for _ in 0..200 {
        let unknown = of.app.request(Method::PUT, "/api/v1/services/x/instances/y/heartbeat");
        assert_eq!(of.app.send(unknown).await.refusal(404), "instance_not_found");
    }
    let id = of.call(Method::POST, FIRST, None, Some(pay(1))).await.ok()["data"]["id"].clone();
    assert_eq!(of.says(["action", "status"]).await, [json!("register"), json!(200)], "no heartbeat left a line");
    let instance = format!("/api/v1/services/{}/instances/default", id.as_str().expect("an id"));
    let beat = || of.app.request(Method::PUT, &format!("{instance}/heartbeat"));
    of.app.send(beat()).await.refusal(409);
    of.app.send(beat().header("if-match", "99")).await.refusal(412);
    of.app.delete(&instance).await.ok();
    assert_eq!(of.says(["action", "status"]).await, [json!("deregister"), json!(200)]);
}

#[tokio::test]
async fn refusals_of_unknown_callers_leave_a_few_lines_also_where_nothing_is_limited() {
    let owner = token("owner", None, None);
    // No line comes back.
    let clock = Clock::manual(Clock::system().now());
    let mut of = Audited::with(Options { auth: true, clock, ..Options::default() }).await;
    for _ in 0..200 {
        of.app.delete("/api/v1/services/deregister?name=pay").await.refusal(401);
    }
    of.call(Method::POST, FIRST, Some(&owner), Some(pay(1))).await.ok();
    let mut refused = 0;
    while of.says(["status"]).await == [json!(401)] {
        refused += 1;
    }
    assert_eq!(refused, 60);
    assert_eq!(lines(&of.path)[60]["action"], "register", "others have their lines");
}

#[tokio::test]
async fn control_characters_forge_no_line_and_long_texts_end() {
    let mut of = Audited::with(Options::default()).await;
    let name = format!("a%0A%7B%22action%22:%22forged%22%7D%1B%5B2J%E2%80%AE{}", "x".repeat(2000));
    let request = of.app.request(Method::DELETE, &format!("/api/v1/services/deregister?name={name}"));
    of.app.send(request.header("x-request-id", "trace-7\u{9}\"quoted\"")).await.refusal(404);
    let line = of.line().await;
    assert_eq!(line["action"], "deregister");
    let service = line["service"].as_str().expect("a text");
    assert!(service.starts_with(r#"a\u{a}{"action":"forged"}\u{1b}[2J\u{202e}xxx"#), "{service}");
    assert!(service.chars().count() < 300, "{service}");
    assert_eq!(line["client_request_id"], r#"trace-7\u{9}"quoted""#);
    assert_eq!(lines(&of.path).len(), 1);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_leaves_a_line_all_the_same() {
    let prober = Some(ProberSettings::default());
    let mut of = Audited::with(Options { prober, ..Options::default() }).await;
    // Takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let body = json!({"name": "slow", "base_url": url, "health_url": format!("{url}/")});
    let id = of.app.post(FIRST, &body).await.ok()["data"]["id"].clone();
    of.line().await;
    let check = format!("/api/v1/services/{}/health-check", id.as_str().expect("an id"));
    let mut client = std::net::TcpStream::connect(of.app.address).expect("it listens");
    let request = format!("POST {check} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    client.write_all(request.as_bytes()).expect("it reads");
    drop(client);
    let said = of.says(["action", "outcome", "status", "service"]).await;
    assert_eq!(said, [json!("check"), json!("unknown"), json!(499), json!("slow")]);
}

async fn dropped(app: &TestApp) -> u64 {
    let metrics = app.get("/metrics").await.text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("portolan_audit_dropped_total "));
    line.expect("the metric").parse().expect("a number")
}

async fn until_dropped(app: &TestApp, least: u64) {
    let started = Instant::now();
    while dropped(app).await < least {
        assert!(started.elapsed() < HANG, "{} of {least}", dropped(app).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn on_a_full_disk_writes_go_on_and_lines_are_counted() {
    let app = TestApp::with(Options { audit: Some("/dev/full".into()), ..Options::default() }).await;
    for n in 0..20 {
        app.post(FIRST, &json!({"name": format!("s{n}"), "base_url": "http://127.0.0.1:1"})).await.ok();
    }
    until_dropped(&app, 20).await;
    assert_eq!(app.get("/api/v1/services").await.ok()["data"].as_array().map(Vec::len), Some(20));
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_holds_nothing_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pipe");
    mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a pipe");
    let app = TestApp::with(Options { audit: Some(path.clone()), ..Options::default() }).await;
    app.add("unread").await;
    until_dropped(&app, 1).await;
    // Opening it waits for the server, which tries again with each line.
    let reading = tokio::task::spawn_blocking(move || {
        let mut pipe = std::fs::File::open(path).expect("it opens");
        let mut some = vec![0; 4096];
        let read = pipe.read(&mut some).expect("a line");
        (String::from_utf8_lossy(&some[..read]).into_owned(), pipe)
    });
    let mut n = 0;
    while !reading.is_finished() {
        n += 1;
        app.add(&format!("read{n}")).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (line, pipe) = reading.await.expect("no panic");
    assert!(line.contains("\"service\":\"read"), "{line}");
    // A reader that has stopped: the pipe fills, then the queue.
    let before = dropped(&app).await;
    let note = "x".repeat(256);
    let id = app.get("/api/v1/services/discover?name=unread").await.ok()["data"]["id"].clone();
    let drain = format!("/api/v1/services/{}/instances/default/drain", id.as_str().expect("an id"));
    let started = Instant::now();
    while dropped(&app).await == before {
        for _ in 0..50 {
            app.send(app.request(Method::PUT, &drain).json(&json!({"reason": note}))).await.ok();
        }
        assert!(started.elapsed() < HANG, "it was not filled");
    }
    drop(pipe);
}

#[tokio::test]
async fn a_passed_on_request_has_its_line_where_the_client_asked() {
    let replicas: Arc<ArcSwap<Vec<IpAddr>>> = Arc::default();
    let line = LeaderLine::new(|| None, Arc::clone(&replicas), None, Metrics::default()).expect("a client");
    let mut of = Audited::with(Options { pass_on: Some(Arc::new(line)), ..Options::default() }).await;
    let register = |name: &str| {
        let body = json!({"name": name, "base_url": "http://127.0.0.1:1"});
        of.app.request(Method::POST, FIRST).header("portolan-passed-on", "1").json(&body)
    };
    let stranger = register("stranger");
    let (replica, last) = (register("replica"), register("last"));
    of.app.send(stranger).await.refusal(404);
    assert_eq!(of.says(["service", "passed_on"]).await, [json!("stranger"), json!(true)], "its header hides nothing");
    replicas.store(Arc::new(vec!["127.0.0.1".parse().expect("an address")]));
    of.app.send(replica).await.refusal(404);
    replicas.store(Arc::default());
    of.app.send(last).await.refusal(404);
    assert_eq!(of.says(["service"]).await, [json!("last")], "the replica has the line of what it passed on");
}
