//! Host names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hickory_proto::op::ResponseCode;
use portolan::prober::ResolverSettings;
use serde_json::json;

use super::dns::{Dns, Reply};
use super::{Stage, instance};
use crate::sync::backend::Backend;
use crate::sync::replica::{Setup, until};

#[tokio::test]
async fn a_host_name_is_resolved_again_and_again() {
    let stage = Stage::new().await;
    let moment = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&moment);
    let dns = Dns::start(move |name, _, _| match (name, now.load(Ordering::SeqCst)) {
        ("db.corp.test", 0) => Reply::addresses(&["192.0.2.1", "2001:db8::1"], 1),
        ("db.corp.test", 1) => Reply::addresses(&["192.0.2.2"], 1),
        ("db.corp.test", 2) => Reply::addresses(&["192.0.2.2", "127.0.0.1"], 1),
        _ => Reply::Code(ResponseCode::NXDomain),
    })
    .await;
    let setup = Setup { resolver: ResolverSettings::Servers(vec![dns.address]), ..Setup::of(&stage.namespace) };
    let replica = setup.publishes(&[]).start(stage.plane.admin()).await;
    let backend = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "db.corp.test:5432", &backend)])).await;
    stage.until_endpoints(&["192.0.2.1:5432 ready serving", "2001:db8::1:5432 ready serving"]).await;
    moment.store(1, Ordering::SeqCst);
    stage.until_endpoints(&["192.0.2.2:5432 ready serving"]).await;
    moment.store(2, Ordering::SeqCst);
    stage.until_published("False", "NothingToPublish").await;
    stage.until_endpoints(&[]).await;
    let message = stage.published().await.2;
    assert!(message.contains("a (127.0.0.1 is loopback)"), "one address that is refused refuses the name: {message}");
    moment.store(3, Ordering::SeqCst);
    until("the status says why", async || stage.published().await.2.contains("a (its name does not resolve)")).await;
    moment.store(0, Ordering::SeqCst);
    stage.until_endpoints(&["192.0.2.1:5432 ready serving", "2001:db8::1:5432 ready serving"]).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_new_address_is_ready_once_a_probe_has_passed() {
    let stage = Stage::new().await;
    let moved = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&moved);
    let dns = Dns::start(move |_, _, _| {
        Reply::addresses(&[if now.load(Ordering::SeqCst) { "192.0.2.2" } else { "192.0.2.1" }], 1)
    })
    .await;
    let setup = Setup { resolver: ResolverSettings::Servers(vec![dns.address]), ..Setup::of(&stage.namespace) };
    let replica = setup.publishes(&[]).start(stage.plane.admin()).await;
    let mut backend = Backend::start();
    let mut orders = stage.manifest(&[instance("a", "db.corp.test:5432", &backend)]);
    // After its first probe, health stays as it is for the length of this test.
    orders["spec"]["check"]["intervalSeconds"] = json!(3600);
    stage.apply(&orders).await;
    stage.until_endpoints(&["192.0.2.1:5432 ready serving"]).await;
    backend.down().await;
    moved.store(true, Ordering::SeqCst);
    stage.until_endpoints(&["192.0.2.2:5432"]).await;
    backend.up();
    stage.until_endpoints(&["192.0.2.2:5432 ready serving"]).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_name_that_is_gone_for_a_moment_keeps_its_addresses() {
    let stage = Stage::new().await;
    let (gone, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (now, count) = (Arc::clone(&gone), Arc::clone(&asked));
    let dns = Dns::start(move |_, _, _| {
        if now.load(Ordering::SeqCst) {
            count.fetch_add(1, Ordering::SeqCst);
            Reply::Code(ResponseCode::NXDomain)
        } else {
            Reply::addresses(&["192.0.2.1"], 1)
        }
    })
    .await;
    let setup = Setup { resolver: ResolverSettings::Servers(vec![dns.address]), ..Setup::of(&stage.namespace) };
    let replica = setup.publishes(&[]).start(stage.plane.admin()).await;
    let backend = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "db.corp.test:5432", &backend)])).await;
    stage.until_endpoints(&["192.0.2.1:5432 ready serving"]).await;
    gone.store(true, Ordering::SeqCst);
    until("the name was looked up again, for both families", async || asked.load(Ordering::SeqCst) > 1).await;
    // With another instance, the publisher looks at the object.
    let b = instance("b", "192.0.2.9:5432", &backend);
    stage.apply(&stage.manifest(&[instance("a", "db.corp.test:5432", &backend), b])).await;
    stage.until_endpoints(&["192.0.2.1:5432 ready serving", "192.0.2.9:5432 ready serving"]).await;
    // It is gone for good.
    stage.until_endpoints(&["192.0.2.9:5432 ready serving"]).await;
    until("the status says why", async || stage.published().await.2.contains("a (its name does not resolve)")).await;
    replica.stop().await;
}
