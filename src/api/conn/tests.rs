//! Clients that behave badly, over real sockets.

mod bounds;
mod tls;

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;
use crate::api::http::envelope::ok_message;

/// Long enough for the slowest machine; reached only when a test fails.
const HANG: Duration = Duration::from_mins(2);
const BIG: usize = 64 * 1024 * 1024;

#[derive(Clone, Default)]
struct Echo {
    gate: Arc<Notify>,
    entered: Arc<Notify>,
}

impl Handler for Echo {
    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response<Body> {
        match request.uri().path() {
            "/gate" => {
                self.entered.notify_one();
                self.gate.notified().await;
                ok_message("through")
            }
            "/panic" => panic!("as asked"),
            "/big" => Response::new(Body::from(vec![b'x'; BIG])),
            "/sly" => Response::new(Body::from(sly())),
            "/body" => match request.into_body().read(64 * 1024).await {
                Ok(body) => ok_message(&format!("{} bytes", body.len())),
                Err(error) => error.into_reply(),
            },
            _ => ok_message("hello"),
        }
    }
}

/// A long body that looks like one of hyper's refusals wherever a piece begins.
fn sly() -> Vec<u8> {
    format!("{:1024}", "HTTP/1.1 400 Bad Request").into_bytes().repeat(256)
}

struct Running {
    address: SocketAddr,
    echo: Echo,
    metrics: Metrics,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ConnError>>,
}

fn quick() -> ConnSettings {
    ConnSettings {
        head: Duration::from_millis(150),
        body: Duration::from_millis(150),
        idle: Duration::from_secs(30),
        write: Duration::from_millis(150),
        ..ConnSettings::default()
    }
}

fn start(settings: ConnSettings) -> Running {
    start_at(SocketAddr::from(([127, 0, 0, 1], 0)), settings)
}

fn start_at(address: SocketAddr, settings: ConnSettings) -> Running {
    let listener = listen(address).expect("a port");
    let address = listener.local_addr().expect("an address");
    let (echo, metrics, shutdown) = (Echo::default(), Metrics::default(), CancellationToken::new());
    let task = tokio::spawn(serve(listener, settings, echo.clone(), metrics.clone(), shutdown.clone()));
    Running { address, echo, metrics, shutdown, task }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }

    async fn send(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.expect("sent");
        stream
    }

    fn rejected(&self, reason: &str) -> bool {
        let text = self.metrics.render().expect("renders");
        text.contains(&format!("portolan_rejected_total{{reason=\"{reason}\"}}"))
    }

    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(HANG, wait).await.expect("the condition never held");
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(HANG, self.task).await.expect("stops").expect("no panic").expect("a clean end");
    }
}

/// Everything up to the end of the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(HANG, stream.read_to_end(&mut bytes)).await.expect("the connection never ended");
    read.expect("ended cleanly, not by a reset");
    String::from_utf8(bytes).expect("UTF-8")
}

/// One answer with a `Content-Length`.
async fn one(stream: &mut TcpStream) -> String {
    let read = async {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .unwrap_or_else(|| panic!("no length: {text}"));
                if body.len() >= length.parse::<usize>().expect("a number") {
                    return text;
                }
            }
            assert_ne!(stream.read_buf(&mut bytes).await.expect("an answer"), 0, "ended early: {text}");
        }
    };
    tokio::time::timeout(HANG, read).await.expect("no answer")
}

fn assert_envelope(answer: &str, status: &str, code: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains("content-type: application/json; charset=utf-8"), "{answer}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    let json: serde_json::Value = serde_json::from_str(body).expect(body);
    assert_eq!(json["success"], false);
    assert_eq!(json["code"], code, "{answer}");
}

#[tokio::test]
async fn one_connection_serves_request_after_request_and_pipelined_ones() {
    let server = start(quick());
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        assert!(one(&mut stream).await.contains("hello"));
    }
    let four = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(3);
    stream.write_all(&four).await.expect("sent");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("sent");
    assert_eq!(rest(&mut stream).await.matches("hello").count(), 4);
    server.stop().await;
}

/// As the kubelet does in a cluster of either family.
#[tokio::test]
async fn clients_of_both_families_reach_a_server_on_every_address() {
    let server = start_at("[::]:0".parse().expect("an address"), quick());
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    for host in ["127.0.0.1"].into_iter().chain(has_ipv6.then_some("::1")) {
        let mut stream = TcpStream::connect((host, server.address.port())).await.expect(host);
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        assert!(one(&mut stream).await.contains("hello"), "{host}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_stalls_is_answered_and_closed() {
    let server = start(quick());
    let mut stream = server.send("GET / HTTP/1.1\r\nhost: x\r\n").await;
    assert_envelope(&rest(&mut stream).await, "408", "request_timeout");
    assert!(server.rejected("slow_head"));
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_drips_has_no_more_time_than_one_that_stalls() {
    let server = start(quick());
    let (mut reader, mut writer) = server.send("GET / HTTP/1.1\r\n").await.into_split();
    let drip = tokio::spawn(async move {
        while writer.write_all(b"a: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    });
    let mut bytes = Vec::new();
    // The client still sends, so the end may be a reset; that it ends is what counts.
    let _ = tokio::time::timeout(HANG, reader.read_to_end(&mut bytes)).await.expect("never closed");
    drip.await.expect("noticed");
    server.until(|s| s.metrics.connections.get() == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_second_head_on_a_connection_is_timed_too() {
    let server = start(quick());
    let mut stream = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(one(&mut stream).await.contains("hello"));
    stream.write_all(b"GET / HT").await.expect("sent");
    assert_envelope(&rest(&mut stream).await, "408", "request_timeout");
    server.stop().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let server = start(quick());
    let mut stream = server.connect().await;
    assert_eq!(rest(&mut stream).await, "");
    assert!(server.rejected("silent_connection"));
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_the_end() {
    let server = start(ConnSettings { idle: Duration::from_millis(100), ..quick() });
    let mut stream = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(rest(&mut stream).await.contains("hello"));
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off() {
    let server = start(quick());
    let stream = server.send("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n").await;
    let (mut reader, mut writer) = stream.into_split();
    let drip = tokio::spawn(async move {
        while writer.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut bytes = vec![0; 4096];
    let n = tokio::time::timeout(HANG, reader.read(&mut bytes)).await.expect("an answer").expect("read");
    assert_envelope(&String::from_utf8_lossy(&bytes[..n]), "408", "request_timeout");
    drip.await.expect("the connection ends");
    server.stop().await;
}

#[tokio::test]
async fn a_body_in_parts_is_read_and_the_connection_goes_on() {
    let server = start(quick());
    let mut stream = server.send("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab").await;
    stream.write_all(b"cd").await.expect("sent");
    assert!(one(&mut stream).await.contains("4 bytes"));
    stream
        .write_all(b"POST /body HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .await
        .expect("sent");
    stream.write_all(b"0\r\n\r\n").await.expect("sent");
    assert!(one(&mut stream).await.contains("3 bytes"));
    server.stop().await;
}

#[tokio::test]
async fn a_body_over_its_limit_gets_its_answer_though_it_is_still_sent() {
    let server = start(quick());
    for framing in ["content-length: 200000", "transfer-encoding: chunked"] {
        let mut stream = server.send(format!("POST /body HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n")).await;
        let chunk = format!("{:x}\r\n{}\r\n", 20_000, "x".repeat(20_000));
        for _ in 0..9 {
            // The server may have shut its side already.
            let _ = stream.write_all(chunk.as_bytes()).await;
        }
        assert_envelope(&rest(&mut stream).await, "413", "body_too_large");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_head_over_its_limits_is_431_in_the_envelope() {
    let server = start(quick());
    let heads = [
        format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(20_000)),
        format!("GET /{} HTTP/1.1\r\n\r\n", "b".repeat(20_000)),
        format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101)),
        format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(100_000)),
    ];
    for head in heads {
        let mut stream = server.connect().await;
        // An endless head is refused while it is sent.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut bytes = Vec::new();
        let _ = tokio::time::timeout(HANG, stream.read_to_end(&mut bytes)).await.expect("closed");
        assert_envelope(&String::from_utf8_lossy(&bytes), "431", "head_too_large");
    }
    let most = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}\r\n", "a: b\r\n".repeat(98));
    assert!(rest(&mut server.send(most).await).await.contains("hello"));
    server.stop().await;
}

#[tokio::test]
async fn a_character_that_spoils_a_target_is_named() {
    let server = start(quick());
    for (target, said) in [
        ("/api/v1/services?version=>=1.4", "'>' unescaped (character 26); write it as %3E"),
        ("/api/v1/services?version=<2", "'<' unescaped (character 26); write it as %3C"),
        ("/api/v1/services?version=^1 <2", "a space unescaped (character 28); write it as %20"),
        ("/x?a=\"b\"", "'\\\"' unescaped (character 6); write it as %22"),
    ] {
        let mut stream = server.send(&format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let answer = rest(&mut stream).await;
        assert_envelope(&answer, "400", "bad_request");
        assert!(answer.contains(said) && answer.contains("data-urlencode"), "{target}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_http_gets_a_400_in_the_envelope() {
    let server = start(quick());
    for garbage in [
        "\u{16}\u{3}\u{1}\r\n\r\n",
        "GET\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.1\r\na\u{0}b: c\r\n\r\n",
    ] {
        let mut stream = server.send(garbage).await;
        let answer = rest(&mut stream).await;
        assert!(!answer.is_empty(), "{garbage:?}");
        assert_envelope(&answer, "400", "bad_request");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_handler_may_outlast_every_limit() {
    let server = start(ConnSettings { idle: Duration::from_millis(40), ..quick() });
    let mut stream = server.send("GET /gate HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.echo.entered.notified().await;
    // Another connection that lives and dies meanwhile proves that the limits have passed.
    assert_eq!(rest(&mut server.connect().await).await, "");
    server.echo.gate.notify_one();
    assert!(one(&mut stream).await.contains("through"));
    server.stop().await;
}

/// What becomes of a head that another request follows: the answers up to the close.
async fn before_another(server: &Running, head: &str) -> String {
    let mut stream = server.send(format!("{head}\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n")).await;
    let answer = rest(&mut stream).await;
    assert!(!answer.contains("hello"), "what follows is not read as a request: {answer}");
    answer.replacen("HTTP/1.0", "HTTP/1.1", 1)
}

#[tokio::test]
async fn a_body_that_could_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read() {
    let server = start(quick());
    for coding in [
        "gzip, chunked",
        "gzip, chunked, chunked",
        "x\r\ntransfer-encoding: chunked",
        "identity\r\nTransfer-Encoding: chunked",
        ", chunked",
    ] {
        for start in ["POST /body", "PUT /", "GET /"] {
            let head = format!("{start} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: {coding}");
            assert_envelope(&before_another(&server, &head).await, "501", "transfer_coding");
        }
    }
    for fields in [
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: chunked;a=b",
        "transfer-encoding : chunked",
        "transfer-encoding:\u{b}chunked",
        "content-length: 3\r\ncontent-length: 4",
        "content-length: 3, 3",
        "content-length: +3",
        "content-length: 0x3",
        "content-length: 3\r\n chunked",
    ] {
        let head = format!("POST /body HTTP/1.1\r\nhost: x\r\n{fields}");
        assert_envelope(&before_another(&server, &head).await, "400", "bad_request");
    }
    for both in ["transfer-encoding: chunked\r\ncontent-length: 3", "content-length: 3\r\ntransfer-encoding: chunked"] {
        let head = format!("POST /body HTTP/1.1\r\nhost: x\r\n{both}");
        let answer = before_another(&server, &head).await;
        assert!(answer.contains("3 bytes") && answer.contains("connection: close"), "the coding counts: {answer}");
    }
    let old = "POST /body HTTP/1.0\r\nconnection: keep-alive\r\ntransfer-encoding: chunked";
    assert_envelope(&before_another(&server, old).await, "400", "bad_request");
    server.stop().await;
}

#[tokio::test]
async fn a_request_names_its_host_once_and_well() {
    let server = start(quick());
    for head in [
        "GET / HTTP/1.1",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a",
        "GET / HTTP/1.0\r\nhost: a\r\nhost: b",
        "GET / HTTP/1.1\r\nhost:",
        "GET / HTTP/1.1\r\nhost: a b",
        "GET / HTTP/1.1\r\nhost: user@a",
        "GET / HTTP/1.1\r\nhost: a:x",
        "GET / HTTP/1.1\r\nhost: a/",
        "OPTIONS * HTTP/1.1",
        "GET http://a/ HTTP/1.1",
        "GET http://user@a/ HTTP/1.1\r\nhost: a",
        "GET ftp://a/ HTTP/1.1\r\nhost: a",
    ] {
        assert_envelope(&before_another(&server, head).await, "400", "bad_request");
    }
    for head in [
        "GET / HTTP/1.1\r\nhost: a.example:8080",
        "GET / HTTP/1.1\r\nHost: [::1]:80",
        "GET http://b.example/ HTTP/1.1\r\nhost: a",
        "GET / HTTP/1.0",
        "GET / HTTP/1.0\r\nhost: a",
    ] {
        let mut stream = server.send(format!("{head}\r\nconnection: close\r\n\r\n")).await;
        assert!(rest(&mut stream).await.contains("hello"), "{head}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_panicking_handler_is_a_500_and_hurts_nobody() {
    let server = start(quick());
    let mut other = server.send("GET /gate HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.echo.entered.notified().await;
    let mut stream = server.send("GET /panic HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert_envelope(&one(&mut stream).await, "500", "internal");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    assert!(one(&mut stream).await.contains("hello"), "the same connection goes on");
    server.echo.gate.notify_one();
    assert!(one(&mut other).await.contains("through"));
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_finishes_what_is_in_flight_and_closes_the_rest() {
    let server = start(ConnSettings { grace: HANG, ..ConnSettings::default() });
    let mut idle = server.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    one(&mut idle).await;
    let mut silent = server.connect().await;
    let mut busy = server.send("GET /gate HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.echo.entered.notified().await;
    server.until(|s| s.metrics.connections.get() == 3).await;
    server.shutdown.cancel();
    assert_eq!(rest(&mut idle).await, "");
    assert_eq!(rest(&mut silent).await, "");
    assert!(TcpStream::connect(server.address).await.is_err(), "nothing listens any more");
    assert!(!server.task.is_finished());
    server.echo.gate.notify_one();
    let answer = rest(&mut busy).await;
    assert!(answer.contains("through") && answer.contains("connection: close"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_is_bounded() {
    let server = start(ConnSettings { grace: Duration::from_millis(50), ..quick() });
    let mut busy = server.send("GET /gate HTTP/1.1\r\nhost: x\r\n\r\n").await;
    server.echo.entered.notified().await;
    let metrics = server.metrics.clone();
    server.stop().await;
    assert_eq!(rest(&mut busy).await, "");
    assert_eq!(metrics.connections.get(), 0);
}

#[test]
fn only_a_broken_listener_ends_the_server() {
    let pause = |errno: Errno| pause_after(&io::Error::from_raw_os_error(errno.raw_os_error()));
    assert_eq!(pause(Errno::MFILE).expect("goes on"), Some(ACCEPT_PAUSE));
    assert_eq!(
        pause(Errno::IO).expect("goes on"),
        Some(ACCEPT_PAUSE),
        "an unknown one is not tried again in a tight loop"
    );
    assert_eq!(pause(Errno::CONNABORTED).expect("goes on"), None);
    assert_eq!(pause(Errno::PERM).expect("goes on"), None, "a firewall refused one connection");
    assert!(pause(Errno::BADF).is_err());
}
