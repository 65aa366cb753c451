//! Endpoints follow health, drains and the manifest.

use std::collections::BTreeMap;

use futures::StreamExt;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

use super::{Stage, instance};
use crate::sync::backend::Backend;
use crate::sync::replica::{AMPLE, Setup, until};

#[tokio::test]
async fn endpoints_follow_health_and_drains() {
    let stage = Stage::new().await;
    let replica = Setup::of(&stage.namespace).publishes(&[]).start(stage.plane.admin()).await;
    let (mut one, two) = (Backend::start(), Backend::start());
    let mut orders = stage.manifest(&[
        instance("a", "192.0.2.1:5432", &one),
        instance("b", "[2001:db8::2]:6432", &two),
        json!({ "name": "c", "baseUrl": "postgres://192.0.2.3:5432", "check": { "none": {} } }),
    ]);
    orders["spec"]["instances"][0]["zone"] = json!("eu-1a");
    stage.apply(&orders).await;
    let unproved = "192.0.2.3:5432";
    stage.until_endpoints(&["192.0.2.1:5432 ready serving", unproved, "2001:db8::2:6432 ready serving"]).await;
    stage.until_published("True", "Published").await;
    for slice in stage.slices().await {
        assert_eq!(slice.labels()["kubernetes.io/service-name"], "db");
        let [owner] = slice.owner_references() else { panic!("one owner: {slice:?}") };
        assert_eq!((&*owner.kind, &*owner.name), ("Service", "orders"));
        let ports = slice.ports.as_deref().expect("ports");
        assert_eq!(
            (ports.len(), ports[0].name.as_deref(), ports[0].protocol.as_deref()),
            (1, Some("sql"), Some("TCP"))
        );
        let v4 = slice.endpoints.iter().any(|endpoint| endpoint.addresses[0].contains('.'));
        assert_eq!(slice.address_type, if v4 { "IPv4" } else { "IPv6" });
        let zone = slice.endpoints.iter().find(|endpoint| endpoint.hostname.as_deref() == Some("a"));
        assert!(zone.is_none_or(|a| a.zone.as_deref() == Some("eu-1a")), "{slice:?}");
    }

    one.down().await;
    stage.until_endpoints(&["192.0.2.1:5432", unproved, "2001:db8::2:6432 ready serving"]).await;
    orders["spec"]["instances"][1]["drain"] = json!({ "reason": "new disks" });
    stage.apply(&orders).await;
    stage.until_endpoints(&["192.0.2.1:5432", unproved, "2001:db8::2:6432 serving terminating"]).await;
    one.up();
    stage.until_endpoints(&["192.0.2.1:5432 ready serving", unproved, "2001:db8::2:6432 serving terminating"]).await;
    assert_eq!(stage.published().await.0, "True", "health is not a reason for another condition");

    orders["spec"]["instances"] = json!([instance("a", "192.0.2.9:5432", &one)]);
    stage.apply(&orders).await;
    stage.until_endpoints(&["192.0.2.9:5432 ready serving"]).await;
    assert_eq!(stage.slices().await.len(), 1, "an empty slice goes");
    replica.stop().await;
    stage.until_endpoints(&["192.0.2.9:5432 ready serving"]).await;
}

#[tokio::test]
async fn an_edited_target_is_not_called_published_for_the_old_one() {
    let stage = Stage::new().await;
    let replica = Setup::of(&stage.namespace).publishes(&[]).start(stage.plane.admin()).await;
    let second = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "db2", "namespace": stage.namespace },
        "spec": { "ports": [{ "name": "sql", "port": 5432 }] },
    });
    stage.plane.kubectl().apply(&second.to_string()).await.expect("applied");
    let one = Backend::start();
    let mut orders = stage.manifest(&[instance("a", "192.0.2.1:5432", &one)]);
    stage.apply(&orders).await;
    stage.until_published("True", "Published").await;

    let from = stage.objects.get("orders").await.expect("it is there").resource_version().expect("a version");
    let mut watch = Box::pin(stage.objects.watch(&WatchParams::default(), &from).await.expect("a watch"));
    orders["spec"]["publish"]["service"] = json!("db2");
    stage.apply(&orders).await;
    loop {
        let event = tokio::time::timeout(AMPLE, watch.next()).await.expect("in time").expect("an event");
        let WatchEvent::Modified(object) = event.expect("no error") else { continue };
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let published = conditions.into_iter().find(|condition| condition["type"] == "Published").expect("it stays");
        if published["observedGeneration"] == json!(2) {
            assert_eq!(published["status"], "True", "{published}");
            assert!(published["message"].as_str().is_some_and(|said| said.contains("Service db2")), "{published}");
            break;
        }
    }
    stage.until_endpoints(&["192.0.2.1:5432 ready serving"]).await;
    assert_eq!(stage.slices().await[0].labels()["kubernetes.io/service-name"], "db2");

    // An edit of something else keeps it.
    orders["spec"]["description"] = json!("Orders");
    stage.apply(&orders).await;
    until("it counts for the new generation", async || {
        let object = stage.objects.get("orders").await.expect("it is there");
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is_kept = |condition: &Value| {
            (&condition["type"], &condition["status"], &condition["observedGeneration"])
                == (&json!("Published"), &json!("True"), &json!(3))
        };
        conditions.iter().any(is_kept)
    })
    .await;
    replica.stop().await;
}

/// Versions of the slices by name.
async fn versions(stage: &Stage) -> BTreeMap<String, String> {
    let all = stage.slices().await;
    all.iter().map(|slice| (slice.name_any(), slice.resource_version().expect("a version"))).collect()
}

#[tokio::test]
async fn one_change_rewrites_one_slice_and_then_nothing_is_asked() {
    let stage = Stage::new().await;
    let replica = Setup::of(&stage.namespace).publishes(&[]).start(stage.plane.admin()).await;
    let (all, mut one) = (Backend::start(), Backend::start());
    let mut instances: Vec<Value> =
        (1..=220).map(|n| instance(&format!("i{n}"), &format!("192.0.2.{n}:5432"), &all)).collect();
    instances[150] = instance("i151", "192.0.2.151:5432", &one);
    let mut orders = stage.manifest(&instances);
    orders["spec"]["check"]["intervalSeconds"] = json!(2);
    stage.apply(&orders).await;
    let ready = async |n: usize| {
        until(&format!("{n} endpoints are ready"), async || {
            stage.endpoints().await.iter().filter(|endpoint| endpoint.ends_with(" ready serving")).count() == n
        })
        .await;
    };
    ready(220).await;
    stage.until_published("True", "Published").await;
    let before = versions(&stage).await;
    assert_eq!(before.len(), 3, "at most 100 endpoints a slice");
    one.down().await;
    ready(219).await;
    let after = versions(&stage).await;
    let changed: Vec<_> = after.iter().filter(|(name, version)| before[*name] != **version).collect();
    assert_eq!((after.len(), changed.len()), (3, 1));

    let mut audit = stage.plane.audit().expect("an audit log");
    one.up();
    ready(220).await;
    let asked = audit.requests().await.expect("requests").into_iter();
    let ours = asked.filter(|request| {
        request.namespace == stage.namespace && request.resource.starts_with("endpointslices") && request.verb != "list"
    });
    assert_eq!(ours.map(|request| request.verb).collect::<Vec<_>>(), ["update"]);
    replica.stop().await;
}

#[tokio::test]
async fn what_somebody_changed_or_removed_is_written_again() {
    let stage = Stage::new().await;
    let replica = Setup::of(&stage.namespace).publishes(&[]).start(stage.plane.admin()).await;
    let one = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &one)])).await;
    let whole = ["192.0.2.1:5432 ready serving"];
    stage.until_endpoints(&whole).await;
    let name = stage.slices().await[0].name_any();
    let other = json!({ "endpoints": [{ "addresses": ["203.0.113.9"], "conditions": { "ready": true, "serving": true, "terminating": false } }] });
    stage.slices.patch(&name, &PatchParams::default(), &Patch::Merge(&other)).await.expect("patched");
    stage.until_endpoints(&whole).await;
    stage.slices.delete(&name, &DeleteParams::default()).await.expect("deleted");
    stage.until_endpoints(&whole).await;
    replica.stop().await;
}

#[tokio::test]
async fn when_all_are_down_the_manifest_decides_what_is_ready() {
    let stage = Stage::new().await;
    let replica = Setup::of(&stage.namespace).publishes(&[]).start(stage.plane.admin()).await;
    let (mut one, mut two) = (Backend::start(), Backend::start());
    let mut orders = stage.manifest(&[instance("a", "192.0.2.1:5432", &one), instance("b", "192.0.2.2:5432", &two)]);
    orders["spec"]["publish"]["whenAllDown"] = json!("Keep");
    stage.apply(&orders).await;
    stage.until_endpoints(&["192.0.2.1:5432 ready serving", "192.0.2.2:5432 ready serving"]).await;
    two.down().await;
    stage.until_endpoints(&["192.0.2.1:5432 ready serving", "192.0.2.2:5432"]).await;
    one.down().await;
    stage.until_published("True", "KeptWhileDown").await;
    stage.until_endpoints(&["192.0.2.1:5432 ready serving", "192.0.2.2:5432"]).await;
    // It outlives the leader, whose successor finds the instances down.
    let folder = replica.stop().await;
    let replica = Setup::of(&stage.namespace).publishes(&[]).in_folder(folder).start(stage.plane.admin()).await;
    two.up();
    stage.until_endpoints(&["192.0.2.1:5432", "192.0.2.2:5432 ready serving"]).await;
    stage.until_published("True", "Published").await;

    orders["spec"]["publish"]["whenAllDown"] = json!("Empty");
    stage.apply(&orders).await;
    two.down().await;
    stage.until_endpoints(&["192.0.2.1:5432", "192.0.2.2:5432"]).await;
    stage.until_published("True", "Published").await;
    replica.stop().await;
}
