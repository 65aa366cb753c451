//! The tcp check, and the connection under every check.

use portolan::model::check::Target;
use portolan::model::outcome::{Reason, Stage};
use portolan::model::url::Host;
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
    let listener = socket2_backlog();
    let address = listener.local_addr().expect("an address");
    // fill the queue until the system drops further handshakes
    let mut held = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(address)).await {
        held.push(stream);
        assert!(held.len() < 10_000, "the backlog has no end");
    }
    let outcome = probe_briefly(&tcp(loopback(), address.port())).await;
    assert_fail(&outcome, Reason::ConnectTimeout);
    assert_eq!(outcome.stage, Stage::Connect);
}

/// A listener that accepts nothing, with the smallest backlog.
fn socket2_backlog() -> TcpListener {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    socket.listen(1).expect("listens")
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
async fn no_time_wait_stays_on_our_side() {
    let server = Server::start(|mut stream| async move { until_closed(&mut stream).await }).await;
    for _ in 0..20 {
        assert_pass(&probe(&tcp(loopback(), server.port())).await);
    }
    server.quiet().await;
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let peer = format!("0100007F:{:04X}", server.port());
    let waiting = table.lines().filter(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.get(2) == Some(&peer.as_str()) && fields.get(3) == Some(&"06")
    });
    assert_eq!(waiting.count(), 0);
}
