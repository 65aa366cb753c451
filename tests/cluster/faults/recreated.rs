//! A recreated cluster: first without our kind, then with its objects from a backup.

use control_plane::{ControlPlane, Options};
use serde_json::{Value, json};

use super::Cluster;
use crate::common::define;
use crate::sync::backend::Backend;
use crate::sync::replica::until;

/// All objects as a backup tool restores them: with new uids, without status.
async fn backup(cluster: &Cluster<'_>, into: &str) -> String {
    let args = ["get", "services.portolan.dev", "-n", &cluster.namespace, "-o", "json"];
    let mut all: Value =
        serde_json::from_str(&cluster.plane.kubectl().run(&args).await.expect("a list")).expect("JSON");
    for object in all["items"].as_array_mut().expect("a list") {
        object["metadata"] = json!({ "name": object["metadata"]["name"], "namespace": into });
        object.as_object_mut().expect("an object").remove("status");
    }
    all.to_string()
}

#[tokio::test]
async fn a_replica_waits_for_our_kind_and_ingests_objects_from_a_backup() {
    let old = Cluster::shared().await;
    let backend = Backend::start();
    let replica = old.start("one").await;
    replica.until_ready().await;
    for name in ["cart", "shop"] {
        old.apply(name, &[backend.url()]).await;
        old.until_state(name, "Healthy").await;
    }
    assert_eq!(replica.register("mail", &backend.url()).await, 200);
    until("all are known", async || replica.names().await.len() == 3).await;
    old.until_state("mail", "Healthy").await;
    let before = replica.service("mail").await;

    let plane = ControlPlane::start_with(Options::default().without_audit()).await.expect("a control plane");
    let new = Cluster::of(&plane).await;
    plane.kubectl().run(&["delete", "crd", "services.portolan.dev"]).await.expect("deleted");
    let mut fresh = new.start("fresh").await;
    until("it says what is missing", async || {
        let (status, _, answer) = fresh.get("/readyz?verbose").await;
        status == 503 && answer.to_string().contains("portolan crd | kubectl apply")
    })
    .await;
    assert!(fresh.log().contains("portolan crd | kubectl apply"), "{}", fresh.log());
    define(&plane).await;
    fresh.until_ready().await;
    assert_eq!(fresh.names().await, Vec::<String>::new());

    let objects = backup(&old, &new.namespace).await;
    let binding = format!("validatingadmissionpolicybinding/portolan-rest-{}", new.namespace);
    plane.kubectl().run(&["delete", &binding]).await.expect("what was registered may be put back");
    // The API server takes a moment to notice; `kubectl create` skips what exists by then.
    until("all are put back", async || {
        drop(plane.kubectl().run_with(&["create", "-f", "-"], &objects).await);
        plane.kubectl().run(&["get", "-n", &new.namespace, "psvc", "mail"]).await.is_ok()
    })
    .await;
    for name in ["cart", "shop", "mail"] {
        new.until_state(name, "Healthy").await;
        until("it is served", async || fresh.service(name).await["status"] == "healthy").await;
    }
    let after = fresh.service("mail").await;
    assert_ne!(before["id"], after["id"]);
    assert_eq!((&after["source"], &after["base_url"]), (&before["source"], &before["base_url"]));
    assert_eq!(fresh.register("mail", &backend.url()).await, 200, "it goes on as if nothing had been");
    assert!(fresh.runs());
    fresh.stop().await;
    replica.stop().await;
}
