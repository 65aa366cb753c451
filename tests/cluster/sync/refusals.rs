//! A status that cannot be written delays no other.

use super::backend::Backend;
use super::replica::{Setup, until};
use super::{apply, manifest, objects, shared, until_condition};
use crate::publish::webhooks::Webhook;

#[tokio::test]
async fn a_status_that_a_webhook_holds_up_delays_no_other() {
    let ((plane, held), (_, free)) = (shared("held").await, shared("free").await);
    let mut backend = Backend::start();
    apply(plane, &manifest(&held, "cart", &[backend.url()])).await;
    let update = ("portolan.dev", "services/status", "UPDATE");
    let patch = ["patch", "psvc", "cart", "--subresource=status", "--type=merge", "-p", "{}"];
    let webhook = Webhook::start(plane, &held, update, (&patch, "")).await;
    let namespaces = [&held, &free].map(|namespace| namespace.parse().expect("a namespace")).to_vec();
    let replica = Setup { namespaces, ..Setup::of(&held) }.start(plane.admin()).await;
    let failed = |result: &str| replica.metric(&format!("portolan_status_writes_total{{result=\"{result}\"}}"));
    until("it is refused again", async || failed("refused") >= 2).await;
    let before = failed("refused");
    apply(plane, &manifest(&free, "cart", &[backend.url()])).await;
    let other = objects(plane, &free).await;
    until_condition(&other, "cart", "Ready", "True").await;
    backend.down().await;
    until_condition(&other, "cart", "Ready", "False").await;
    assert_eq!(failed("away"), 0, "nothing else waited");
    assert!(failed("refused") - before <= 10, "it is tried again only after pauses");
    backend.up();
    webhook.remove().await;
    until_condition(&objects(plane, &held).await, "cart", "Ready", "True").await;
    replica.stop().await;
}
