//! The http check.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portolan::model::check::Target;
use portolan::model::manner::{Manner, Method};
use portolan::model::outcome::{Reason, Stage};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::harness::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn answer(status: u16) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n")
}

fn expecting(server: &Server, expected: &[u16]) -> Target {
    match server.http("/") {
        Target::Http { host, port, target, manner, tls, .. } => {
            Target::Http { host, port, target, manner, tls, expected: expected.to_vec() }
        }
        other => other,
    }
}

fn asking(server: &Server, manner: Manner) -> Target {
    match server.http("/") {
        Target::Http { host, port, target, tls, expected, .. } => {
            Target::Http { host, port, target, manner: Some(Box::new(manner)), tls, expected }
        }
        other => other,
    }
}

#[tokio::test]
async fn a_good_answer_passes_with_its_evidence() {
    let server = Server::answering(OK).await;
    let outcome = probe(&server.http("/healthz")).await;
    assert_pass(&outcome);
    assert_eq!((outcome.code, outcome.stage, outcome.address), (Some(200), Stage::Status, Some(server.address)));
    let timings = outcome.timings;
    assert!(timings.resolve_us.is_some() && timings.connect_us.is_some() && timings.request_us.is_some());
    assert!(timings.status_us.is_some() && timings.tls_us.is_none(), "{timings:?}");
    server.quiet().await;
}

#[tokio::test]
async fn the_request_is_plain_and_complete() {
    let seen = Arc::new(Mutex::new(String::new()));
    let keep = seen.clone();
    let server = Server::start(move |mut stream| {
        let keep = keep.clone();
        async move {
            let head = read_head(&mut stream).await;
            *keep.lock().expect("not poisoned") = head;
            drop(stream.write_all(OK.as_bytes()).await);
            until_closed(&mut stream).await;
        }
    })
    .await;
    assert_pass(&probe(&server.http("/healthz?key=secret&a={b}")).await);
    let head = seen.lock().expect("not poisoned").to_ascii_lowercase();
    assert!(head.starts_with("get /healthz?key=secret&a={b} http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: 127.0.0.1:{}\r\n", server.port())), "{head}");
    assert!(head.contains(concat!("\r\nuser-agent: portolan/", env!("CARGO_PKG_VERSION"), "\r\n")), "{head}");
    assert!(head.contains("\r\naccept: */*\r\n") && !head.contains("connection:"), "{head}");
}

#[tokio::test]
async fn a_manifest_may_set_method_host_and_headers() {
    let seen = Arc::new(Mutex::new(String::new()));
    let keep = seen.clone();
    let server = Server::start(move |mut stream| {
        let keep = keep.clone();
        async move {
            *keep.lock().expect("not poisoned") = read_head(&mut stream).await;
            // The length of a body that does not come: the answer to a HEAD.
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4096\r\n\r\n").await);
            until_closed(&mut stream).await;
        }
    })
    .await;
    let manner = Manner {
        method: Method::Head,
        host: Some("shop.example".to_owned()),
        headers: [("x-forwarded-proto", "https"), ("user-agent", "kube-probe/1")]
            .map(|(k, v)| (k.into(), v.into()))
            .into(),
    };
    assert_pass(&probe(&asking(&server, manner.clone())).await);
    let head = seen.lock().expect("not poisoned").clone();
    assert!(head.starts_with("HEAD / HTTP/1.1\r\n"), "{head}");
    for line in ["host: shop.example", "x-forwarded-proto: https", "user-agent: kube-probe/1", "accept: */*"] {
        assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {head}");
    }
    assert_eq!(head.matches("\r\nhost:").count() + head.matches("\r\nuser-agent:").count(), 2, "{head}");

    let down = Server::answering(answer(503)).await;
    let outcome = probe(&asking(&down, manner)).await;
    assert_fail(&outcome, Reason::UnexpectedStatus);
    assert!(outcome.message.contains("HEAD http://127.0.0.1"), "{}", outcome.message);
}

#[tokio::test]
async fn statuses_decide() {
    for (status, expected, passes) in [
        (204, &[][..], true),
        (299, &[], true),
        (404, &[], false),
        (500, &[], false),
        (302, &[], false),
        (404, &[404, 410], true),
        (200, &[204], false),
        (302, &[302], true),
    ] {
        let server = Server::answering(answer(status)).await;
        let outcome = probe(&expecting(&server, expected)).await;
        assert_eq!(outcome.code, Some(status));
        if passes {
            assert_pass(&outcome);
        } else {
            assert_fail(&outcome, Reason::UnexpectedStatus);
            assert!(outcome.message.contains(&status.to_string()), "{}", outcome.message);
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_nothing_of_the_peer_is_repeated() {
    let trap = Server::answering(OK).await;
    let location = format!("HTTP/1.1 301 Evil\r\nlocation: http://{}/\r\ncontent-length: 4\r\n\r\nevil", trap.address);
    let server = Server::answering(location).await;
    let outcome = probe(&server.http("/?token=hidden")).await;
    assert_fail(&outcome, Reason::UnexpectedStatus);
    assert!(outcome.message.contains("redirects are not followed"), "{}", outcome.message);
    assert!(outcome.message.contains("/?…"), "{}", outcome.message);
    for hidden in ["evil", "Evil", "token", &trap.port().to_string()] {
        assert!(!outcome.message.contains(hidden), "{}", outcome.message);
    }
    assert_eq!(trap.connections(), 0);
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_times_out() {
    let server = Server::start(|mut stream| async move { until_closed(&mut stream).await }).await;
    let outcome = probe_briefly(&server.http("/")).await;
    assert_fail(&outcome, Reason::Timeout);
    assert_eq!(outcome.stage, Stage::Request);
    assert!(outcome.timings.request_us.is_some_and(|us| us >= 300_000), "{outcome:?}");
    server.quiet().await;
}

/// Writes `first` at once and then `drop` again and again, each after a moment.
async fn dripping(first: &'static str, drop: &'static str) -> Server {
    Server::start(move |mut stream| async move {
        read_head(&mut stream).await;
        let mut written = stream.write_all(first.as_bytes()).await;
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while written.is_ok() {
            tick.tick().await;
            written = stream.write_all(drop.as_bytes()).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_dripping_head_times_out() {
    let server = dripping("HTTP/1.1 200 OK\r\nx-slow: ", "a").await;
    let outcome = probe_briefly(&server.http("/")).await;
    assert_fail(&outcome, Reason::Timeout);
    server.quiet().await;
}

#[tokio::test]
async fn a_dripping_body_changes_nothing() {
    let server = dripping("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", "a").await;
    let begin = Instant::now();
    assert_pass(&probe(&server.http("/")).await);
    assert!(begin.elapsed() < MARGIN, "the drain is bounded: {:?}", begin.elapsed());
    server.quiet().await;
}

#[tokio::test]
async fn a_verdict_stands_though_the_deadline_cuts_the_body() {
    let server = dripping("HTTP/1.1 503 Down\r\ncontent-length: 1000000\r\n\r\n", "a").await;
    let dialer = dialer();
    let target = server.http("/");
    for millis in [20, 30, 40, 50] {
        let outcome = probe_with(&dialer, &target, Duration::from_millis(millis)).await;
        if outcome.stage == Stage::Status {
            assert_fail(&outcome, Reason::UnexpectedStatus);
        }
    }
}

#[tokio::test]
async fn endless_streams_end_at_their_bounds() {
    let headers = flooding("HTTP/1.1 200 OK\r\n", "x-more: yes\r\n").await;
    assert_fail(&probe(&headers.http("/")).await, Reason::ProtocolError);
    let one_header = flooding("HTTP/1.1 200 OK\r\nx-long: ", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").await;
    assert_fail(&probe(&one_header.http("/")).await, Reason::ProtocolError);
    let body = flooding("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "4\r\naaaa\r\n").await;
    assert_pass(&probe(&body.http("/")).await);
    let plain = flooding("HTTP/1.1 200 OK\r\n\r\n", "aaaa").await;
    assert_pass(&probe(&plain.http("/")).await);
    for server in [headers, one_header, body, plain] {
        server.quiet().await;
    }
}

#[tokio::test]
async fn a_head_has_its_bound() {
    for (length, reason) in [(8 * 1024, Reason::Passed), (20 * 1024, Reason::ProtocolError)] {
        let head = format!("HTTP/1.1 200 OK\r\nx-long: {}\r\ncontent-length: 0\r\n\r\n", "a".repeat(length));
        let outcome = probe(&Server::answering(head).await.http("/")).await;
        assert_eq!(outcome.reason, reason, "{outcome:?}");
    }
}

async fn flooding(first: &'static str, more: &'static str) -> Server {
    Server::start(move |mut stream| async move {
        read_head(&mut stream).await;
        let mut written = stream.write_all(first.as_bytes()).await;
        let flood = more.repeat(200);
        while written.is_ok() {
            written = stream.write_all(flood.as_bytes()).await;
        }
    })
    .await
}

#[tokio::test]
async fn endless_informational_answers_end_at_a_bound() {
    let server = flooding("", "HTTP/1.1 100 Continue\r\n\r\n").await;
    let begin = Instant::now();
    assert_fail(&probe(&server.http("/")).await, Reason::ProtocolError);
    assert!(begin.elapsed() < MARGIN, "{:?}", begin.elapsed());
    server.quiet().await;
}

#[tokio::test]
async fn a_deadline_that_has_passed_says_nothing_about_the_target() {
    let server = Server::answering(OK).await;
    let (dialer, target) = (dialer(), server.http("/"));
    let pinned = dialer.pin(&target, Instant::now() + AMPLE).await.expect("an address");
    assert_inconclusive(&dialer.probe(&target, &pinned, Instant::now()).await, Reason::Cancelled);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn closing_and_resetting_before_an_answer_is_told_apart_from_silence() {
    let closing = Server::start(|mut stream| async move { drop(read_head(&mut stream).await) }).await;
    assert_fail(&probe(&closing.http("/")).await, Reason::ConnectionReset);
    let resetting = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        stream.set_zero_linger().expect("can be set");
    })
    .await;
    assert_fail(&probe(&resetting.http("/")).await, Reason::ConnectionReset);
    let at_once = Server::start(|stream| async move { stream.set_zero_linger().expect("can be set") }).await;
    assert_fail(&probe(&at_once.http("/")).await, Reason::ConnectionReset);
    let half = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        drop(stream.write_all(b"HTTP/1.1 200").await);
    })
    .await;
    assert_fail(&probe(&half.http("/")).await, Reason::ConnectionReset);
}

#[tokio::test]
async fn answers_that_are_not_http_are_a_protocol_error() {
    for greeting in
        ["SSH-2.0-OpenSSH_9.6\r\n", "-ERR unknown command\r\n", "\0\0\0\0", "HTTP/9.9 200 OK\r\n\r\n", "{}\r\n\r\n"]
    {
        let server = Server::start(move |mut stream| async move {
            drop(stream.write_all(greeting.as_bytes()).await);
            until_closed(&mut stream).await;
        })
        .await;
        let outcome = probe(&server.http("/")).await;
        assert_fail(&outcome, Reason::ProtocolError);
        assert!(!outcome.message.contains("SSH") && !outcome.message.contains("ERR"), "{outcome:?}");
    }
}

#[tokio::test]
async fn plain_http_to_a_tls_like_or_http2_server_says_so() {
    let http2 = Server::answering("HTTP/2.0 200 OK\r\n\r\n").await;
    assert_fail(&probe(&http2.http("/")).await, Reason::ProtocolError);
    let frames = Server::answering(vec![0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    assert_fail(&probe(&frames.http("/")).await, Reason::ProtocolError);
}

#[tokio::test]
async fn a_long_message_keeps_its_first_words() {
    let server = Server::answering(answer(500)).await;
    let outcome = probe(&server.http(&format!("/{}", "p".repeat(500)))).await;
    assert_fail(&outcome, Reason::UnexpectedStatus);
    assert!(outcome.message.starts_with("status 500, expected 200 to 299"), "{}", outcome.message);
}
