//! Replicas are replaced one by one.

use std::time::Duration;

use super::Place;
use super::reads::Reads;
use super::statuses::Statuses;
use crate::sync::backend::Backend;
use crate::sync::replica::until;

#[tokio::test]
async fn a_rolling_upgrade_keeps_every_state_and_leads_on() {
    let place = Place::shared().await;
    let mut backend = Backend::start().await;
    let (one, two) = place.two().await;
    for name in ["cart", "shop"] {
        place.apply(name, &[backend.url()]).await;
        place.until_state(name, "Healthy").await;
    }
    let said = Statuses::from_now(&place).await;
    let three = place.start("three").await;
    three.until_ready().await;
    until("the new one knows it", async || three.service("cart").await["status"] == "healthy").await;
    let reads = Reads::of(&three, "cart", |service| service["status"] == "healthy");

    one.stop().await;
    assert_ne!(place.leader().await, "one", "a leader that leaves in order gives the Lease back");
    until("another leads", async || ["two", "three"].contains(&&*place.leader().await)).await;
    let four = place.start("four").await;
    four.until_ready().await;
    two.stop().await;
    until("a new one leads", async || ["three", "four"].contains(&&*place.leader().await)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    reads.end().await;
    let words = said.words();
    assert!(words.is_empty(), "nothing changed, but there are events: {words:?}");

    backend.down().await;
    for name in ["cart", "shop"] {
        place.until_state(name, "Down").await;
    }
    until("both say so", async || three.service("shop").await == four.service("shop").await).await;
    three.stop().await;
    four.stop().await;
}
