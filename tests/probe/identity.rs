//! What a check demands of an answer besides its status.

use std::collections::BTreeMap;
use std::time::Duration;

use portolan::model::check::{Demands, Identity, Target, TlsCheck};
use portolan::model::outcome::{Outcome, Reason, Stage};
use tokio::io::AsyncWriteExt as _;

use super::harness::*;
use super::tls::{House, acceptor, serving};

fn demanding(target: Target, demands: Demands) -> Target {
    match target {
        Target::Http { host, port, target, request_options, tls, expected, .. } => {
            Target::Http { host, port, target, request_options, tls, expected, demands: Some(Box::new(demands)) }
        }
        other => other,
    }
}

fn json(pointer: &str, value: &str) -> Demands {
    let json = BTreeMap::from([(pointer.to_owned(), value.to_owned())]);
    Demands { identity: Identity { json, ..Identity::default() }, version_from: None }
}

fn header(name: &str, value: &str) -> Demands {
    let header = BTreeMap::from([(name.to_owned(), value.to_owned())]);
    Demands { identity: Identity { header, ..Identity::default() }, version_from: None }
}

async fn asking(server: &Server, demands: Demands) -> Outcome {
    probe(&demanding(server.http("/health"), demands)).await
}

fn said(outcome: &Outcome, words: &str) {
    assert_fail(outcome, Reason::WrongIdentity);
    assert!(outcome.message.contains(words) && outcome.message.chars().count() <= 256, "{}", outcome.message);
}

#[tokio::test]
async fn a_body_is_read_however_it_is_framed() {
    for framing in [
        "content-length: 15\r\n\r\n{\"name\":\"user\"}",
        "transfer-encoding: chunked\r\n\r\n5\r\n{\"nam\r\na\r\ne\":\"user\"}\r\n0\r\n\r\n",
        "x-other: 1\r\n\r\n{\"name\":\"user\"}",
    ] {
        let close = framing.starts_with("x-other");
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}");
        let server = Server::start(move |mut stream| {
            let answer = answer.clone();
            async move {
                read_head(&mut stream).await;
                for piece in answer.as_bytes().chunks(20) {
                    drop(stream.write_all(piece).await);
                    drop(stream.flush().await);
                }
                if !close {
                    until_closed(&mut stream).await;
                }
            }
        })
        .await;
        assert_pass(&asking(&server, json("/name", "user")).await);
        said(&asking(&server, json("/name", "billing")).await, "/name of the answer is \"user\", expected \"billing\"");
    }
}

#[tokio::test]
async fn a_status_that_fails_is_told_before_the_identity() {
    let server = Server::answering("HTTP/1.1 503 X\r\ncontent-length: 15\r\n\r\n{\"name\":\"user\"}").await;
    assert_fail(&asking(&server, json("/name", "billing")).await, Reason::UnexpectedStatus);
}

#[tokio::test]
async fn a_body_that_never_ends_is_no_answer() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"name\":").await;
    let target = demanding(server.http("/"), json("/name", "user"));
    let outcome = probe_briefly(&target).await;
    assert_fail(&outcome, Reason::Timeout);
    let endless = Server::answering([b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'['; 300_000]].concat()).await;
    said(&asking(&endless, json("/name", "user")).await, "longer than 64 KiB");
}

#[tokio::test]
async fn a_body_that_never_ends_changes_nothing_where_only_the_version_is_wanted() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"name\":").await;
    let demands = |demands: Demands| Demands { version_from: Some("/version".to_owned()), ..demands };
    // Long enough for the head on a busy machine; the body uses up all of it.
    let target = demanding(server.http("/"), demands(Demands::default()));
    let outcome = probe_with(&dialer(), &target, Duration::from_secs(4)).await;
    assert_pass(&outcome);
    assert_eq!((outcome.code, outcome.stage), (Some(200), Stage::Status));
    let outcome = probe_briefly(&demanding(server.http("/"), demands(json("/name", "user")))).await;
    assert_fail(&outcome, Reason::Timeout);
}

#[tokio::test]
async fn a_header_may_say_who_answers() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nX-Service:  user \r\ncontent-length: 0\r\n\r\n").await;
    assert_pass(&asking(&server, header("x-service", "user")).await);
    said(&asking(&server, header("x-service", "billing")).await, "header x-service is \"user\", expected \"billing\"");
    said(&asking(&server, header("x-instance", "a")).await, "has no header x-instance");
}

#[tokio::test]
async fn a_certificate_may_say_who_answers() {
    let house = House::counting(portolan::telemetry::metrics::Metrics::default());
    let server = serving(acceptor(house.ca.issue(&["127.0.0.1", "*.shop.test"]), b"http/1.1")).await;
    let tls = || TlsCheck { ca: Some("corp.pem".to_owned()), ..TlsCheck::default() };
    let probe = async |name: &str| {
        let identity = Identity { tls_san: Some(name.to_owned()), ..Identity::default() };
        let target = https(loopback(), server.port(), tls());
        house.probe_target(&demanding(target, Demands { identity, version_from: None })).await
    };
    for name in ["127.0.0.1", "user.shop.test", "USER.shop.test", "*.shop.test"] {
        assert_pass(&probe(name).await);
    }
    let outcome = probe("shop.test").await;
    said(&outcome, "the server's certificate is for ");
    assert_eq!(outcome.stage, Stage::Tls, "nothing is asked of it");
    said(&probe("a.user.shop.test").await, "expected \"a.user.shop.test\"");
}

#[tokio::test]
async fn each_of_many_names_of_a_certificate_may_say_who_answers() {
    let house = House::counting(portolan::telemetry::metrics::Metrics::default());
    let names: Vec<String> = (1..70).map(|n| format!("n{n}.shop.test")).collect();
    let names: Vec<&str> = std::iter::once("127.0.0.1").chain(names.iter().map(String::as_str)).collect();
    let server = serving(acceptor(house.ca.issue(&names), b"http/1.1")).await;
    let probe = async |name: &str| {
        let identity = Identity { tls_san: Some(name.to_owned()), ..Identity::default() };
        let tls = TlsCheck { ca: Some("corp.pem".to_owned()), ..TlsCheck::default() };
        let target = https(loopback(), server.port(), tls);
        house.probe_target(&demanding(target, Demands { identity, version_from: None })).await
    };
    for name in &names {
        assert_pass(&probe(name).await);
    }
    said(&probe("n70.shop.test").await, "the server's certificate is for 127.0.0.1, n1.shop.test, ");
}

#[tokio::test]
async fn the_version_is_found_where_the_check_says() {
    let server =
        Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 29\r\n\r\n{\"build\":{\"version\":\"1.2.3\"}}\n").await;
    for (pointer, version) in [("/build/version", Some("1.2.3")), ("/build/none", None), ("/build", None)] {
        let demands = Demands { version_from: Some(pointer.to_owned()), ..Demands::default() };
        let target = demanding(server.http("/"), demands);
        let end = tokio::time::Instant::now() + Duration::from_mins(1);
        let dialer = dialer();
        let pinned = dialer.pin(&target, end).await.expect("an address");
        let (outcome, found) = dialer.probe_if(&target, &pinned, end, &|_| true).await;
        assert_pass(&outcome);
        assert_eq!(found.as_deref(), version, "{pointer}");
    }
}
