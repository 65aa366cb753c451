//! A thousand unchanged services.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, stream};
use kube::api::{DynamicObject, ListParams, PostParams};
use serde_json::json;

use super::Cluster;
use crate::sync::backend::Backend;
use crate::sync::manifest;
use crate::sync::replica::until;

const SERVICES: usize = 1000;

async fn fill(cluster: &Cluster<'_>, backend: &Backend) {
    let create = |n: usize| async move {
        let mut service = manifest(&cluster.namespace, &format!("cart-{n}"), &[backend.url()]);
        service["spec"]["check"]["intervalSeconds"] = json!(10);
        let object: DynamicObject = serde_json::from_value(service).expect("an object");
        cluster.objects.create(&PostParams::default(), &object).await.expect("created");
    };
    stream::iter((0..SERVICES).map(create)).buffer_unordered(16).collect::<()>().await;
}

#[tokio::test]
async fn for_a_minute_nothing_is_written_and_nothing_listed() {
    let cluster = Cluster::shared().await;
    let backend = Backend::start();
    let (one, two) = cluster.two().await;
    fill(&cluster, &backend).await;
    until("all are healthy", async || {
        let all = cluster.objects.list(&ListParams::default()).await.expect("a list");
        all.items.len() == SERVICES && all.iter().all(|object| object.data["status"]["state"] == "Healthy")
    })
    .await;
    for replica in [&one, &two] {
        until("every replica has them", async || replica.names().await.len() == SERVICES).await;
    }
    // The events of the first verdicts are written by now.
    let mut audit = cluster.plane.audit().expect("an audit log");
    until("all events are written", async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
        audit
            .requests()
            .await
            .expect("requests")
            .iter()
            .all(|request| !request.resource.starts_with("events") || request.user != cluster.user())
    })
    .await;

    tokio::time::sleep(Duration::from_mins(1)).await;
    let mut asked: BTreeMap<(String, String), usize> = BTreeMap::new();
    for request in
        audit.requests().await.expect("requests").into_iter().filter(|request| request.user == cluster.user())
    {
        *asked.entry((request.verb, request.resource)).or_default() += 1;
    }
    let services = |verb: &str| asked.get(&(verb.to_owned(), "services.portolan.dev".to_owned())).copied().unwrap_or(0);
    let replicas = ("watch".to_owned(), "endpointslices.discovery.k8s.io".to_owned());
    let replicas = asked.get(&replicas).copied().unwrap_or(0);
    let elections = asked
        .iter()
        .filter(|((_, resource), _)| resource == "leases.coordination.k8s.io")
        .map(|(_, n)| n)
        .sum::<usize>();
    let all: usize = asked.values().sum();
    assert!(services("watch") <= 4 && replicas <= 2 && elections <= 100, "{asked:?}");
    assert_eq!(all, services("watch") + replicas + elections, "nothing else: {asked:?}");
    assert!(elections >= 40, "both are there: {asked:?}");
    one.stop().await;
    two.stop().await;
}
