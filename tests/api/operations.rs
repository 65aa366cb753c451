//! What operators ask, and what every route shares.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use portolan::model::ports::Freshness;
use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::app::{Options, TestApp};

#[tokio::test]
async fn alive_and_ready_are_two_things() {
    let app = TestApp::start().await;
    let alive = app.get("/healthz").await;
    assert_eq!((alive.status.as_u16(), alive.text()), (200, "ok\n".to_owned()));
    let ready = app.get("/readyz").await;
    assert_eq!(
        (ready.status.as_u16(), ready.text()),
        (503, "[-] prober: not part of this test\nnot ready\n".to_owned())
    );
    let verbose = app.get("/readyz?verbose").await;
    assert_eq!(verbose.text(), "[+] store: takes writes\n[-] prober: not part of this test\nnot ready\n");
    assert!(verbose.header("content-type").starts_with("text/plain"));
}

/// A mirror of any age, of a replica that does not probe.
struct Mirror(AtomicU64);

impl Freshness for Mirror {
    fn stale_for(&self) -> Option<Duration> {
        Some(self.0.load(Ordering::Relaxed)).filter(|millis| *millis > 0).map(Duration::from_millis)
    }

    fn probes_here(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn reads_say_how_old_a_mirror_is() {
    let mirror = Arc::new(Mirror(AtomicU64::new(0)));
    let app = TestApp::with(Options { freshness: Some(mirror.clone()), ..Options::default() }).await;
    let id = app.add("a").await["id"].as_str().expect("an id").to_owned();
    let by_id = format!("/api/v1/services/{id}");
    let reads = [
        "/api/v1/services/discover?name=a",
        "/api/v1/services/discover?name=%61",
        "/api/v1/services/discover?name=nobody",
        "/api/v1/services",
        "/api/v1/services/stats",
        by_id.as_str(),
    ];
    for (millis, header, metric) in [
        (0, "", "portolan_mirror_stale_seconds 0.0\n"),
        (300, "1", "portolan_mirror_stale_seconds 0.3\n"),
        (31_999, "31", "portolan_mirror_stale_seconds 31.999\n"),
    ] {
        mirror.0.store(millis, Ordering::Relaxed);
        for target in reads {
            let answer = app.get(target).await;
            assert_eq!(answer.header("portolan-stale-seconds"), header, "{target} {millis}");
            assert_eq!(answer.header("portolan-probed-elsewhere"), "true", "{target}");
        }
        let etag = app.get(reads[0]).await.header("etag").to_owned();
        let unchanged = app.send(app.request(Method::GET, reads[0]).header("if-none-match", etag)).await;
        assert_eq!((unchanged.status.as_u16(), unchanged.header("portolan-stale-seconds")), (304, header));
        for target in ["/api/v1/health", "/healthz", "/metrics"] {
            assert_eq!(app.get(target).await.header("portolan-stale-seconds"), "", "{target}");
            assert_eq!(app.get(target).await.header("portolan-probed-elsewhere"), "", "{target}");
        }
        let metrics = app.get("/metrics").await.text();
        assert!(metrics.contains(metric), "{metrics}");
    }
    let alone = TestApp::start().await;
    assert!(!alone.get("/metrics").await.text().contains("mirror_stale"));
}

#[tokio::test]
async fn metrics_count_requests_by_route_and_instances_by_service() {
    let app = TestApp::start().await;
    app.add("a").await;
    for _ in 0..3 {
        app.get("/api/v1/services/discover?name=a").await.ok();
    }
    app.get("/api/v1/services/discover?name=%61").await.ok();
    app.get("/api/v1/services/discover").await;
    app.get("/somewhere/else").await;
    app.send(app.request(Method::from_bytes(b"BREW").expect("a method"), "/")).await;
    let metrics = app.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = metrics.text();
    for line in [
        "portolan_http_requests_total{route=\"/api/v1/services/discover\",method=\"GET\",status=\"200\"} 4",
        "portolan_http_requests_total{route=\"/api/v1/services/discover\",method=\"GET\",status=\"400\"} 1",
        "portolan_http_requests_total{route=\"/api/v1/services/register\",method=\"POST\",status=\"200\"} 1",
        "portolan_http_requests_total{route=\"unmatched\",method=\"GET\",status=\"404\"} 1",
        "portolan_http_requests_total{route=\"/\",method=\"other\",status=\"405\"} 1",
        "portolan_http_request_duration_seconds_count{route=\"/api/v1/services/discover\"} 5",
        "portolan_service_instances{namespace=\"default\",service=\"a\",health=\"unknown\"} 0",
        "portolan_service_instances{namespace=\"default\",service=\"a\",health=\"not_checked\"} 1",
        "portolan_service_instances{namespace=\"default\",service=\"a\",health=\"healthy\"} 0",
        "portolan_service_instances{namespace=\"default\",service=\"a\",health=\"drained\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    for (accept, kind) in [
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=0.0.4;q=1, */*;q=0.1", "text/plain; version=0.0.4; charset=utf-8"),
        (
            "application/openmetrics-text;q=0.6, text/plain;q=0.4",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("*/*", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ] {
        let answer = app.send(app.request(Method::GET, "/metrics").header("accept", accept)).await;
        assert_eq!(answer.header("content-type"), kind, "{accept}");
        let text = answer.text();
        assert_eq!(
            text.contains("# TYPE portolan_http_requests_total counter"),
            kind.starts_with("text/plain"),
            "{accept}"
        );
        assert!(text.contains("portolan_http_requests_total{"), "{accept}");
    }
    let quiet = TestApp::with(Options { service_metrics: false, ..Options::default() }).await;
    quiet.add("a").await;
    assert!(!quiet.get("/metrics").await.text().contains("portolan_service_instances"));
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let app = TestApp::start().await;
    let id = app.add("a").await["id"].as_str().expect("an id").to_owned();
    let by_id = format!("/api/v1/services/{id}");
    for target in
        ["/", "/healthz", "/api/v1/services", "/api/v1/services/discover?name=a", "/openapi.json", &by_id, "/nowhere"]
    {
        let get = app.get(target).await;
        let head = app.send(app.request(Method::HEAD, target)).await;
        assert_eq!((head.status, head.bytes.len()), (get.status, 0), "{target}");
        for name in ["content-type", "content-length", "etag"] {
            assert_eq!(head.header(name), get.header(name), "{target} {name}");
        }
    }
}

#[tokio::test]
async fn a_wrong_method_is_answered_with_the_right_ones() {
    let app = TestApp::start().await;
    for (method, target, allow) in [
        ("PUT", "/", "GET, HEAD, OPTIONS"),
        ("POST", "/api/v1/services", "GET, HEAD, OPTIONS"),
        ("GET", "/api/v1/services/register", "POST, OPTIONS"),
        ("POST", "/api/v1/services/discover", "GET, HEAD, OPTIONS"),
        ("GET", "/api/v1/services/deregister", "DELETE, OPTIONS"),
        ("PATCH", "/api/v1/services/x", "GET, HEAD, DELETE, OPTIONS"),
        ("GET", "/api/v1/services/x/health-check", "POST, OPTIONS"),
        ("PUT", "/api/v1/services/x/instances/y", "DELETE, OPTIONS"),
        ("DELETE", "/metrics", "GET, HEAD, OPTIONS"),
    ] {
        let answer = app.send(app.request(method.parse().expect("a method"), target)).await;
        assert_eq!(answer.refusal(405), "method_not_allowed", "{method} {target}");
        assert_eq!(answer.header("allow"), allow, "{method} {target}");
    }
}

#[tokio::test]
async fn what_is_no_route_is_an_envelope() {
    let app = TestApp::start().await;
    for target in [
        "/x",
        "/x//",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v1/services/",
        "/api/v1/services/discover/",
        "/api/v1/services/a/b",
        "/api/v1/services//instances/a",
        "/api/v1/services/a/instances/b/heartbeats",
        "/API/v1/services",
        "/healthz/",
        "/metrics%00",
    ] {
        let answer = app.get(target).await;
        assert_eq!(answer.refusal(404), "unknown_route", "{target}");
    }
    let slash = app.get("/api/v1/services/stats/").await.json();
    assert_eq!(slash["hint"], "without the trailing slash it is /api/v1/services/stats");
    let later = app.request(Method::PUT, "/api/v1/services/a/instances/b/later").json(&json!({}));
    assert_eq!(app.send(later).await.refusal(404), "unknown_route");
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_answer_leaves_one_line() {
    let sink = Sink::default();
    let app = TestApp::with(Options { rate: Some(3), log: Some(Box::new(sink.clone())), ..Options::default() }).await;
    app.add("a").await;
    let hot = app.get("/api/v1/services/discover?name=a").await;
    let tag = hot.header("etag").to_owned();
    let unchanged = app.request(Method::GET, "/api/v1/services/discover?name=a").header("if-none-match", tag);
    app.send(unchanged).await;
    app.get("/nowhere").await;
    app.get("/").await;
    app.get("/").await.refusal(429);
    let lines = async {
        loop {
            let text = String::from_utf8(sink.0.lock().expect("not poisoned").clone()).expect("UTF-8");
            if text.lines().count() >= 6 {
                break text;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let text = timeout(Duration::from_mins(2), lines).await.expect("six lines");
    let size = hot.bytes.len();
    let expected = [
        "POST /api/v1/services/register 200".to_owned(),
        format!("GET /api/v1/services/discover?name=a 200 {size}B"),
        "GET /api/v1/services/discover?name=a 304 0B".to_owned(),
        "GET /nowhere 404".to_owned(),
        "GET / 200".to_owned(),
        "GET / 429".to_owned(),
    ];
    assert_eq!(text.lines().count(), expected.len(), "{text}");
    for (line, expected) in text.lines().zip(expected) {
        assert!(line.contains(&format!(" 127.0.0.1 {expected}")), "{line}: no {expected}");
    }
}

/// Stops each rendering of the metrics until the sender is gone.
struct Gate {
    reached: AtomicBool,
    released: Mutex<Receiver<()>>,
    serving: ThreadId,
}

impl Freshness for Gate {
    fn stale_for(&self) -> Option<Duration> {
        if thread::current().id() != self.serving {
            self.reached.store(true, Ordering::Relaxed);
            let _ = self.released.lock().expect("not poisoned").recv();
        }
        None
    }

    fn probes_here(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_client_that_leaves_queues_no_more_than_one_rendering() {
    const PATIENCE: Duration = Duration::from_mins(1);
    let (release, released) = channel();
    let (reached, released) = (AtomicBool::new(false), Mutex::new(released));
    let gate = Arc::new(Gate { reached, released, serving: thread::current().id() });
    let app = TestApp::with(Options { freshness: Some(gate.clone()), ..Options::default() }).await;
    let mut leaves = TcpStream::connect(app.address).await.expect("it listens");
    leaves.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("it reads");
    let begun = async {
        while !gate.reached.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, begun).await.expect("it renders");
    drop(leaves);
    let both = async { tokio::join!(app.get("/metrics"), app.get("/sd/prometheus")) };
    let (metrics, targets) = timeout(PATIENCE, both).await.expect("neither waits for the work");
    for refused in [metrics, targets] {
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(refused.refusal(503), "busy");
    }
    drop(release);
    let metrics = timeout(PATIENCE, app.get("/metrics")).await.expect("its turn ended with the work");
    assert!(metrics.text().contains("portolan_rejected_total{reason=\"renderings\"} 2"), "{}", metrics.text());
    assert_eq!(app.get("/sd/prometheus").await.status, 200);
}
