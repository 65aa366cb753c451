//! A check that reaches a replica that does not lead: the leader answers it. And what a replica takes from another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan::model::name::InstanceName;
use portolan::model::ports::{Beat, BeatError, Heard, Heartbeats};
use portolan::operator::replicas::pass_on::LeaderLine;
use portolan::telemetry::metrics::Metrics;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::app::{Answer, Options, TestApp, token};

const BUSY: &str = r#"{"success":false,"error":"spent","code":"probe_budget"}"#;

/// One that answers everything with the same, and hands over the heads that it got.
struct Leader {
    address: SocketAddr,
    heads: mpsc::UnboundedReceiver<String>,
    _task: JoinSet<()>,
}

impl Leader {
    async fn start() -> Self {
        Self::answering("429 X", "", BUSY).await
    }

    async fn answering(status: &'static str, header: &'static str, body: &'static str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (found, heads) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.expect("a request");
                let _ = found.send(String::from_utf8_lossy(&head[..read]).to_ascii_lowercase());
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nretry-after: 7\r\nset-cookie: a=b\r\n{header}\
                     access-control-allow-origin: https://leader\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, heads, _task: task }
    }
}

/// A server without a prober, like a follower; `leader` is the leader's address.
async fn follower(leader: Option<SocketAddr>, auth: bool) -> TestApp {
    let line = LeaderLine::new(move || leader, Arc::default(), None, Metrics::default()).expect("a client");
    TestApp::with(Options { auth, pass_on: Some(Arc::new(line)), ..Options::default() }).await
}

async fn registered(app: &TestApp, token: Option<&str>) -> String {
    let body = json!({"name": "a", "base_url": "http://192.0.2.1:80", "health_url": "http://192.0.2.1:80/"});
    let mut request = app.request(Method::POST, "/api/v1/services/register").json(&body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let service: Value = app.send(request).await.ok();
    format!("/api/v1/services/{}/health-check", service["data"]["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn the_leader_gets_it_as_it_came_and_its_answer_comes_back() {
    let mut leader = Leader::start().await;
    let app = follower(Some(leader.address), true).await;
    let token = token("ci", None, None);
    let target = registered(&app, Some(&token)).await;
    let request = app.request(Method::POST, &target).bearer_auth(&token).json(&json!({}));
    let answer = app.send(request.header("origin", "https://ops.example.com").header("x-secret", "1")).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (429, BUSY));
    assert_eq!((answer.header("retry-after"), answer.header("content-type")), ("7", "application/json"));
    assert_eq!((answer.header("set-cookie"), answer.header("access-control-allow-origin")), ("", "*"));

    let head = leader.heads.recv().await.expect("a request");
    assert!(head.starts_with(&format!("post {target} http/1.1\r\n")), "{head}");
    assert!(head.contains(&format!("authorization: bearer {}\r\n", token.to_ascii_lowercase())), "{head}");
    assert!(head.contains("portolan-passed-on: 1\r\n") && head.contains("origin: https://ops.example.com"), "{head}");
    assert!(!head.contains("x-secret"), "{head}");

    let stranger = app.request(Method::POST, &target).bearer_auth(crate::app::token("other", None, None));
    assert_eq!(app.send(stranger).await.refusal(403), "not_owner");
    assert!(leader.heads.try_recv().is_err(), "what is refused here goes no further");
}

#[tokio::test]
async fn without_a_leader_it_says_when_to_ask_again() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    for leader in [None, Some(unused)] {
        let app = follower(leader, false).await;
        let target = registered(&app, None).await;
        let answer = app.send(app.request(Method::POST, &target)).await;
        assert_eq!(answer.refusal(503), "unavailable");
        assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|wait| wait > 0));
    }
}

#[tokio::test]
async fn it_takes_one_hop_and_no_more() {
    let mut leader = Leader::start().await;
    let app = follower(Some(leader.address), false).await;
    let target = registered(&app, None).await;
    let hopped = app.request(Method::POST, &target).header("portolan-passed-on", "1");
    assert_eq!(app.send(hopped).await.refusal(503), "unavailable");
    assert!(tokio::time::timeout(Duration::from_millis(50), leader.heads.recv()).await.is_err());
}

/// A heartbeat to a follower of a leader that answers every one with that.
async fn beat(status: &'static str, header: &'static str) -> (u16, String) {
    const REFUSED: &str = r#"{"success":false,"error":"too many wait","code":"busy"}"#;
    let leader = Leader::answering(status, header, REFUSED).await;
    let app = follower(Some(leader.address), false).await;
    let body = json!({"name": "a", "base_url": "http://192.0.2.1:80", "instance": "a", "ttl_seconds": 60});
    let service: Value = app.send(app.request(Method::POST, "/api/v1/services/register").json(&body)).await.ok();
    let id = service["data"]["id"].as_str().expect("an id");
    let target = format!("/api/v1/services/{id}/instances/a/heartbeat");
    let answer = app.send(app.request(Method::PUT, &target)).await;
    let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
    (answer.status.as_u16(), code)
}

#[tokio::test]
async fn the_leaders_own_refusal_of_a_heartbeat_is_its_answer() {
    assert_eq!(beat("503 X", "").await, (503, "busy".to_owned()));
    assert_eq!(beat("404 X", "").await, (404, "busy".to_owned()));
    let kept = beat("503 X", "portolan-not-leading: 1\r\n").await;
    assert_eq!(kept, (200, String::new()), "it does not lead, so the heartbeat waits for the one that does");
}

#[tokio::test]
async fn a_replica_that_does_not_lead_says_so() {
    let app = follower(None, false).await;
    let target = registered(&app, None).await;
    let hopped = app.send(app.request(Method::POST, &target).header("portolan-passed-on", "1")).await;
    assert_eq!((hopped.status.as_u16(), hopped.header("portolan-not-leading")), (503, "1"));
}

fn leased(port: u16) -> Value {
    json!({"name": "a", "base_url": format!("http://192.0.2.1:{port}"), "instance": "a", "ttl_seconds": 60})
}

/// A register call as another replica passes it on.
async fn pass_on(app: &TestApp, body: &Value) -> Answer {
    app.send(app.request(Method::POST, "/api/v1/services/register").header("portolan-passed-on", "1").json(body)).await
}

#[tokio::test]
async fn a_register_call_that_is_passed_on_only_renews() {
    let app = TestApp::start().await;
    assert_eq!(pass_on(&app, &leased(80)).await.refusal(404), "instance_not_found");
    let id = app.register(&leased(80)).await.ok()["data"]["id"].as_str().expect("an id").to_owned();
    let before = app.catalog.read().revision();
    pass_on(&app, &leased(80)).await.ok();
    assert_eq!(pass_on(&app, &leased(81)).await.refusal(404), "instance_not_found", "an address from before");
    assert_eq!(app.catalog.read().revision(), before);
    app.delete(&format!("/api/v1/services/{id}")).await.ok();
    assert_eq!(pass_on(&app, &leased(80)).await.refusal(404), "instance_not_found");
    assert!(app.catalog.read().find("default", "a").is_none(), "it undoes no deregistration");
}

/// The prober of a replica whose instances are all being removed.
struct Leaving;

impl Heartbeats for Leaving {
    fn beat(&self, _: uuid::Uuid, _: &InstanceName, _: Beat) -> Result<Heard, BeatError> {
        Err(BeatError::Leaving)
    }

    fn registered(&self, _: uuid::Uuid, _: &InstanceName) -> Result<Heard, BeatError> {
        Err(BeatError::Leaving)
    }
}

#[tokio::test]
async fn a_renewal_that_is_passed_on_waits_for_a_removal_with_its_sender() {
    let app = TestApp::with(Options { heartbeats: Some(Arc::new(Leaving)), ..Options::default() }).await;
    // Registered all the same, by the time of the refusal.
    assert_eq!(app.register(&leased(80)).await.refusal(503), "busy");
    let before = app.catalog.read().revision();
    let busy = pass_on(&app, &leased(80)).await;
    assert_eq!((busy.refusal(503), busy.header("retry-after")), ("busy".to_owned(), "1"));
    assert_eq!((busy.header("portolan-not-leading"), app.catalog.read().revision()), ("", before));
}

#[tokio::test]
async fn a_renewal_takes_one_hop_and_no_more() {
    let app = follower(None, false).await;
    app.register(&leased(80)).await.ok();
    app.register(&leased(80)).await.ok();
    let hopped = pass_on(&app, &leased(80)).await;
    assert_eq!((hopped.refusal(503), hopped.header("portolan-not-leading")), ("unavailable".to_owned(), "1"));
}
