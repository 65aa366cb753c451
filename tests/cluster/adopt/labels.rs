//! Core Services that are adopted by a label, without a manifest of ours.

use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::{Stage, http, pod};
use crate::sync::replica::{Setup, until};

const A: &str = "a http://10.1.0.1:8080 healthy";

impl Stage {
    /// The objects of the namespace.
    async fn names(&self) -> Vec<String> {
        let all = self.objects.list(&ListParams::default()).await.expect("a list").items;
        all.into_iter().filter_map(|object| object.metadata.name).collect()
    }

    async fn until_names(&self, wanted: &[&str]) {
        until(&format!("the objects are {wanted:?}"), async || self.names().await == wanted).await;
    }
}

#[tokio::test]
async fn a_labelled_core_service_gets_an_object_and_loses_it_with_the_label() {
    let stage = Stage::new().await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true)]).await;
    let replica = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    stage.kubectl(&["label", "service", "web", "portolan.dev/adopt=true"]).await;
    stage.until_instances_of(&replica, "web", &[A]).await;
    let object = stage.objects.get("web").await.expect("it is there");
    assert_eq!(object.data["spec"]["from"], json!({ "service": "web", "port": 80 }));
    let owner = &object.metadata.owner_references.as_ref().expect("an owner")[0];
    assert_eq!((owner.kind.as_str(), owner.name.as_str(), owner.controller), ("Service", "web", Some(true)));

    // What somebody adds to it stays, and where it comes from does not change.
    let more = r#"{"spec":{"version":"2","metadata":{"team":"shop"}}}"#;
    stage.kubectl(&["patch", "psvc", "web", "--type=merge", "-p", more]).await;
    until("the version is there", async || {
        let entry = replica.entry(&stage.namespace, "web");
        entry.is_some_and(|entry| entry.service().instances[0].spec.version == "2")
    })
    .await;
    // So does a port that is added.
    let before = stage.objects.get("web").await.expect("it is there").metadata.uid;
    let both = json!([{ "name": "http", "port": 80 }, { "name": "admin", "port": 81 }]);
    stage.core_service("web", &json!({ "selector": { "app": "web" }, "ports": both })).await;
    stage.core_service("later", &json!({ "ports": [{ "port": 80 }] })).await;
    stage.kubectl(&["label", "service", "later", "portolan.dev/adopt=true"]).await;
    stage.until_names(&["later", "web"]).await;
    assert_eq!(stage.objects.get("web").await.expect("it stays").metadata.uid, before);
    stage.kubectl(&["delete", "service", "later"]).await;
    stage.until_names(&["web"]).await;
    // Deleted by hand, it comes back; without the label, it does not.
    let before = stage.objects.get("web").await.expect("it is there").metadata.uid;
    stage.kubectl(&["delete", "psvc", "web"]).await;
    until("it is there again", async || {
        stage.objects.get_opt("web").await.expect("an answer").is_some_and(|object| object.metadata.uid != before)
    })
    .await;
    stage.until_instances_of(&replica, "web", &[A]).await;
    stage.kubectl(&["label", "service", "web", "portolan.dev/adopt-"]).await;
    stage.until_names(&[]).await;
    replica.until_gone(&stage.namespace, "web").await;

    // A port by its name, another Service of the name, and none.
    let ports = json!([{ "name": "admin", "port": 81 }, { "name": "http", "port": 80 }]);
    stage.core_service("web", &json!({ "selector": { "app": "web" }, "ports": ports })).await;
    stage.kubectl(&["label", "service", "web", "portolan.dev/adopt=http"]).await;
    stage.until_instances_of(&replica, "web", &[A]).await;
    stage.kubectl(&["label", "service", "web", "portolan.dev/adopt=admin", "--overwrite"]).await;
    until("it is adopted from the other port", async || {
        let object = stage.objects.get_opt("web").await.expect("an answer");
        object.is_some_and(|object| object.data["spec"]["from"]["port"] == "admin")
    })
    .await;
    let before = stage.objects.get("web").await.expect("it is there").metadata.uid;
    stage.kubectl(&["delete", "service", "web"]).await;
    stage.until_names(&[]).await;
    stage.core_service("web", &json!({ "ports": [{ "name": "http", "port": 80 }] })).await;
    stage.kubectl(&["label", "service", "web", "portolan.dev/adopt=true"]).await;
    stage.until_instances_of(&replica, "web", &[A]).await;
    assert_ne!(stage.objects.get("web").await.expect("it is there").metadata.uid, before);
    replica.stop().await;
}

#[tokio::test]
async fn a_labelled_namespace_adopts_what_it_has_but_what_says_no() {
    let stage = Stage::new().await;
    for (name, spec) in [
        ("api", json!({ "selector": { "app": "api" }, "ports": [{ "port": 80 }] })),
        ("by-hand", json!({ "ports": [{ "port": 80 }] })),
        ("alias", json!({ "type": "ExternalName", "externalName": "example.com", "ports": [{ "port": 80 }] })),
        ("no", json!({ "selector": { "app": "no" }, "ports": [{ "port": 80 }] })),
        ("udp", json!({ "selector": { "app": "udp" }, "ports": [{ "port": 53, "protocol": "UDP" }] })),
    ] {
        stage.core_service(name, &spec).await;
    }
    stage.kubectl(&["label", "service", "no", "portolan.dev/adopt=false"]).await;
    let replica = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    let label = async |label: &str| {
        stage.plane.kubectl().run(&["label", "namespace", &stage.namespace, label]).await.expect("labelled");
    };
    label("portolan.dev/adopt=true").await;
    stage.until_names(&["api", "web"]).await;
    stage.kubectl(&["label", "service", "by-hand", "portolan.dev/adopt=true"]).await;
    stage.until_names(&["api", "by-hand", "web"]).await;
    stage.kubectl(&["label", "service", "api", "portolan.dev/adopt=false"]).await;
    stage.until_names(&["by-hand", "web"]).await;
    label("portolan.dev/adopt-").await;
    stage.until_names(&["by-hand"]).await;
    replica.stop().await;
}

#[tokio::test]
async fn an_object_of_that_name_stays_and_says_so_once() {
    let stage = Stage::new().await;
    let manifest = json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": { "name": "web", "namespace": stage.namespace },
        "spec": { "instances": [{ "name": "own", "baseUrl": "http://192.0.2.1", "check": { "none": {} } }] },
    });
    crate::sync::apply(stage.plane, &manifest).await;
    stage.kubectl(&["label", "service", "web", "portolan.dev/adopt=true"]).await;
    let replica = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    let events: Api<k8s_openapi::api::events::v1::Event> =
        Api::namespaced(stage.plane.client().await.expect("a client"), &stage.namespace);
    let taken = async || {
        let all = events.list(&ListParams::default()).await.expect("a list").items;
        all.into_iter().filter(|event| event.reason.as_deref() == Some("NameTaken")).count()
    };
    until("an event says so", async || taken().await == 1).await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true)]).await;
    stage.kubectl(&["label", "service", "web", "other=label"]).await;
    stage.until_instances_of(&replica, "web", &["own http://192.0.2.1 unknown"]).await;
    let kept: Value = stage.objects.get("web").await.expect("it stays").data["spec"]["instances"].take();
    assert_eq!(kept.as_array().map(Vec::len), Some(1));
    // With the manifest gone, the label has its way.
    stage.kubectl(&["delete", "psvc", "web"]).await;
    stage.until_instances_of(&replica, "web", &[A]).await;
    assert_eq!(taken().await, 1);
    replica.stop().await;
}

#[tokio::test]
async fn only_the_leader_keeps_objects_and_only_where_it_watches() {
    let (stage, elsewhere) = (Stage::new().await, Stage::new().await);
    for stage in [&stage, &elsewhere] {
        stage.kubectl(&["label", "service", "web", "portolan.dev/adopt=true"]).await;
    }
    let follower = Setup::of(&stage.namespace).adopts().follows().start(stage.plane.admin()).await;
    follower.until_complete().await;
    assert_eq!(stage.names().await, [""; 0]);
    let leader = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    stage.until_names(&["web"]).await;
    assert_eq!(elsewhere.names().await, [""; 0]);
    leader.stop().await;
    follower.stop().await;
}
