//! What is not published, and what the status says about it.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::PostParams;
use serde_json::json;

use super::{Stage, instance};
use crate::sync::backend::Backend;
use crate::sync::replica::{Setup, until};

#[tokio::test]
async fn only_a_namespace_with_the_label_gets_endpoints() {
    let stage = Stage::unlabelled().await;
    let replica = Setup::of(&stage.namespace).publishes(&[]).start(stage.plane.admin()).await;
    let backend = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    stage.until_published("False", "NamespaceNotAllowed").await;
    let message = stage.published().await.2;
    let command = format!("kubectl label namespace {} portolan.dev/publish=allowed", stage.namespace);
    assert!(message.ends_with(&command), "{message}");
    assert_eq!(stage.slices().await, []);
    stage.label("portolan.dev/publish=allowed").await;
    stage.until_endpoints(&["192.0.2.1:5432 ready serving"]).await;
    stage.until_published("True", "Published").await;
    stage.label("portolan.dev/publish=no").await;
    stage.until_endpoints(&[]).await;
    stage.until_published("False", "NamespaceNotAllowed").await;
    replica.stop().await;
}

#[tokio::test]
async fn a_core_service_has_no_selector_and_the_port() {
    let stage = Stage::new().await;
    let replica = Setup::of(&stage.namespace).publishes(&[]).start(stage.plane.admin()).await;
    let backend = Backend::start();
    let mut orders = stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)]);
    stage.apply(&orders).await;
    stage.until_endpoints(&["192.0.2.1:5432 ready serving"]).await;
    let ports = json!([{ "name": "sql", "port": 5432 }, { "name": "metrics", "port": 9187 }]);
    for (spec, reason) in [
        (json!({ "selector": { "app": "db" }, "ports": ports }), "HasSelector"),
        (json!({ "selector": null, "ports": ports }), "PortNotFound"),
    ] {
        stage.core_service(&spec).await;
        stage.until_published("False", reason).await;
        stage.until_endpoints(&[]).await;
    }
    let message = stage.published().await.2;
    assert!(message.ends_with("name one of them in publish.port: sql, metrics"), "{message}");
    orders["spec"]["publish"]["port"] = json!("metrics");
    stage.apply(&orders).await;
    stage.until_endpoints(&["192.0.2.1:5432 ready serving"]).await;
    assert_eq!(stage.slices().await[0].ports.as_ref().expect("ports")[0].name.as_deref(), Some("metrics"));
    orders["spec"]["publish"]["port"] = json!("sql");
    stage.apply(&orders).await;
    until("the slice names the other port", async || {
        stage.slices().await[0].ports.as_ref().is_some_and(|ports| ports[0].name.as_deref() == Some("sql"))
    })
    .await;
    stage.plane.kubectl().run(&["delete", "service", "db", "-n", &stage.namespace]).await.expect("deleted");
    stage.until_published("False", "ServiceNotFound").await;
    stage.until_endpoints(&[]).await;
    replica.stop().await;
}

#[tokio::test]
async fn addresses_that_would_redirect_traffic_are_left_out_and_anothers_slices_stay() {
    let stage = Stage::new().await;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": "by-hand", "labels": { "kubernetes.io/service-name": "db" } },
        "endpoints": [{ "addresses": ["192.0.2.7"] }, { "addresses": ["192.0.2.8"] }], "ports": [{ "name": "sql", "port": 5432 }],
    });
    let slice = serde_json::from_value(slice).expect("a slice");
    let by_hand = stage.slices.create(&PostParams::default(), &slice).await.expect("created");
    let replica = Setup::of(&stage.namespace).publishes(&["10.244.0.0/16"]).start(stage.plane.admin()).await;
    let backend = Backend::start();
    let at = |name: &str, address: &str| instance(name, address, &backend);
    let mut orders = stage.manifest(&[
        at("a", "192.0.2.1:5432"),
        at("b", "10.244.3.4:5432"),
        at("c", "127.0.0.1:5432"),
        at("d", "192.0.2.7:5432"),
        at("e", "192.0.2.8:6432"),
    ]);
    let e = "192.0.2.8:6432 ready serving";
    stage.apply(&orders).await;
    stage.until_endpoints(&["192.0.2.1:5432 ready serving", e]).await;
    stage.until_published("True", "Published").await;
    let message = stage.published().await.2;
    for part in [
        "left out: b (10.244.3.4 is in 10.244.0.0/16 of PORTOLAN_PUBLISH_DENY)",
        "c (127.0.0.1 is loopback)",
        "d (another EndpointSlice contains 192.0.2.7 for the same Service)",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let still = stage.slices.get("by-hand").await.expect("it stays");
    assert_eq!(still.metadata.resource_version, by_hand.metadata.resource_version);
    // A second service at the first one's address gets nothing either.
    orders["metadata"]["name"] = json!("other");
    orders["spec"]["instances"] = json!([at("a", "192.0.2.1:5432")]);
    stage.apply(&orders).await;
    until("the other says so", async || {
        let status = crate::sync::status(&stage.objects, "other").await;
        status["conditions"].as_array().is_some_and(|all| all.iter().any(|c| c["reason"] == "NothingToPublish"))
    })
    .await;
    stage.slices.delete("by-hand", &kube::api::DeleteParams::default()).await.expect("deleted");
    stage.until_endpoints(&["192.0.2.1:5432 ready serving", "192.0.2.7:5432 ready serving", e]).await;
    replica.stop().await;
}

#[tokio::test]
async fn an_install_that_does_not_publish_says_so() {
    let stage = Stage::new().await;
    let replica = Setup::of(&stage.namespace).start(stage.plane.admin()).await;
    let backend = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    stage.until_published("False", "Disabled").await;
    assert_eq!(stage.slices().await, []);
    replica.stop().await;
}

/// A slice of somebody else with that name, for another core Service.
fn named(name: &str, manager: &str) -> EndpointSlice {
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": name,
            "labels": { "kubernetes.io/service-name": "other", "endpointslice.kubernetes.io/managed-by": manager },
        },
        "endpoints": [{ "addresses": ["192.0.2.7"] }], "ports": [{ "name": "sql", "port": 5432 }],
    });
    serde_json::from_value(slice).expect("a slice")
}

#[tokio::test]
async fn a_name_that_somebody_else_has_is_avoided_or_the_status_says_so() {
    let stage = Stage::unlabelled().await;
    let replica = Setup::of(&stage.namespace).publishes(&[]).start(stage.plane.admin()).await;
    let backend = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    stage.until_published("False", "NamespaceNotAllowed").await;
    let uid = stage.objects.get("orders").await.expect("an object").uid().expect("a uid");
    let name = |n: usize| format!("db-{}-ipv4-5432-{n}", &uid[..8]);
    // Those of Kubernetes' own controller are not watched, so that this one is not seen.
    let (seen, hidden) = (named(&name(0), "staff"), named(&name(1), "endpointslice-controller.k8s.io"));
    for slice in [&seen, &hidden] {
        stage.slices.create(&PostParams::default(), slice).await.expect("created");
    }
    stage.label("portolan.dev/publish=allowed").await;
    stage.until_published("False", "Refused").await;
    let message = stage.published().await.2;
    assert!(message.contains(&format!("\"{}\" already exists", name(1))), "{message}");
    stage.slices.delete(&name(1), &kube::api::DeleteParams::default()).await.expect("deleted");
    stage.until_published("True", "Published").await;
    assert_eq!(stage.slices().await[0].name_any(), name(1));
    replica.stop().await;
}
