//! Written instances and Portolan's own checks beside what is adopted.

use portolan::model::outcome::{Health, Reason};
use serde_json::json;

use super::{Stage, http, pod};
use crate::sync::backend::Backend;
use crate::sync::replica::{Setup, until};
use crate::sync::status;

#[tokio::test]
async fn written_instances_keep_their_names_and_their_own_checks() {
    let stage = Stage::new().await;
    let mut backend = Backend::start();
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true), pod("b", "10.1.0.2", false)]).await;
    let replica = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    let written = json!([{ "name": "a", "baseUrl": backend.url(), "check": { "tcp": {}, "intervalSeconds": 1 } }]);
    stage.apply(json!({ "from": { "service": "web" }, "instances": written })).await;
    stage.until_columns(["2/3", "Degraded", "NotReady"]).await;
    let entry = replica.entry(&stage.namespace, "shop").expect("it is there");
    let instances = &entry.service().instances;
    let urls: Vec<&str> = instances.iter().map(|instance| instance.spec.base_url.as_str()).collect();
    assert_eq!(urls, [backend.url().as_str(), "http://10.1.0.1:8080", "http://10.1.0.2:8080"]);
    assert!(instances[1].name.as_str().starts_with("a-"), "{}", instances[1].name);
    assert_eq!(instances[0].decided_by.as_str(), "default");
    backend.down().await;
    stage.until_columns(["1/3", "Degraded", "ConnectRefused"]).await;
    stage.apply(json!({ "instances": written })).await;
    until("nothing is adopted any more", async || {
        replica.entry(&stage.namespace, "shop").is_some_and(|entry| entry.service().instances.len() == 1)
    })
    .await;
    stage.until_adopted(" ").await;
    replica.stop().await;
}

#[tokio::test]
async fn a_check_beside_readiness_only_warns_and_both_are_shown() {
    let stage = Stage::new().await;
    let mut backend = Backend::start();
    // The API server takes no loopback address in a slice, so the check goes to a URL of its own.
    let ready = async |ready: bool| stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", ready)]).await;
    ready(true).await;
    let replica = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    let follower = Setup::of(&stage.namespace).adopts().follows().start(stage.plane.admin()).await;
    let check = json!({ "name": "direct", "tcp": {}, "url": backend.url(), "intervalSeconds": 1 });
    stage.apply(json!({ "from": { "service": "web" }, "checks": [check] })).await;
    stage.until_columns(["1/1", "Healthy", ""]).await;
    let warning = async || {
        let status = status(&stage.objects, "shop").await;
        status["instances"][0]["warning"]["reason"].as_str().unwrap_or_default().to_owned()
    };
    let shown = |replica: &crate::sync::replica::Replica| {
        let entry = replica.entry(&stage.namespace, "shop").expect("it is there");
        let instance = entry.service().instances[0].clone();
        (instance.health, instance.reason, instance.warning.as_ref().map(|warning| warning.reason))
    };
    backend.down().await;
    until("the status warns", async || warning().await == "ConnectRefused").await;
    stage.until_columns(["1/1", "Healthy", ""]).await;
    let both = (Health::Healthy, Reason::Passed, Some(Reason::ConnectRefused));
    until("the leader shows both", async || shown(&replica) == both).await;
    until("so does the other", async || shown(&follower) == both).await;
    // Now Kubernetes says so, too.
    ready(false).await;
    stage.until_columns(["0/1", "Down", "NotReady"]).await;
    let both = (Health::Unhealthy, Reason::NotReady, Some(Reason::ConnectRefused));
    until("both fail", async || shown(&replica) == both && shown(&follower) == both).await;
    backend.up();
    until("only readiness fails", async || {
        let now = (Health::Unhealthy, Reason::NotReady, None);
        shown(&replica) == now && shown(&follower) == now
    })
    .await;
    ready(true).await;
    stage.until_columns(["1/1", "Healthy", ""]).await;
    follower.stop().await;
    replica.stop().await;
}

#[tokio::test]
async fn the_plain_check_probes_each_endpoint_at_its_port() {
    let stage = Stage::new().await;
    stage.slice("web-1", &http(9), &[pod("a", "192.0.2.1", true)]).await;
    let replica = Setup::of(&stage.namespace).adopts().start(stage.plane.admin()).await;
    let check = json!({ "http": { "path": "/healthz" }, "intervalSeconds": 1, "timeoutSeconds": 1 });
    stage.apply(json!({ "from": { "service": "web" }, "check": check })).await;
    stage.until_columns(["1/1", "Healthy", ""]).await;
    let entry = replica.entry(&stage.namespace, "shop").expect("it is there");
    let spec = &entry.service().instances[0].spec;
    assert!(spec.check.is_readiness());
    assert_eq!((spec.checks.len(), spec.checks[0].name.as_str(), spec.checks[0].advisory), (1, "probe", true));
    // One that does not fit the port is said once, and the endpoints are there nevertheless.
    stage.core_service("web", &json!({ "ports": [{ "name": "raw", "port": 80 }] })).await;
    let raw = json!([{ "name": "raw", "port": 9 }]);
    stage.slice("web-1", &raw, &[pod("a", "192.0.2.1", true), pod("b", "192.0.2.2", true)]).await;
    until("it says what is wrong", async || stage.condition("shop", "Accepted").await.0.starts_with("False")).await;
    let message = stage.condition("shop", "Accepted").await.1;
    assert_eq!(message.matches("an http check needs").count(), 1, "{message}");
    replica.stop().await;
}
