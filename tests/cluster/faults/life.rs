//! What `kubectl apply` and `kubectl delete` do, seen from outside.

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::Cluster;
use crate::sync::backend::Backend;
use crate::sync::replica::until;
use crate::sync::{apply, manifest, status};

/// Waits until status reports this state for the newest generation.
async fn settled(cluster: &Cluster<'_>, name: &str, state: &str) -> Value {
    until(&format!("{name} is {state}, and of its newest generation"), async || {
        let object = cluster.objects.get(name).await.expect("it is there");
        let said = &object.data["status"];
        let proved = instances(said).iter().all(|one| !one.ends_with("Probing"));
        object.metadata.generation == said["observedGeneration"].as_i64() && said["state"] == state && proved
    })
    .await;
    status(&cluster.objects, name).await
}

/// Type, status and reason of each condition, all of one generation.
fn conditions(said: &Value) -> Vec<String> {
    let all = said["conditions"].as_array().expect("conditions").iter();
    let text = |condition: &Value, field: &str| condition[field].as_str().expect("a text").to_owned();
    all.map(|one| {
        assert_eq!(one["observedGeneration"], said["observedGeneration"], "{said}");
        format!("{}={} {}", text(one, "type"), text(one, "status"), text(one, "reason"))
    })
    .collect()
}

fn instances(said: &Value) -> Vec<String> {
    let all = said["instances"].as_array().into_iter().flatten();
    all.map(|one| format!("{} {} {}", one["name"], one["health"], one["reason"]).replace('"', "")).collect()
}

#[tokio::test]
async fn status_is_exact_after_each_change_and_every_replica_says_the_same() {
    let cluster = Cluster::shared().await;
    let (one, two) = cluster.two().await;
    let (backend, mut second) = (Backend::start(), Backend::start());

    cluster.apply("cart", &[backend.url(), second.url()]).await;
    let said = settled(&cluster, "cart", "Healthy").await;
    let healthy =
        ["Accepted=True Accepted", "Ready=True Healthy", "Degraded=False NoInstanceDown", "Stalled=False NotBlocked"];
    assert_eq!(conditions(&said), healthy);
    assert_eq!(instances(&said), ["a Healthy Passed", "b Healthy Passed"]);
    assert_eq!((&said["ready"], &said["observedGeneration"]), (&json!("2/2"), &json!(1)));

    second.down().await;
    let said = settled(&cluster, "cart", "Degraded").await;
    assert_eq!(conditions(&said)[1..3], ["Ready=True Healthy", "Degraded=True SomeInstancesDown"]);
    assert_eq!(instances(&said), ["a Healthy Passed", "b Unhealthy ConnectRefused"]);

    // An address that is never probed takes the place of the second.
    cluster.apply("cart", &[backend.url(), "http://169.254.169.254:80".to_owned()]).await;
    let said = settled(&cluster, "cart", "Degraded").await;
    assert_eq!(conditions(&said)[0], "Accepted=False PartiallyInvalid");
    assert_eq!(instances(&said), ["a Healthy Passed", "b Unhealthy AddressDenied"]);

    cluster.apply("cart", &[backend.url()]).await;
    let said = settled(&cluster, "cart", "Healthy").await;
    assert_eq!(conditions(&said), healthy);
    assert_eq!((&said["ready"], &said["observedGeneration"]), (&json!("1/1"), &json!(3)));

    let mut bad = manifest(&cluster.namespace, "cart", &[backend.url()]);
    bad["spec"]["instances"][0]["baseUrl"] = json!("not a url");
    let refused = cluster.plane.kubectl().apply(&bad.to_string()).await.expect_err("the definition refuses it");
    assert!(refused.to_string().contains("baseUrl"), "{refused}");
    assert_eq!(status(&cluster.objects, "cart").await, said);

    until("both say the same", async || one.service("cart").await == two.service("cart").await).await;
    cluster.delete("cart").await;
    for replica in [&one, &two] {
        until("it is gone", async || replica.service("cart").await.is_null()).await;
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn each_transition_is_one_event_and_a_service_without_a_check_is_ready() {
    let cluster = Cluster::shared().await;
    let (one, two) = cluster.two().await;
    let mut backend = Backend::start();
    cluster.apply("cart", &[backend.url()]).await;
    settled(&cluster, "cart", "Healthy").await;
    backend.down().await;
    settled(&cluster, "cart", "Down").await;
    backend.up();
    settled(&cluster, "cart", "Healthy").await;

    let mut unchecked = manifest(&cluster.namespace, "mail", &["http://192.0.2.1:25".to_owned()]);
    unchecked["spec"]["check"] = json!({ "none": {} });
    apply(cluster.plane, &unchecked).await;
    let wait = ["wait", "psvc/mail", "-n", &cluster.namespace, "--for=condition=Ready", "--timeout=30s"];
    cluster.plane.kubectl().run(&wait).await.expect("ready");
    assert_eq!(conditions(&settled(&cluster, "mail", "NotChecked").await)[1], "Ready=True NotChecked");

    let events: Api<Event> = Api::namespaced(cluster.plane.client().await.expect("a client"), &cluster.namespace);
    let written = async || {
        let all = events.list(&ListParams::default()).await.expect("a list").items;
        let mut written: Vec<_> = all
            .into_iter()
            .filter(|e| e.regarding.as_ref().is_some_and(|o| o.name.as_deref() == Some("cart")))
            .collect();
        written.sort_by_key(|event| event.metadata.creation_timestamp.clone());
        written
    };
    until("all events are written", async || written().await.len() >= 3).await;
    let mut reasons: Vec<_> = written().await.into_iter().filter_map(|event| event.reason).collect();
    reasons.sort();
    assert_eq!(reasons, ["Down", "Healthy", "Healthy"]);
    one.stop().await;
    two.stop().await;
}
