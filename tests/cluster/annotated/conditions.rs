//! The condition of a workload follows health and drains.

use portolan::operator::annotated::Kind;
use serde_json::{Value, json};

use super::{Stage, condition_type, external, instance, orders};
use crate::sync::backend::Backend;
use crate::sync::replica::{Setup, until};

#[tokio::test]
async fn a_workload_entry_is_healthy_while_its_instance_is() {
    let spec = json!({ "address": "192.0.2.1", "ports": { "sql": 5432 } });
    follows_health_and_drains(Kind::WorkloadEntry, &spec).await;
}

#[tokio::test]
async fn an_external_workload_is_ready_while_its_instance_is_healthy() {
    follows_health_and_drains(Kind::ExternalWorkload, &external(&["192.0.2.1"], &[5432])).await;
}

async fn follows_health_and_drains(kind: Kind, spec: &Value) {
    let stage = Stage::new().await;
    stage.put(kind, "vm", &orders(), spec).await;
    let others = json!({ "type": "Ours", "status": "True", "reason": "Mine", "message": "as it is" });
    stage.patch_status(kind, "vm", &json!({ "conditions": [others] })).await;
    let replica = Setup::of(&stage.namespace).writes(&[kind]).start(stage.plane.admin()).await;
    stage.until_condition(kind, "vm", "False", "ServiceNotFound").await;
    let [.., message] = stage.condition(kind, "vm").await;
    assert_eq!(message, "there is no service orders in this namespace; apply it, or correct the annotation");

    let mut backend = Backend::start();
    let mut manifest = stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)]);
    stage.apply(&manifest).await;
    stage.until_condition(kind, "vm", "True", "Healthy").await;
    let [.., message] = stage.condition(kind, "vm").await;
    assert_eq!(message, "a at 192.0.2.1:5432 is healthy");
    backend.down().await;
    stage.until_condition(kind, "vm", "False", "ConnectRefused").await;
    backend.up();
    stage.until_condition(kind, "vm", "True", "Healthy").await;
    manifest["spec"]["instances"][0]["drain"] = json!({ "reason": "new disks" });
    stage.apply(&manifest).await;
    stage.until_condition(kind, "vm", "False", "Drained").await;
    manifest["spec"]["instances"][0]["drain"] = json!(null);
    stage.apply(&manifest).await;
    stage.until_condition(kind, "vm", "True", "Healthy").await;

    let object = stage.get(kind, "vm").await;
    let conditions = object.data["status"]["conditions"].as_array().expect("conditions");
    assert_eq!((conditions.len(), &conditions[0]), (2, &others), "that of others is as it was");
    assert_eq!(conditions[1]["type"], condition_type(kind));
    assert!(conditions[1]["lastTransitionTime"].is_string(), "{conditions:?}");
    replica.stop().await;
    assert_eq!(stage.condition(kind, "vm").await[0], "True", "without a leader it stays");
}

#[tokio::test]
async fn an_object_without_the_annotation_is_never_touched() {
    let stage = Stage::new().await;
    let kind = Kind::WorkloadEntry;
    let spec = json!({ "address": "192.0.2.1" });
    stage.put(kind, "theirs", &json!({ "proxy.istio.io/health-checks-enabled": "true" }), &spec).await;
    stage.put(kind, "vm", &orders(), &spec).await;
    let elsewhere = Stage::new().await;
    elsewhere.put(kind, "vm", &orders(), &spec).await;
    let before = (stage.revision(kind, "theirs").await, elsewhere.revision(kind, "vm").await);
    let replica = Setup::of(&stage.namespace).writes(&[kind]).start(stage.plane.admin()).await;
    let mut backend = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    stage.until_condition(kind, "vm", "True", "Healthy").await;
    backend.down().await;
    stage.until_condition(kind, "vm", "False", "ConnectRefused").await;
    let after = (stage.revision(kind, "theirs").await, elsewhere.revision(kind, "vm").await);
    assert_eq!(after, before, "the one in another namespace is another install's");

    // From the moment that it has none, it stays as it is.
    stage.put(kind, "vm", &json!({}), &spec).await;
    stage.put(kind, "other", &orders(), &spec).await;
    backend.up();
    stage.until_condition(kind, "other", "True", "Healthy").await;
    assert_eq!(stage.condition(kind, "vm").await[0], "False");
    replica.stop().await;
}

#[tokio::test]
async fn a_condition_that_istio_does_not_read_says_so() {
    let stage = Stage::new().await;
    let kind = Kind::WorkloadEntry;
    let replica = Setup::of(&stage.namespace).writes(&[kind]).start(stage.plane.admin()).await;
    let backend = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    stage.put(kind, "vm", &json!({ "portolan.dev/service": "orders" }), &json!({ "address": "192.0.2.1" })).await;
    stage.until_condition(kind, "vm", "True", "Healthy").await;
    let [.., message] = stage.condition(kind, "vm").await;
    assert!(message.contains("proxy.istio.io/health-checks-enabled"), "{message}");
    stage.put(kind, "vm", &orders(), &json!({ "address": "192.0.2.1" })).await;
    until("the hint goes", async || stage.condition(kind, "vm").await[2] == "a at 192.0.2.1:5432 is healthy").await;
    replica.stop().await;
}

#[tokio::test]
async fn somebody_who_writes_all_the_time_delays_nothing_and_loses_nothing() {
    let stage = Stage::new().await;
    let kind = Kind::WorkloadEntry;
    stage.put(kind, "vm", &orders(), &json!({ "address": "192.0.2.1" })).await;
    let replica = Setup::of(&stage.namespace).writes(&[kind]).start(stage.plane.admin()).await;
    let mut backend = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    stage.until_condition(kind, "vm", "True", "Healthy").await;
    let mut count = 0;
    for (is, why) in [("False", "ConnectRefused"), ("True", "Healthy")] {
        if is == "False" {
            backend.down().await;
        } else {
            backend.up();
        }
        until(&format!("it is {is}"), async || {
            count += 1;
            let label = json!({ "metadata": { "labels": { "count": count.to_string() } } });
            let patch = kube::api::Patch::Merge(label);
            stage.api(kind).await.patch("vm", &kube::api::PatchParams::default(), &patch).await.expect("patched");
            let [status, reason, _] = stage.condition(kind, "vm").await;
            (&*status, &*reason) == (is, why)
        })
        .await;
    }
    assert_eq!(stage.get(kind, "vm").await.metadata.labels.expect("labels")["count"], count.to_string());
    replica.stop().await;
}
