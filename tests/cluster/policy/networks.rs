//! Networks: what is forbidden never gets a connection.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hickory_proto::op::ResponseCode;
use portolan::prober::ResolverSettings;
use serde_json::json;

use super::Stage;
use super::listener::Listener;
use crate::publish::dns::{Dns, Reply};
use crate::sync::replica::{Setup, until};

const ALLOWED: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

#[tokio::test]
async fn a_forbidden_address_never_gets_a_connection() {
    let stage = Stage::new().await;
    let (own, other) = (Listener::at(ALLOWED).await, Listener::at(OTHER).await);
    stage.policy("p", json!({ "networks": { "allow": ["127.0.0.1/32"] } })).await;
    let replica = Setup::of(&stage.namespace).follows_policies().start(stage.plane.admin()).await;
    stage
        .apply(json!({ "instances": [
            { "name": "own", "baseUrl": own.url() },
            { "name": "other", "baseUrl": other.url() },
            { "name": "by-health", "baseUrl": own.url(), "healthUrl": other.url() },
            { "name": "unchecked", "baseUrl": other.url(), "check": { "none": {} } },
        ] }))
        .await;
    for instance in ["other", "by-health", "unchecked"] {
        let message = stage.until_reason(instance, "AddressDenied").await;
        assert!(
            message.contains("127.0.0.2 is in none of the networks") && message.contains(&stage.named("p")),
            "{message}"
        );
    }
    stage.until_reason("own", "Passed").await;
    stage.until("Accepted", "False PartiallyInvalid").await;
    let served = || {
        let entry = replica.entry(&stage.namespace, "shop").expect("it is there");
        entry.service().instances.iter().map(|one| one.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(served(), ["by-health", "other", "own"], "nothing else would keep clients from the unchecked one");
    own.until_more(3).await;
    assert_eq!(other.count(), 0, "no connection was opened");

    // The listener does count.
    stage.delete_policy("p").await;
    stage.until_reason("other", "Passed").await;
    until("all are served", async || served().len() == 4).await;
    assert!(other.count() > 0);
    stage.policy("p", json!({ "networks": { "deny": ["127.0.0.2/31"] } })).await;
    stage.until_reason("other", "AddressDenied").await;
    stage.until_reason("by-health", "AddressDenied").await;
    let before = other.count();
    own.until_more(3).await;
    assert_eq!(other.count(), before);
    replica.stop().await;
}

#[tokio::test]
async fn a_name_that_moves_to_a_forbidden_address_leads_nowhere() {
    let stage = Stage::new().await;
    let [own, other] = Listener::on_one_port([ALLOWED, OTHER]).await;
    let moved = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&moved);
    let dns = Dns::start(move |name, _, _| match (name, now.load(Ordering::SeqCst)) {
        ("db.corp.test", false) => Reply::addresses(&["127.0.0.1"], 0),
        ("db.corp.test", true) => Reply::addresses(&["127.0.0.2"], 0),
        _ => Reply::Code(ResponseCode::NXDomain),
    })
    .await;
    stage.policy("p", json!({ "networks": { "allow": ["127.0.0.1/32"] } })).await;
    let setup = Setup { resolver: ResolverSettings::Servers(vec![dns.address]), ..Setup::of(&stage.namespace) };
    let replica = setup.follows_policies().start(stage.plane.admin()).await;
    let url = format!("http://db.corp.test:{}", own.port());
    stage.apply(json!({ "instances": [{ "name": "a", "baseUrl": url }] })).await;
    stage.until_reason("a", "Passed").await;
    moved.store(true, Ordering::SeqCst);
    let message = stage.until_reason("a", "AddressDenied").await;
    assert!(message.contains("db.corp.test resolves to an address that is denied: 127.0.0.2"), "{message}");
    assert_eq!(stage.condition("Accepted").await.0, "True Accepted", "the name itself is not refused");
    assert_eq!(other.count(), 0);
    moved.store(false, Ordering::SeqCst);
    stage.until_reason("a", "Passed").await;
    replica.stop().await;
}

#[tokio::test]
async fn a_policy_never_widens_what_the_server_forbids() {
    let stage = Stage::new().await;
    stage.policy("p", json!({ "networks": { "allow": ["0.0.0.0/0", "::/0"] } })).await;
    let replica = Setup::of(&stage.namespace).follows_policies().start(stage.plane.admin()).await;
    stage.apply(json!({ "instances": [{ "name": "a", "baseUrl": "http://169.254.169.254" }] })).await;
    let message = stage.until_reason("a", "AddressDenied").await;
    assert!(message.contains("link-local"), "{message}");
    replica.stop().await;
}
