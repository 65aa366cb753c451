//! A start while the API server is away.

use futures::future::join_all;
use reqwest::StatusCode;

use super::Cluster;
use crate::sync::backend::Backend;
use crate::sync::replica::until;

#[tokio::test]
async fn without_the_api_server_the_mirror_is_served_and_what_was_missed_is_found_later() {
    let cluster = Cluster::shared().await;
    let proxy = cluster.plane.proxy().await.expect("a proxy");
    let through = cluster.account.through(proxy.address()).expect("a kubeconfig");
    let backend = Backend::start();
    let replica = cluster.start_as("one", &through).await;
    for name in ["stays", "goes"] {
        cluster.apply(name, &[backend.url()]).await;
        cluster.until_state(name, "Healthy").await;
    }
    until("both are proved", async || replica.service("goes").await["status"] == "healthy").await;
    let before = replica.service("stays").await;
    replica.stop().await;

    cluster.delete("goes").await;
    cluster.apply("new", &[backend.url()]).await;
    proxy.refuse();
    let mut again = cluster.start_as("one", &through).await;
    let mut empty = cluster.start_as("empty", &through).await;
    again.until_ready().await;
    let (status, stale, _) = again.get(&again.target("stays")).await;
    assert_eq!((status.as_u16(), stale.is_some()), (200, true), "it says how old that is");
    let found = again.service("stays").await;
    assert_eq!((&found["id"], &found["status"]), (&before["id"], &before["status"]));
    assert!(!again.service("goes").await.is_null() && again.service("new").await.is_null(), "as last known");
    // Each tries again and again for seconds, at random times.
    let names: [_; 16] = std::array::from_fn(|n| format!("mail-{n}"));
    let answers = join_all(names.iter().map(|name| again.register(name, "http://10.0.0.9:25"))).await;
    assert_eq!(answers, [StatusCode::SERVICE_UNAVAILABLE; 16]);
    assert!(!empty.is_ready().await, "what has no mirror knows nothing");
    let (status, _, answer) = empty.get(&empty.target("stays")).await;
    assert_eq!(status, 503, "{answer}");

    proxy.pass();
    for replica in [&again, &empty] {
        replica.until_ready().await;
        until("what was deleted is gone", async || replica.service("goes").await.is_null()).await;
        until("what is new is there", async || replica.service("new").await["status"] == "healthy").await;
        until("the mirror is current", async || replica.get(&replica.target("stays")).await.1.is_none()).await;
        assert_eq!(replica.service("stays").await["id"], before["id"]);
    }
    assert!(again.runs() && empty.runs());
    again.stop().await;
    empty.stop().await;
}
