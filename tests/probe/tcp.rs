//! The tcp check, and the connection under every check.

use portolan::model::check::Target;
use portolan::model::outcome::{Reason, Stage};
use portolan::model::url::Host;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::harness::*;

fn tcp(host: Host, port: u16) -> Target {
    Target::Tcp { host, port }
}

async fn closed_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test]
async fn an_open_port_passes_without_a_byte() {
    let server = Server::start(|mut stream| async move { until_closed(&mut stream).await }).await;
    let outcome = probe(&tcp(loopback(), server.port())).await;
    assert_pass(&outcome);
    assert_eq!((outcome.stage, outcome.code, outcome.address), (Stage::Connect, None, Some(server.address)));
    server.quiet().await;
}

#[tokio::test]
async fn a_closed_port_is_refused_for_every_kind() {
    let port = closed_port().await;
    let grpc = Target::Grpc { host: loopback(), port, service: String::new(), tls: None };
    for target in [tcp(loopback(), port), http(port, "/"), grpc] {
        let outcome = probe(&target).await;
        assert_fail(&outcome, Reason::ConnectRefused);
        assert_eq!(outcome.stage, Stage::Connect);
    }
}

#[tokio::test]
async fn a_full_backlog_is_a_connect_timeout() {
    let silent = Silent::at("127.0.0.1", 0).await;
    let outcome = probe_briefly(&tcp(loopback(), silent.port())).await;
    assert_fail(&outcome, Reason::ConnectTimeout);
    assert_eq!(outcome.stage, Stage::Connect);
}

#[tokio::test]
async fn ipv6_works_alike() {
    let Ok(listener) = TcpListener::bind(("::1", 0)).await else { return };
    let server = Server::on(listener, |mut stream| async move { until_closed(&mut stream).await });
    let host = Host::Ip("::1".parse().expect("an address"));
    assert_pass(&probe(&tcp(host, server.port())).await);
    let mapped = Server::start(|mut stream| async move { until_closed(&mut stream).await }).await;
    let host = Host::Ip("::ffff:127.0.0.1".parse().expect("an address"));
    let outcome = probe(&tcp(host, mapped.port())).await;
    assert_pass(&outcome);
    assert_eq!(outcome.address, Some(mapped.address), "dialled as what it stands for");
}

#[tokio::test]
async fn the_peer_sees_a_connection_that_ends_in_order() {
    let (seen, mut ends) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let seen = seen.clone();
        async move {
            // some greet first, and then wait to be spoken to
            drop(stream.write_all(b"220 ready\r\n").await);
            let mut buffer = [0; 8];
            seen.send(stream.read(&mut buffer).await.map_err(|error| error.kind())).expect("the test listens");
        }
    })
    .await;
    for _ in 0..20 {
        assert_pass(&probe(&tcp(loopback(), server.port())).await);
        assert_eq!(ends.recv().await, Some(Ok(0)));
    }
    server.quiet().await;
}
