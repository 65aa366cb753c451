//! Replicas are replaced one by one.

use std::time::Duration;

use super::Cluster;
use super::reads::Reads;
use super::statuses::Statuses;
use crate::sync::backend::Backend;
use crate::sync::replica::until;

#[tokio::test]
async fn a_rolling_upgrade_keeps_every_state_and_leads_on() {
    let cluster = Cluster::shared().await;
    let mut backend = Backend::start();
    let (one, two) = cluster.two().await;
    for name in ["cart", "shop"] {
        cluster.apply(name, &[backend.url()]).await;
        cluster.until_state(name, "Healthy").await;
    }
    let said = Statuses::from_now(&cluster).await;
    let three = cluster.start("three").await;
    three.until_ready().await;
    until("the new one knows it", async || three.service("cart").await["status"] == "healthy").await;
    let reads = Reads::of(&three, "cart", |service| service["status"] == "healthy");

    one.stop().await;
    assert_ne!(cluster.leader().await, "one", "a leader that leaves in order gives the Lease back");
    until("another leads", async || ["two", "three"].contains(&&*cluster.leader().await)).await;
    let four = cluster.start("four").await;
    four.until_ready().await;
    two.stop().await;
    until("a new one leads", async || ["three", "four"].contains(&&*cluster.leader().await)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    reads.end().await;
    let words = said.words();
    assert!(words.is_empty(), "nothing changed, but there are events: {words:?}");

    backend.down().await;
    for name in ["cart", "shop"] {
        cluster.until_state(name, "Down").await;
    }
    until("both say so", async || three.service("shop").await == four.service("shop").await).await;
    three.stop().await;
    four.stop().await;
}
