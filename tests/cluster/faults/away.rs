//! The API server hangs, crashes and comes back.

use std::time::Duration;

use control_plane::{ControlPlane, Options};

use super::Cluster;
use super::reads::Reads;
use super::replica::Replica;
use crate::sync::backend::Backend;
use crate::sync::replica::until;

async fn until_says(replica: &Replica, service: &str, status: &str) {
    until(&format!("{} says {status} of {service}", replica.name), async || {
        replica.service(service).await["status"] == status
    })
    .await;
}

#[tokio::test]
async fn replicas_serve_on_while_the_api_server_hangs_and_catch_up_when_it_is_back() {
    let mut plane = ControlPlane::start_with(Options::default()).await.expect("a control plane");
    let cluster = Cluster::of(&plane).await;
    let (mut first, mut second) = (Backend::start(), Backend::start());
    let (mut one, mut two) = cluster.two().await;
    cluster.apply("cart", &[first.url()]).await;
    cluster.apply("shop", &[second.url()]).await;
    for name in ["cart", "shop"] {
        cluster.until_state(name, "Healthy").await;
        until_says(&two, name, "healthy").await;
    }
    let proved = |service: &serde_json::Value| service["status"] != "unknown";
    let reads = [Reads::of(&one, "cart", proved), Reads::of(&two, "cart", proved)];

    plane.pause().expect("stopped");
    let back = tokio::time::sleep(Duration::from_secs(30));
    first.down().await;
    until_says(&one, "cart", "unhealthy").await;
    for replica in [&one, &two] {
        until("it says how old its mirror is", async || replica.get("/api/v1/services").await.1.is_some()).await;
        assert!(replica.is_ready().await, "reads go on");
        assert_eq!(replica.register("mail", "http://10.0.0.9:25").await, 503);
    }
    back.await;
    assert!(one.is_ready().await && two.is_ready().await);
    plane.resume().expect("continued");
    cluster.until_state("cart", "Down").await;
    until_says(&two, "cart", "unhealthy").await;

    // Another process with the same data.
    let Cluster { namespace, account, folder, objects, .. } = cluster;
    plane.kill().expect("killed");
    second.down().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    plane.restart().await.expect("restarted");
    let cluster = Cluster { plane: &plane, namespace, account, folder, objects };
    cluster.until_state("shop", "Down").await;
    first.up();
    cluster.until_state("cart", "Healthy").await;
    for replica in [&one, &two] {
        until_says(replica, "cart", "healthy").await;
        until_says(replica, "shop", "unhealthy").await;
        until("its mirror is current", async || replica.get("/api/v1/services").await.1.is_none()).await;
        assert_eq!(replica.register("mail", "http://10.0.0.9:25").await, 200);
    }
    for reads in reads {
        reads.end().await;
    }
    assert!(one.runs() && two.runs());
}
