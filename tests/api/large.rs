//! Large answers: made while they are sent, bounded in memory, and whole all the same.

use std::time::Duration;

use portolan::api::InFlightLimits;
use portolan::model::mirror::VerdictsFrom;
use portolan::model::outcome::Health;
use portolan::model::time::{Clock, UnixMs};
use reqwest::Method;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::app::{Options, TestApp};

const LIST: &str = "/api/v1/services";
const PATIENCE: Duration = Duration::from_mins(1);

/// Labels of `bytes` bytes together.
fn labels(bytes: usize) -> Map<String, Value> {
    (0..bytes / 1000).map(|n| (format!("key-{n}"), "x".repeat(1000).into())).collect()
}

/// A server with so many services, of so many bytes each.
async fn serving(count: usize, bytes: usize, options: Options) -> TestApp {
    let mirrors = options.mirror.is_some();
    let app = TestApp::with(options).await;
    if mirrors {
        // Before its first list it would refuse.
        app.store.mirror_all(Vec::new(), 0, VerdictsFrom::Here).await.expect("mirrors");
    }
    for n in 0..count {
        let service = json!({"name": format!("s{n}"), "base_url": "http://127.0.0.1:9", "metadata": labels(bytes)});
        app.register(&service).await.ok();
    }
    app
}

/// A mirror's commits do not wait for the disk.
fn quick() -> Options {
    Options { mirror: Some(uuid::Uuid::nil()), ..Options::default() }
}

/// A reader that takes nothing but what it asks for.
struct Slow(TcpStream);

impl Slow {
    async fn ask(app: &TestApp, head: &str) -> Self {
        Self::ask_from(1, app, head).await
    }

    /// The same from 127.0.0.`host`.
    async fn ask_from(host: u8, app: &TestApp, head: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, host], 0).into()).expect("a loopback address");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let mut stream = socket.connect(app.address).await.expect("it listens");
        stream.write_all(format!("{head}\r\nHost: localhost\r\n\r\n").as_bytes()).await.expect("it reads");
        Self(stream)
    }

    /// The answer's head.
    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, self.0.read_u8()).await.expect("in time").expect("a head"));
        }
        String::from_utf8(head).expect("text").to_ascii_lowercase()
    }

    /// All that comes until the server closes, or breaks off.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("it ends");
        rest
    }
}

fn length(head: &str) -> usize {
    let line = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    line.parse().expect("a number")
}

#[tokio::test]
async fn a_large_list_is_whole_for_every_kind_of_reader() {
    let app = serving(50, 6000, Options::default()).await;
    let answer = app.get(LIST).await;
    assert_eq!(answer.header("content-length"), answer.bytes.len().to_string());
    let (tag, len) = (answer.header("etag").to_owned(), answer.bytes.len());
    let all = answer.ok()["data"].take();
    assert_eq!(all.as_array().map(Vec::len), Some(50));
    let mut paged = Vec::new();
    let mut next = Some(String::new());
    while let Some(cursor) = next {
        let mut page = app.get(&format!("{LIST}?limit=7{cursor}")).await.ok();
        paged.append(page["data"].as_array_mut().expect("a list"));
        next = page["next_cursor"].as_str().map(|cursor| format!("&cursor={cursor}"));
    }
    assert_eq!(Value::from(paged), all);

    let head = app.send(app.request(Method::HEAD, LIST)).await;
    assert_eq!((head.header("content-length"), head.bytes.len()), (&*len.to_string(), 0));
    let known = app.send(app.request(Method::GET, LIST).header("if-none-match", &tag)).await;
    assert_eq!((known.status.as_u16(), known.bytes.len()), (304, 0));
    let mut old = Slow::ask(&app, &format!("GET {LIST} HTTP/1.0")).await;
    let head = old.head().await;
    assert!(head.starts_with("http/1.0 200") && !head.contains("chunked"), "{head}");
    let old: Value = serde_json::from_slice(&old.rest().await).expect("JSON");
    assert_eq!(old["data"], all);
}

#[tokio::test]
async fn one_large_service_reads_as_a_small_one_does() {
    let app = TestApp::start().await;
    for n in 0..8 {
        let instance = json!({"name": "a", "instance": format!("i{n}"), "base_url": "http://127.0.0.1:9", "metadata": labels(20_000)});
        app.register(&instance).await.ok();
    }
    let found = app.get("/api/v1/services/discover?name=a").await;
    assert_eq!(found.header("content-length"), found.bytes.len().to_string());
    assert!(found.bytes.len() > 160_000 && !found.header("etag").is_empty());
    let found = found.ok()["data"].take();
    assert_eq!(found["instances"].as_array().map(Vec::len), Some(8));
    assert_eq!(app.get(LIST).await.ok()["data"], json!([found]));
    let selected = app.get("/api/v1/services/discover?name=a&status=unknown").await.ok();
    assert_eq!(selected["data"], found);
}

#[tokio::test]
async fn a_probe_while_a_list_is_sent_changes_no_length() {
    let app = serving(200, 6000, Options::default()).await;
    let noted = |at: Option<UnixMs>| {
        let snapshot = app.catalog.snapshot();
        for entry in snapshot.newest_first(None) {
            at.map_or_else(|| entry.last_check().clear(), |at| entry.last_check().note(at));
        }
    };
    for (before, after) in [(None, Some(UnixMs::wall())), (Some(UnixMs::wall()), None)] {
        noted(before);
        let mut reader = Slow::ask(&app, &format!("GET {LIST} HTTP/1.1\r\nConnection: close")).await;
        let len = length(&reader.head().await);
        noted(after);
        let body = reader.rest().await;
        assert_eq!(body.len(), len);
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["data"].as_array().map(Vec::len), Some(200));
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_have_a_bound_and_give_it_back() {
    let answers = InFlightLimits { total: 200 * 1024, per_client: 140 * 1024 };
    let app = serving(200, 6000, Options { answers, ..Options::default() }).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut reader = Slow::ask(&app, &format!("GET {LIST} HTTP/1.1")).await;
        assert!(reader.head().await.starts_with("http/1.1 200"));
        open.push(reader);
    }
    let refused = app.get(LIST).await;
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(refused.refusal(429), "too_many_answers");
    assert_eq!(app.get(&format!("{LIST}?limit=2")).await.status, 200, "a small answer needs none");
    drop(open);
    timeout(PATIENCE, async {
        while app.get(LIST).await.status != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it comes back");
    let counted = "portolan_rejected_total{reason=\"client_answers_in_flight\"}";
    assert!(app.get("/metrics").await.text().contains(counted));
}

/// Begins a request with a body of 64 KiB, of which nothing is sent; returns once the server waits for it, or has refused it.
async fn unfinished(host: u8, app: &TestApp, request: &str) -> (Slow, String) {
    let head = format!(
        "{request} HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 65536\r\nExpect: 100-continue"
    );
    let mut begun = Slow::ask_from(host, app, &head).await;
    let answer = begun.head().await;
    (begun, answer)
}

#[tokio::test]
async fn bodies_that_do_not_arrive_take_nothing_from_answers() {
    let limits = InFlightLimits { total: 256 * 1024, per_client: 64 * 1024 };
    let app = serving(35, 6000, Options { answers: limits, bodies: limits, ..Options::default() }).await;
    let mut open = Vec::new();
    for (request, answer) in [
        ("PUT /api/v1/services/x/instances/y/heartbeat", "http/1.1 413"),
        ("POST /api/v1/services/register", "http/1.1 100"),
    ] {
        for host in 2..=5 {
            let (begun, head) = unfinished(host, &app, request).await;
            assert!(head.starts_with(answer), "{request} from {host}: {head}");
            open.push(begun);
        }
    }
    let list = app.get(LIST).await;
    assert_eq!(list.status, 200, "{}", list.text());
    assert!(list.bytes.len() > 200 * 1024, "{}", list.bytes.len());

    let (_, head) = unfinished(2, &app, "POST /api/v1/services/register").await;
    assert!(head.starts_with("http/1.1 429") && head.contains("retry-after: 1"), "{head}");
    let large = json!({"name": "large", "base_url": "http://127.0.0.1:9", "metadata": labels(20_000)});
    let refused = app.register(&large).await;
    assert_eq!((refused.header("retry-after"), refused.refusal(503)), ("1", "busy".to_owned()));
    let metrics = app.get("/metrics").await.text();
    for reason in ["bodies_in_flight", "client_bodies_in_flight"] {
        assert!(metrics.contains(&format!("portolan_rejected_total{{reason=\"{reason}\"}} 1")), "{reason}");
    }
    app.add("small").await;
    drop(open);
    timeout(PATIENCE, async {
        while app.register(&large).await.status != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it comes back");
}

#[tokio::test]
async fn a_reader_that_keeps_too_much_alive_is_cut_off() {
    // Cut off for what it keeps, never for its pace.
    let app = serving(700, 60_000, Options { patient: true, ..quick() }).await;
    let mut reader = Slow::ask(&app, &format!("GET {LIST} HTTP/1.1")).await;
    let len = length(&reader.head().await);
    // Each change replaces a service of 120 KB, with its text, that the reader still needs.
    for n in 0..700 {
        app.set_health(&format!("default/s{n}"), "default", Health::Healthy).await;
    }
    let got = reader.rest().await.len();
    assert!(got < len, "{got} of {len} bytes came: nothing was cut off");
    assert!(app.get("/metrics").await.text().contains("portolan_rejected_total{reason=\"outdated_answer\"} 1"));
    assert_eq!(
        app.get(LIST).await.ok()["data"].as_array().map(Vec::len),
        Some(700),
        "a second request gets everything"
    );
}

#[tokio::test]
async fn changes_of_what_a_slow_reader_does_not_hold_leave_it_alone() {
    let app = serving(40, 60_000, Options { patient: true, ..quick() }).await;
    for n in 0..64 {
        let metadata = labels(60_000);
        let instance = json!({"namespace": "b", "name": "big", "instance": format!("i{n}"), "base_url": "http://127.0.0.1:9",
            "metadata": metadata});
        app.register(&instance).await.ok();
    }
    let mut reader = Slow::ask(&app, &format!("GET {LIST} HTTP/1.1\r\nConnection: close")).await;
    let len = length(&reader.head().await);
    // Each change replaces a service of 7.7 MB, with its text.
    for n in 0..10_u32 {
        let health = if n % 2 == 0 { Health::Healthy } else { Health::Unhealthy };
        app.set_health("b/big", "i0", health).await;
    }
    assert_eq!(reader.rest().await.len(), len);
    assert!(!app.get("/metrics").await.text().contains("outdated_answer"));
}

#[tokio::test]
async fn the_series_of_every_service_end_as_metrics_do() {
    let app = serving(300, 0, quick()).await;
    let metrics = app.get("/metrics").await;
    assert_eq!(metrics.header("content-length"), metrics.bytes.len().to_string());
    let text = metrics.text();
    assert_eq!(text.matches("portolan_service_instances{namespace=\"default\"").count(), 1500);
    assert_eq!(text.matches("# EOF\n").count(), 1);
    assert!(text.ends_with("# EOF\n"));
}

/// Reads that the server says are left.
fn left(headers: &reqwest::header::HeaderMap) -> usize {
    let limit = headers["ratelimit"].to_str().expect("ASCII");
    let left = limit.split("r=").nth(1).and_then(|rest| rest.split(';').next());
    left.and_then(|left| left.parse().ok()).unwrap_or_else(|| panic!("{limit}"))
}

#[tokio::test]
async fn head_counts_like_get() {
    // Nothing of what was spent comes back.
    let clock = Clock::manual(Clock::system().now());
    let app = serving(8, 60_000, Options { reads: Some(1000), clock, ..Options::default() }).await;
    let mut before = left(&app.get("/").await.headers);
    for target in ["/sd/prometheus", LIST, "/api/v1/services/discover?name=s1", "/api/v1/watch"] {
        let mut costs = Vec::new();
        for method in [Method::GET, Method::HEAD] {
            let answer = app.request(method, target).send().await.expect("an answer");
            assert_eq!(answer.status(), 200, "{target}");
            let after = left(answer.headers());
            costs.push(before - after);
            before = after;
        }
        assert!(costs[0] > 1, "{target} is large");
        assert_eq!(costs[0], costs[1], "{target}");
    }
}

#[tokio::test]
async fn series_are_counted_off_the_serving_thread() {
    let app = serving(1500, 0, quick()).await;
    // The server runs on this thread. GET also sends the series, which HEAD only counts.
    let mut least = Vec::new();
    for method in [Method::GET, Method::HEAD] {
        let mut took = Duration::MAX;
        for _ in 0..5 {
            let begin = clock_gettime(ClockId::ThreadCPUTime);
            let answer = app.send(app.request(method.clone(), "/metrics")).await;
            let used = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime) - begin).expect("it only grows");
            assert_eq!(answer.status, 200);
            took = took.min(used);
        }
        least.push(took);
    }
    assert!(least[1] * 4 < least[0], "{least:?}");
}
