//! Names with several addresses: in which order they are tried, and how many at once.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use portolan::model::outcome::Reason;
use portolan::prober::ResolverSettings;
use portolan::prober::{DialSettings, Dialer};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;

use super::dns::{Dns, Reply};
use super::harness::*;
use super::names::{accepting, named, using};

/// Listeners on 127.0.0.1 and 127.0.0.2 with one port.
pub(crate) async fn same_port() -> (TcpListener, TcpListener) {
    loop {
        let first = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = first.local_addr().expect("an address").port();
        if let Ok(second) = TcpListener::bind(("127.0.0.2", port)).await {
            return (first, second);
        }
    }
}

#[tokio::test]
async fn families_take_turns_and_the_next_address_is_tried_when_one_does_not_connect() {
    let (up, down) = same_port().await;
    drop(down);
    let server = Server::on(up, |mut stream| async move { until_closed(&mut stream).await });
    let dns = Dns::start(|_, _, _| Reply::addresses(&["127.0.0.2", "127.0.0.1", "::1"], 60)).await;
    let dialer = using(&dns);
    let target = named("two.test", server.port());
    let pinned = dialer.pin(&target, Instant::now() + AMPLE).await.expect("allowed");
    let order: Vec<_> = pinned.addresses().iter().map(ToString::to_string).collect();
    assert_eq!(order, ["127.0.0.2", "::1", "127.0.0.1"]);
    assert_eq!(pinned.key(), pinned.addresses()[0]);
    let outcome = probe_with(&dialer, &target, AMPLE).await;
    assert_pass(&outcome);
    assert_eq!(outcome.address, Some(server.address));
}

const MANY: [&str; 8] =
    ["127.0.0.9", "127.0.0.8", "127.0.0.7", "127.0.0.6", "127.0.0.5", "127.0.0.4", "127.0.0.3", "127.0.0.1"];

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let server = accepting().await;
    let dns = Dns::start(|_, _, _| Reply::addresses(&MANY, 60)).await;
    let outcome = probe_with(&using(&dns), &named("many.test", server.port()), AMPLE).await;
    assert_pass(&outcome);
    assert_eq!(outcome.address, Some(server.address));

    let closed = accepting().await.port();
    let outcome = probe_with(&using(&dns), &named("many.test", closed), AMPLE).await;
    assert_fail(&outcome, Reason::ConnectRefused);
    assert!(outcome.message.contains("127.0.0.9") && outcome.message.contains("7 other addresses"), "{outcome:?}");
}

#[tokio::test]
async fn silent_addresses_do_not_hold_up_the_one_that_answers() {
    let (up, down) = same_port().await;
    drop(down);
    let server = Server::on(up, |mut stream| async move { until_closed(&mut stream).await });
    let silent = ["127.0.0.2", "127.0.0.3"].map(|ip| Silent::at(ip, server.port()));
    let silent = futures::future::join_all(silent).await;
    let dns = Dns::start(|_, _, _| Reply::addresses(&["127.0.0.2", "127.0.0.3", "127.0.0.1"], 60)).await;
    let dialer = using(&dns);
    assert_pass(&probe_with(&dialer, &named("late.test", server.port()), AMPLE).await);
    // with little time each has its share of it
    let outcome = probe_with(&dialer, &named("late.test", server.port()), Duration::from_secs(2)).await;
    assert_pass(&outcome);
    assert_eq!(outcome.address, Some(server.address));
    drop(silent);
}

/// Connections to the port that are being opened.
fn opening(port: u16) -> usize {
    const SYN_SENT: &str = "02";
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("Linux");
    let port = format!(":{port:04X}");
    let is_opening = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().is_some_and(|peer| peer.ends_with(&port)) && fields.next() == Some(SYN_SENT)
    };
    sockets.lines().filter(is_opening).count()
}

#[tokio::test]
async fn of_many_silent_addresses_only_four_are_dialled_at_once() {
    let (up, down) = same_port().await;
    drop(down);
    let server = Server::on(up, |mut stream| async move { until_closed(&mut stream).await });
    let (port, addresses) = (server.port(), &MANY[2..]);
    let (last, silent) = addresses.split_last().expect("some");
    let silent = futures::future::join_all(silent.iter().map(|ip| Silent::at(ip, port))).await;
    let dns = Dns::start(|name, _, _| match name {
        "late.test" => Reply::addresses(&MANY[2..], 60),
        _ => Reply::addresses(&MANY[2..7], 60),
    })
    .await;
    let seen = Mutex::new(Vec::new());
    let may = |_: IpAddr| {
        seen.lock().expect("not poisoned").push(opening(port));
        true
    };
    let probe = async |name: &str, spare_connections: usize, time: Duration| {
        let resolver = ResolverSettings::Servers(vec![dns.address]);
        let dialer = Dialer::new(DialSettings { resolver, spare_connections, ..settings() });
        let (target, end) = (named(name, port), Instant::now() + time);
        let pinned = dialer.pin(&target, end).await.expect("allowed");
        let outcome = dialer.probe_if(&target, &pinned, end, &may).await.0;
        let seen = std::mem::take(&mut *seen.lock().expect("not poisoned"));
        assert_eq!(seen.len(), pinned.addresses().len() - 1, "each has its turn");
        (outcome, seen.into_iter().max().expect("several"))
    };
    for (spare, most) in [(100, 4), (0, 1)] {
        let (outcome, opened) = probe("late.test", spare, AMPLE).await;
        assert_pass(&outcome);
        assert_eq!((outcome.address.map(|at| at.ip().to_string()).as_deref(), opened), (Some(*last), most));
    }
    let (outcome, opened) = probe("silent.test", 100, Duration::from_secs(10)).await;
    assert_fail(&outcome, Reason::ConnectTimeout);
    assert_eq!((outcome.message.as_str(), opened), ("none of the name's 5 addresses answered in time", 4));
    drop(silent);
}

#[tokio::test]
async fn silence_outweighs_the_failures_after_it() {
    let closed = TcpSocket::new_v4().expect("a socket");
    closed.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let port = closed.local_addr().expect("an address").port();
    let silent = Silent::at("127.0.0.2", port).await;
    let dns = Dns::start(|_, _, _| Reply::addresses(&["127.0.0.2", "127.0.0.1"], 60)).await;
    let resolver = ResolverSettings::Servers(vec![dns.address]);
    let dialer = Dialer::new(DialSettings { resolver, spare_connections: 0, ..settings() });
    let outcome = probe_with(&dialer, &named("late.test", port), AMPLE).await;
    assert_fail(&outcome, Reason::ConnectTimeout);
    assert!(outcome.message.starts_with("of the name's 2 addresses 1 failed, and the others"), "{outcome:?}");
    drop((silent, closed));
}

#[tokio::test]
async fn an_address_over_its_budget_is_not_tried() {
    let (up, down) = same_port().await;
    drop(down);
    let server = Server::on(up, |mut stream| async move { until_closed(&mut stream).await });
    let dns = Dns::start(|_, _, _| Reply::addresses(&["127.0.0.2", "127.0.0.1", "127.0.0.3"], 60)).await;
    let (dialer, target) = (using(&dns), named("flood.test", server.port()));
    let end = Instant::now() + AMPLE;
    let pinned = dialer.pin(&target, end).await.expect("allowed");
    let (spent, asked) = (server.address.ip(), Mutex::new(Vec::new()));
    let may = |key| {
        asked.lock().expect("not poisoned").push(key);
        key != spent
    };
    assert_fail(&dialer.probe_if(&target, &pinned, end, &may).await.0, Reason::ConnectRefused);
    assert_eq!(server.connections(), 0);
    assert_eq!(*asked.lock().expect("not poisoned"), &pinned.addresses()[1..], "each once, when its turn comes");
}
