//! Host names.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::ResponseCode;
use portolan::prober::ResolverSettings;

use super::dns::{Dns, Reply};
use super::{Stage, instance};
use crate::sync::backend::Backend;
use crate::sync::replica::Setup;

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
    crate::sync::replica::until("the status says why", async || {
        stage.published().await.2.contains("a (its name does not resolve)")
    })
    .await;
    moment.store(0, Ordering::SeqCst);
    stage.until_endpoints(&["192.0.2.1:5432 ready serving", "2001:db8::1:5432 ready serving"]).await;
    replica.stop().await;
}
