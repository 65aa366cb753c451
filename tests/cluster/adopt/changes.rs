//! Endpoints come, change and go.

use portolan::model::name::InstanceName;
use portolan::model::outcome::Health;
use portolan::model::ports::Role;
use serde_json::json;

use super::{Stage, http, leaving, pod};
use crate::sync::replica::{Setup, until};

const A: &str = "a http://10.1.0.1:8080 healthy";
const B: &str = "b http://10.1.0.2:8080 healthy";
const B_DOWN: &str = "b http://10.1.0.2:8080 unhealthy";

#[tokio::test]
async fn endpoints_become_instances_with_the_readiness_that_kubernetes_reports() {
    let stage = Stage::new().await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true), pod("b", "10.1.0.2", false)]).await;
    let replica = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    stage.apply(json!({ "version": "1.4.2", "from": { "service": "web" } })).await;
    stage.until_instances(&replica, &[A, B_DOWN]).await;
    stage.until_columns(["1/2", "Degraded", "NotReady"]).await;
    let message = stage.until_adopted("True Adopted").await;
    assert_eq!(message, "the endpoints of the core Service web are instances");
    let entry = replica.entry(&stage.namespace, "shop").expect("it is there");
    let a = entry.service().instance("a").expect("it is there");
    assert_eq!((a.spec.version.as_str(), a.spec.zone.as_str(), a.decided_by.as_str()), ("1.4.2", "eu-1a", "readiness"));

    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true), pod("b", "10.1.0.2", true)]).await;
    stage.until_instances(&replica, &[A, B]).await;
    stage.until_columns(["2/2", "Healthy", ""]).await;

    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true), leaving("b", "10.1.0.2", true)]).await;
    stage.until_instances(&replica, &[A, "b http://10.1.0.2:8080 healthy drained"]).await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true)]).await;
    stage.until_instances(&replica, &[A]).await;
    stage.until_columns(["1/1", "Healthy", ""]).await;
    replica.stop().await;
}

#[tokio::test]
async fn slices_and_their_core_service_come_and_go() {
    let stage = Stage::new().await;
    let replica = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    stage.apply(json!({ "from": { "service": "web" } })).await;
    stage.until_adopted("True NoEndpoints").await;
    stage.until_columns(["0/0", "Down", "NoEndpoints"]).await;
    assert_eq!(stage.condition("shop", "Accepted").await.0, "True Accepted");
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true)]).await;
    stage.until_instances(&replica, &[A]).await;
    stage.slice("web-2", &http(8080), &[pod("b", "10.1.0.2", true)]).await;
    stage.until_instances(&replica, &[A, B]).await;
    stage.delete_slice("web-2").await;
    stage.until_instances(&replica, &[A]).await;
    stage.delete_slice("web-1").await;
    stage.until_instances(&replica, &[]).await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true)]).await;
    stage.until_instances(&replica, &[A]).await;

    stage.kubectl(&["delete", "service", "web"]).await;
    let message = stage.until_adopted("False ServiceNotFound").await;
    assert_eq!(message, "there is no core Service web in this namespace; create it");
    stage.until_columns(["0/0", "Down", "ServiceNotFound"]).await;
    stage.until_instances(&replica, &[]).await;
    // Nothing about the slices or the object changes.
    stage.core_service("web", &json!({ "ports": [{ "name": "http", "port": 80 }] })).await;
    stage.until_instances(&replica, &[A]).await;
    stage.until_adopted("True Adopted").await;

    stage.kubectl(&["delete", "psvc", "shop"]).await;
    replica.until_gone(&stage.namespace, "shop").await;
    stage.slice("web-1", &http(8081), &[pod("a", "10.1.0.1", true)]).await;
    stage.apply(json!({ "from": { "service": "web" } })).await;
    stage.until_instances(&replica, &["a http://10.1.0.1:8081 healthy"]).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_port_that_gets_another_name_and_a_core_service_that_is_created_again_lose_no_endpoint() {
    let stage = Stage::new().await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true)]).await;
    let replica = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    stage.apply(json!({ "from": { "service": "web" } })).await;
    stage.until_instances(&replica, &[A]).await;
    let (_, mut feed) = replica.catalog.subscribe();
    let named = |name: &str| json!({ "selector": { "app": "web" }, "ports": [{ "name": name, "port": 80 }] });
    let ports = |name: &str| json!([{ "name": name, "port": 8080 }]);
    // The core Service first, then the slices first. Each time, the last write shows that everything was taken in.
    stage.core_service("web", &named("http-new")).await;
    stage.slice("web-1", &ports("http-new"), &[pod("a", "10.1.0.1", true), pod("b", "10.1.0.2", true)]).await;
    stage.until_instances(&replica, &[A, B]).await;
    stage.slice("web-1", &ports("http"), &[pod("a", "10.1.0.1", true), pod("b", "10.1.0.2", false)]).await;
    stage.until_instances(&replica, &[A, B_DOWN]).await;
    stage.core_service("web", &named("http")).await;

    stage.kubectl(&["delete", "service", "web"]).await;
    stage.delete_slice("web-1").await;
    stage.core_service("web", &named("http")).await;
    stage.slice("web-2", &http(8080), &[pod("a", "10.1.0.1", true)]).await;
    stage.until_instances(&replica, &[A]).await;
    stage.until_adopted("True Adopted").await;
    let id = replica.entry(&stage.namespace, "shop").expect("it is there").service().id;
    let last = replica.entry(&stage.namespace, "shop").expect("it is there").service().revision;
    let mut seen = 0;
    while seen < last {
        let batch = feed.next().await.expect("the store is there");
        assert!(!batch.removed.iter().any(|(key, _)| key.name() == "shop"), "it was empty for a moment");
        seen = batch
            .upserts
            .iter()
            .map(|entry| entry.service())
            .filter(|of| of.id == id)
            .map(|of| of.revision)
            .max()
            .unwrap_or(seen);
    }
    replica.stop().await;
}

#[tokio::test]
async fn every_replica_sees_the_slices_and_all_agree_on_since_when() {
    let stage = Stage::new().await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true), pod("b", "10.1.0.2", true)]).await;
    let leader = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    let follower = Setup::of(&stage.namespace).adopts().follows().start(stage.plane.admin()).await;
    stage.apply(json!({ "from": { "service": "web" } })).await;
    stage.until_columns(["2/2", "Healthy", ""]).await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true), pod("b", "10.1.0.2", false)]).await;
    stage.until_columns(["1/2", "Degraded", "NotReady"]).await;
    let of = |replica: &crate::sync::replica::Replica| {
        let entry = replica.entry(&stage.namespace, "shop");
        entry.map(|entry| {
            (
                entry.service().revision,
                entry.service().instances.iter().map(|i| (i.health, i.since)).collect::<Vec<_>>(),
            )
        })
    };
    until("both show the same", async || of(&leader) == of(&follower)).await;
    let before = of(&leader).expect("it is there").1;
    assert_eq!(before[1].0, Health::Unhealthy);

    // Without a leader, the other still sees that the pod is ready again.
    leader.role.set(Role::Follows);
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true), pod("b", "10.1.0.2", true)]).await;
    stage.until_instances(&follower, &[A, B]).await;
    follower.role.set(Role::Leads);
    stage.until_columns(["2/2", "Healthy", ""]).await;
    let since = of(&follower).expect("it is there").1;
    assert_eq!(since[0], before[0], "nothing happened to this one");

    // A restart from the file, and one without it.
    let folder = follower.stop().await;
    for setup in [Setup::of(&stage.namespace).in_folder(folder), Setup::of(&stage.namespace)] {
        let restarted = setup.adopts().start(stage.plane.admin()).await;
        stage.until_instances(&restarted, &[A, B]).await;
        assert_eq!(of(&restarted).expect("it is there").1, since);
        restarted.stop().await;
    }
    leader.stop().await;
}

#[tokio::test]
async fn what_changed_while_no_replica_ran_is_seen_at_the_start() {
    let stage = Stage::new().await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true)]).await;
    stage.slice("web-2", &http(8080), &[pod("b", "10.1.0.2", true)]).await;
    let first = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    stage.apply(json!({ "from": { "service": "web" } })).await;
    stage.until_instances(&first, &[A, B]).await;
    stage.until_columns(["2/2", "Healthy", ""]).await;
    let before = first.entry(&stage.namespace, "shop").expect("it is there").service().revision;
    let folder = first.stop().await;
    stage.delete_slice("web-2").await;
    let second = Setup::of(&stage.namespace).adopts().in_folder(folder).start(stage.plane.admin()).await;
    stage.until_instances(&second, &[A]).await;
    let after = second.entry(&stage.namespace, "shop").expect("it is there").service().revision;
    assert!(after > before, "readers who know {before} must notice the change: {after}");
    second.stop().await;
}

#[tokio::test]
async fn a_change_of_one_slice_is_one_change_and_nothing_is_listed_again() {
    let stage = Stage::new().await;
    stage.core_service("other", &json!({ "ports": [{ "name": "http", "port": 80 }] })).await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true)]).await;
    stage.slice_of("other", "IPv4", "other-1", &http(8080), &[pod("x", "10.1.0.9", true)]).await;
    let replica = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    stage.apply(json!({ "from": { "service": "web" } })).await;
    stage.until_columns(["1/1", "Healthy", ""]).await;
    // The status was written last, so its revision is the service's.
    let until_reported = async || {
        until("the status is taken in", async || {
            let object = stage.objects.get("shop").await.expect("it is there");
            let entry = replica.entry(&stage.namespace, "shop").expect("it is there");
            object.metadata.resource_version == Some(entry.service().revision.to_string())
        })
        .await;
        replica.entry(&stage.namespace, "shop").expect("it is there").service().clone()
    };
    let before = until_reported().await;
    let (_, mut feed) = replica.catalog.subscribe();
    // Another's slice changes nothing here.
    stage.slice_of("other", "IPv4", "other-1", &http(8080), &[pod("x", "10.1.0.9", false)]).await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true), pod("b", "10.1.0.2", true)]).await;
    stage.until_columns(["2/2", "Healthy", ""]).await;
    let after = until_reported().await;
    assert_eq!(after.instances.len(), 2);
    let mut changes = Vec::new();
    while changes.last() != Some(&after.revision) {
        let batch = feed.next().await.expect("the store is there");
        changes.extend(batch.upserts.iter().map(|entry| entry.service().revision));
    }
    assert_eq!(changes.len(), 2, "the endpoint, and the status that reports it: {changes:?}");
    assert_eq!(after.instances[0], before.instances[0], "the other instance stays as it was");
    let name: InstanceName = "b".parse().expect("a name");
    assert_eq!(after.instances[1].name, name);
    replica.stop().await;
}

#[tokio::test]
async fn endpoints_that_change_while_their_namespace_is_not_watched_count_once_it_is_watched_again() {
    let stage = Stage::new().await;
    let label = async |label: &str| {
        let args = ["label", "--overwrite", "namespace", &stage.namespace, label];
        stage.plane.kubectl().run(&args).await.expect("labelled");
    };
    let watched = format!("adopt-watched={}", stage.namespace);
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true)]).await;
    stage.apply(json!({ "from": { "service": "web" } })).await;
    let replica = Setup::of(&stage.namespace).adopts().selects(&watched).start(stage.plane.admin()).await;
    replica.until_complete().await;
    assert!(replica.entry(&stage.namespace, "shop").is_none());
    label(&watched).await;
    stage.until_instances(&replica, &[A]).await;
    label("adopt-watched-").await;
    replica.until_gone(&stage.namespace, "shop").await;
    stage.slice("web-1", &http(8080), &[pod("b", "10.1.0.2", true)]).await;
    label(&watched).await;
    stage.until_instances(&replica, &[B]).await;
    replica.stop().await;
}
