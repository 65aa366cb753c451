//! A real DNS server answers with what is published.

use std::net::SocketAddr;
use std::time::Duration;

use control_plane::CoreDns;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use serde_json::json;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{Stage, instance};
use crate::sync::backend::Backend;
use crate::sync::replica::{Setup, until};

/// The answers of that type, in order; none if the server does not answer.
async fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Option<Vec<String>> {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.expect("a socket");
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    socket.send_to(&message.to_vec().expect("encodes"), server).await.expect("sent");
    let mut buffer = [0; 4096];
    let length = timeout(Duration::from_secs(1), socket.recv(&mut buffer)).await.ok()?.ok()?;
    let answer = Message::from_vec(&buffer[..length]).expect("a DNS message");
    let of_kind = answer.answers.iter().filter(|record| record.data.record_type() == kind);
    let mut texts: Vec<String> = of_kind
        .map(|record| match &record.data {
            RData::SRV(srv) => format!("{}:{}", srv.target, srv.port),
            data => data.to_string(),
        })
        .collect();
    texts.sort();
    Some(texts)
}

#[tokio::test]
async fn dns_answers_with_the_healthy_instances_only() {
    let stage = Stage::new().await;
    let (plane, namespace) = (stage.plane, stage.namespace.as_str());
    // For a headless Service, DNS gives the endpoints' addresses.
    plane.kubectl().run(&["delete", "service", "db", "-n", namespace]).await.expect("deleted");
    stage.core_service(&json!({ "clusterIP": "None", "ports": [{ "name": "sql", "port": 5432 }] })).await;
    let replica = Setup::of(namespace).publishes(&[]).start(plane.admin()).await;
    let (mut one, two, six) = (Backend::start(), Backend::start(), Backend::start());
    let mut orders = stage.manifest(&[
        instance("a", "192.0.2.1:5432", &one),
        instance("b", "192.0.2.2:6432", &two),
        instance("c", "[2001:db8::3]:5432", &six),
    ]);
    stage.apply(&orders).await;
    let dns = CoreDns::start(plane, namespace).await.expect("it starts");
    let zone = format!("db.{namespace}.svc.cluster.test.");
    let answers = async |name: &str, kind: RecordType, wanted: &[&str]| {
        until(&format!("DNS gives {wanted:?} for {name}"), async || {
            ask(dns.address(), name, kind).await.is_some_and(|answers| answers == wanted)
        })
        .await;
    };
    answers(&zone, RecordType::A, &["192.0.2.1", "192.0.2.2"]).await;
    answers(&zone, RecordType::AAAA, &["2001:db8::3"]).await;
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("{name}.{zone}"));
    let ports = [format!("{a}:5432"), format!("{b}:6432"), format!("{c}:5432")];
    let srv = format!("_sql._tcp.{zone}");
    answers(&srv, RecordType::SRV, &ports.each_ref().map(String::as_str)).await;
    answers(&b, RecordType::A, &["192.0.2.2"]).await;

    one.down().await;
    answers(&zone, RecordType::A, &["192.0.2.2"]).await;
    answers(&srv, RecordType::SRV, &[&ports[1], &ports[2]]).await;
    orders["spec"]["instances"][1]["drain"] = json!({ "reason": "new disks" });
    stage.apply(&orders).await;
    answers(&zone, RecordType::A, &[]).await;
    answers(&zone, RecordType::AAAA, &["2001:db8::3"]).await;
    one.up();
    answers(&zone, RecordType::A, &["192.0.2.1"]).await;
    println!(
        "interop: CoreDNS | A, AAAA and SRV records of a core Service whose endpoints Portolan publishes | the healthy instances, each with \
            its own port; \
         none that failed or is drained"
    );
    replica.stop().await;
}
