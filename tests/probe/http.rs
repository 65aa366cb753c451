//! The http check.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use portolan::model::check::Target;
use portolan::model::outcome::{Reason, Stage};
use portolan::model::request_options::{Method, RequestOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::harness::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn answer(status: u16) -> String {
    format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n")
}

fn expecting(server: &Server, expected: &[u16]) -> Target {
    match server.http("/") {
        Target::Http { host, port, target, request_options, tls, demands, .. } => {
            Target::Http { host, port, target, request_options, tls, expected: expected.to_vec(), demands }
        }
        other => other,
    }
}

fn asking(server: &Server, request_options: RequestOptions) -> Target {
    match server.http("/") {
        Target::Http { host, port, target, tls, expected, demands, .. } => Target::Http {
            host,
            port,
            target,
            request_options: Some(Box::new(request_options)),
            tls,
            expected,
            demands,
        },
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
    assert!(head.contains("\r\naccept: */*\r\n") && head.contains("\r\nconnection: close\r\n"), "{head}");
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
    let request_options = RequestOptions {
        method: Method::Head,
        host: Some("shop.example".to_owned()),
        headers: [("x-forwarded-proto", "https"), ("user-agent", "kube-probe/1")]
            .map(|(k, v)| (k.into(), v.into()))
            .into(),
    };
    assert_pass(&probe(&asking(&server, request_options.clone())).await);
    let head = seen.lock().expect("not poisoned").clone();
    assert!(head.starts_with("HEAD / HTTP/1.1\r\n"), "{head}");
    for line in ["host: shop.example", "x-forwarded-proto: https", "user-agent: kube-probe/1", "accept: */*"] {
        assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {head}");
    }
    assert_eq!(head.matches("\r\nhost:").count() + head.matches("\r\nuser-agent:").count(), 2, "{head}");

    let down = Server::answering(answer(503)).await;
    let outcome = probe(&asking(&down, request_options)).await;
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
    for (length, reason) in [(100 * 1024, Reason::Passed), (200 * 1024, Reason::ProtocolError)] {
        let head = format!("HTTP/1.1 200 OK\r\nx-long: {}\r\ncontent-length: 0\r\n\r\n", "a".repeat(length));
        let outcome = probe(&Server::answering(head).await.http("/")).await;
        assert_eq!(outcome.reason, reason, "{outcome:?}");
    }
}

#[tokio::test]
async fn the_status_decides_and_not_the_shape_of_other_lines() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-many: yes\r\n".repeat(1_000)).into_bytes();
    for answer in [
        &b"HTTP/1.1 200 OK\r\nX-Folded: one\r\n\ttwo\r\nContent-Length: 2\r\n\r\nok"[..],
        b"HTTP/1.1 200 OK\nX-Bare: line feeds\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 Tr\xe8s bien\r\nX-Odd: \xff\x00\x01\r\nno colon\r\nspace : x\r\n\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\nTransfer-Encoding: what\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        &many,
    ] {
        let outcome = probe(&Server::answering(answer).await.http("/")).await;
        assert_eq!(outcome.reason, Reason::Passed, "{}: {outcome:?}", String::from_utf8_lossy(answer));
        assert_eq!(outcome.code, Some(200));
    }
    // whole status lines, after which the peer ends
    for answer in ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let server = Server::start(move |mut stream| async move {
            read_head(&mut stream).await;
            drop(stream.write_all(answer.as_bytes()).await);
            drop(stream.shutdown().await);
            until_closed(&mut stream).await;
        })
        .await;
        assert_pass(&probe(&server.http("/")).await);
    }
}

#[tokio::test]
async fn no_verdict_depends_on_who_is_first() {
    // each answers before it has read a byte
    let waiting = Server::start(|mut stream| async move {
        drop(stream.write_all(OK.as_bytes()).await);
        drop(stream.shutdown().await);
        until_closed(&mut stream).await;
    })
    .await;
    // what it did not read resets the connection, once the answer is sent
    let gone = Server::start(|mut stream| async move {
        drop(stream.write_all(OK.as_bytes()).await);
        stream.set_zero_linger().expect("can be set");
    })
    .await;
    let deaf = Server::start(|mut stream| async move {
        stream.readable().await.expect("the request comes");
        drop(stream.write_all(OK.as_bytes()).await);
    })
    .await;
    for server in [&waiting, &gone, &deaf] {
        for _ in 0..100 {
            assert_pass(&probe(&server.http("/")).await);
        }
    }
}

#[tokio::test]
async fn a_status_says_what_helps() {
    for (status, word) in [
        (301, "redirects are not followed"),
        (308, "redirects are not followed"),
        (304, "not modified"),
        (401, "login"),
        (404, "no such page"),
        (429, "probe less often"),
        (101, "changed the protocol"),
    ] {
        let outcome = probe(&Server::answering(answer(status)).await.http("/")).await;
        assert_fail(&outcome, Reason::UnexpectedStatus);
        assert_eq!(outcome.code, Some(status));
        assert!(outcome.message.contains(word), "{}", outcome.message);
        assert_eq!(outcome.message.contains("redirect"), word.contains("redirect"), "{}", outcome.message);
    }
}

/// What the server sees after its answer: the end, or an error.
async fn end_seen(answer: Vec<u8>, asks: usize) -> Vec<Result<usize, std::io::ErrorKind>> {
    let (seen, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let (seen, answer) = (seen.clone(), answer.clone());
        async move {
            read_head(&mut stream).await;
            let wrote = stream.write_all(&answer).await;
            let mut buffer = [0; 8];
            let end = match wrote {
                Ok(()) => stream.read(&mut buffer).await,
                Err(error) => Err(error),
            };
            seen.send(end.map_err(|error| error.kind())).expect("the test listens");
        }
    })
    .await;
    let mut all = Vec::new();
    for _ in 0..asks {
        assert_pass(&probe(&server.http("/")).await);
        all.extend(ends.recv().await);
    }
    server.quiet().await;
    all
}

#[tokio::test]
async fn the_peer_sees_a_connection_that_ends_in_order() {
    let length = 256 * 1024;
    let long =
        [format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes(), vec![b'x'; length]].concat();
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    for answer in [OK.as_bytes(), chunked, b"HTTP/1.1 204 No Content\r\n\r\n", &long] {
        assert_eq!(end_seen(answer.to_vec(), 10).await, vec![Ok(0); 10]);
    }
}

#[tokio::test]
async fn time_that_runs_out_cuts_the_connection_off() {
    let (seen, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let seen = seen.clone();
        async move {
            read_head(&mut stream).await;
            let mut buffer = [0; 8];
            seen.send(stream.read(&mut buffer).await.map_err(|error| error.kind())).expect("the test listens");
        }
    })
    .await;
    assert_fail(&probe_briefly(&server.http("/")).await, Reason::Timeout);
    assert_eq!(ends.recv().await, Some(Err(std::io::ErrorKind::ConnectionReset)));
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
    let outcome = probe(&closing.http("/")).await;
    assert_fail(&outcome, Reason::ConnectionReset);
    assert!(outcome.message.contains("does it want https?"), "{outcome:?}");
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
async fn plain_http_to_a_tls_or_http2_server_says_so() {
    for (greeting, word) in [
        (&b"HTTP/2.0 200 OK\r\n\r\n"[..], "HTTP/2"),
        (&[0, 0, 0, 4, 0, 0, 0, 0, 0], "grpc check"),
        (&[0, 0, 24, 4, 0, 0, 0, 0, 0, 0, 4], "grpc check"),
        (&[0, 0, 8, 7, 0, 0, 0, 0, 0], "grpc check"),
        (&[0x15, 3, 1, 0, 2, 2, 70], "https"),
    ] {
        let outcome = probe(&Server::answering(greeting).await.http("/")).await;
        assert_fail(&outcome, Reason::ProtocolError);
        assert!(outcome.message.contains(word), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_long_message_keeps_its_first_words() {
    let server = Server::answering(answer(500)).await;
    let outcome = probe(&server.http(&format!("/{}", "p".repeat(500)))).await;
    assert_fail(&outcome, Reason::UnexpectedStatus);
    assert!(outcome.message.starts_with("status 500, expected 2xx"), "{}", outcome.message);
}
