//! A drain in a manifest: it leaves selection, is said so, and ends by itself.

use std::time::Duration;

use kube::api::{Api, DynamicObject};
use portolan::model::time::UnixMs;
use serde_json::{Value, json};

use super::backend::Backend;
use super::replica::{Replica, Setup, until};
use super::{apply, manifest, objects, shared, status};

/// Status and reason of the condition Ready.
async fn ready(api: &Api<DynamicObject>) -> (Value, Value) {
    let status = status(api, "cart").await;
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready").unwrap_or_default();
    (ready["status"].clone(), ready["reason"].clone())
}

/// Which instances are drained, here.
fn drained(replica: &Replica, namespace: &str) -> Vec<String> {
    let entry = replica.entry(namespace, "cart").expect("known");
    let drained = entry.service().instances.iter().filter(|instance| instance.is_drained());
    drained.map(|instance| instance.name.to_string()).collect()
}

#[tokio::test]
async fn a_drain_in_a_manifest_holds_until_it_ends_and_on_every_replica() {
    let (plane, namespace) = shared("drains").await;
    let leader = Setup::of(&namespace).start(plane.admin()).await;
    let follower = Setup::of(&namespace).follows().start(plane.admin()).await;
    let api = objects(plane, &namespace).await;
    let (one, two) = (Backend::start(), Backend::start());
    let mut cart = manifest(&namespace, "cart", &[one.url(), two.url()]);
    apply(plane, &cart).await;
    until("both are healthy", async || status(&api, "cart").await["healthy"] == 2).await;

    cart["spec"]["instances"][0]["drain"] = json!({"reason": "kernel update"});
    apply(plane, &cart).await;
    let both = async |wanted: &[&str]| {
        until(&format!("both show {wanted:?}"), async || {
            drained(&leader, &namespace) == wanted && drained(&follower, &namespace) == wanted
        })
        .await;
    };
    both(&["a"]).await;
    until("the status says so", async || status(&api, "cart").await["instances"][0]["drained"] == true).await;
    assert_eq!(ready(&api).await, (json!("True"), json!("Healthy")), "b is left");
    let shown = |replica: &Replica| {
        let entry = replica.entry(&namespace, "cart").expect("known");
        entry.service().instances[0].drain.clone().expect("drained")
    };
    until("both show the same", async || shown(&leader) == shown(&follower)).await;
    assert_eq!((&*shown(&leader).reason, &*shown(&leader).by), ("kernel update", "its manifest"));

    // Long enough to be seen.
    let until_when = UnixMs::wall().plus(Duration::from_secs(4));
    cart["spec"]["instances"][1]["drain"] = json!({"reason": "for a moment", "until": until_when.to_string()});
    apply(plane, &cart).await;
    both(&["a", "b"]).await;
    until("nobody is left", async || ready(&api).await == (json!("False"), json!("Drained"))).await;
    let row = ["get", "psvc", "cart", "-n", &namespace, "--no-headers"];
    let row = plane.kubectl().run(&row).await.expect("a row");
    let cells: Vec<_> = row.split_whitespace().collect();
    assert!(cells.contains(&"2/2") && cells.contains(&"Drained"), "health stays in its column: {row}");

    both(&["a"]).await;
    assert!(UnixMs::wall() >= until_when, "not before its end");
    until("the service is ready again", async || ready(&api).await == (json!("True"), json!("Healthy"))).await;
    let said = status(&api, "cart").await["instances"][1].take();
    assert_eq!((&said["drained"], &said["drainOver"]), (&Value::Null, &json!(until_when.to_string())));
    assert_eq!(status(&api, "cart").await["instances"][0]["drained"], true);
    leader.stop().await;
    follower.stop().await;
}
