//! The leader dies, or freezes and wakes.

use std::time::{Duration, Instant};

use super::Cluster;
use super::reads::Reads;
use super::statuses::Statuses;
use crate::sync::backend::Backend;
use crate::sync::replica::until;

/// After this time, nothing outdated is on its way any more.
const STALE: Duration = Duration::from_secs(2);
/// More than two rounds of probes.
const ROUNDS: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_leader_that_is_killed_is_replaced_and_no_state_is_lost() {
    let cluster = Cluster::shared().await;
    let (mut up, mut down) = (Backend::start(), Backend::start());
    down.down().await;
    let (one, two) = cluster.two().await;
    for n in 0..20 {
        cluster.apply(&format!("cart-{n}"), &[up.url(), down.url()]).await;
    }
    for n in 0..20 {
        let name = format!("cart-{n}");
        cluster.until_state(&name, "Degraded").await;
        until("both know it", async || two.service(&name).await["instances"][1]["status"] == "unhealthy").await;
    }
    let reads = Reads::of(&two, "cart-7", |service| {
        (&service["instances"][0]["status"], &service["instances"][1]["status"])
            == (&"healthy".into(), &"unhealthy".into())
    });
    // What was on its way has arrived.
    tokio::time::sleep(ROUNDS).await;
    let (said, mut audit) = (Statuses::from_now(&cluster).await, cluster.plane.audit().expect("an audit log"));
    one.kill();
    cluster.until_leads("two").await;
    tokio::time::sleep(ROUNDS).await;
    reads.end().await;
    let words = said.words();
    assert!(words.is_empty(), "nothing changed, but there are events: {words:?}");
    let mut asked = audit.requests().await.expect("requests");
    asked.retain(|r| r.user == cluster.user() && r.resource != "leases.coordination.k8s.io" && r.verb != "watch");
    assert_eq!(asked, [], "nothing is asked for or written");

    up.down().await;
    cluster.until_state("cart-7", "Down").await;
    assert!(said.words().iter().all(|word| !word.is_unknown()));
    two.stop().await;
}

#[tokio::test]
async fn a_leader_that_freezes_and_wakes_leaves_nothing_out_of_date() {
    let cluster = Cluster::shared().await;
    let mut backend = Backend::start();
    let (mut one, mut two) = cluster.two().await;
    cluster.apply("cart", &[backend.url()]).await;
    cluster.until_state("cart", "Healthy").await;
    until("the follower knows it", async || two.service("cart").await["status"] == "healthy").await;
    let reads = Reads::of(&two, "cart", |service| service["status"] != "unknown");

    // It freezes between a failed probe and its status.
    backend.down().await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    one.pause();
    backend.up();
    cluster.until_leads("two").await;
    cluster.until_state("cart", "Healthy").await;
    backend.down().await;
    cluster.until_state("cart", "Down").await;

    let said = Statuses::from_now(&cluster).await;
    one.resume();
    until("it takes the other's word", async || one.service("cart").await["status"] == "unhealthy").await;
    let followed = Instant::now();
    tokio::time::sleep(STALE * 2).await;
    assert_eq!(cluster.state("cart").await, "Down");
    let late = |at: Instant| at.saturating_duration_since(followed) > STALE;
    let wrong: Vec<_> =
        said.words().into_iter().filter(|word| word.status["state"] != "Down" && late(word.at)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(cluster.leader().await, "two");
    assert!(one.runs() && two.runs());
    reads.end().await;

    backend.up();
    cluster.until_state("cart", "Healthy").await;
    until("both say so", async || one.service("cart").await == two.service("cart").await).await;
}
