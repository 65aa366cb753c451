//! A write that the API server refuses delays no other.

use portolan::operator::annotated::Kind;
use serde_json::json;

use super::{Stage, instance, orders};
use crate::publish::webhooks::Webhook;
use crate::sync::backend::Backend;
use crate::sync::replica::{Setup, until};

#[tokio::test]
async fn a_webhook_that_fails_in_one_namespace_delays_no_other_namespace() {
    let (stage, other) = (Stage::new().await, Stage::new().await);
    let kind = Kind::WorkloadEntry;
    let mut backend = Backend::start();
    for stage in [&stage, &other] {
        stage.put(kind, "vm", &orders(), &json!({ "address": "192.0.2.1" })).await;
        stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    }
    let status = ("networking.istio.io", "workloadentries/status", "UPDATE");
    let nothing = json!({ "status": { "conditions": [] } }).to_string();
    let patch = ["patch", "workloadentries", "vm", "--subresource=status", "--type=merge", "-p", &nothing];
    let webhook = Webhook::start(stage.plane, &stage.namespace, status, (&patch, "")).await;
    let namespaces = [&stage, &other].map(|stage| stage.namespace.parse().expect("a namespace")).to_vec();
    let setup = Setup { namespaces, ..Setup::of(&stage.namespace).writes(&[kind]) };
    let replica = setup.start(stage.plane.admin()).await;
    let failed =
        |result: &str| replica.metric(&format!("portolan_annotated_object_writes_total{{result=\"{result}\"}}"));
    until("it is refused", async || failed("refused") >= 2).await;
    let before = failed("refused");
    other.until_condition(kind, "vm", "True", "Healthy").await;
    backend.down().await;
    other.until_condition(kind, "vm", "False", "ConnectRefused").await;
    assert_eq!(failed("away"), 0, "nothing else waited");
    assert!(failed("refused") - before <= 10, "it is tried again only after pauses");
    assert_eq!(stage.condition(kind, "vm").await[0], "");
    webhook.remove().await;
    stage.until_condition(kind, "vm", "False", "ConnectRefused").await;
    replica.stop().await;
}
