//! A kind that the API server does not serve yet, or no longer.

use control_plane::{ControlPlane, Options};
use kube::api::{Api, DynamicObject};
use portolan::operator::annotated::Kind;
use serde_json::json;

use super::{define, instance, orders, resource};
use crate::leading::pod::Pod;
use crate::sync::backend::Backend;
use crate::sync::replica::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_may_come_later_and_go_again() {
    let plane = ControlPlane::start_with(Options::default().without_audit()).await.expect("a control plane");
    crate::common::define(&plane).await;
    let namespace = plane.namespace("later").await.expect("a namespace");
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("PORTOLAN_WORKLOAD_ENTRIES", "true")];
    let pod = Pod::start_with(folder.path(), plane.admin(), &namespace, "portolan-0", &settings).await;
    let component = async || {
        let text = pod.get("/readyz?verbose").await.text;
        text.lines().find(|line| line.contains("annotated: ")).unwrap_or_default().to_owned()
    };
    let absent = "workloadentries.networking.istio.io/v1 is not served";
    until("it is reported", async || component().await.contains(absent)).await;
    until("reads go on", async || pod.is_ready().await).await;

    let backend = Backend::start();
    let manifest = json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": { "name": "orders", "namespace": namespace },
        "spec": { "check": { "intervalSeconds": 1 }, "instances": [instance("a", "192.0.2.1:5432", &backend)] },
    });
    plane.kubectl().apply(&manifest.to_string()).await.expect("applied");
    define(&plane).await;
    let entry = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "WorkloadEntry", "spec": { "address": "192.0.2.1" },
        "metadata": { "name": "vm", "namespace": namespace, "annotations": orders() },
    });
    plane.kubectl().apply(&entry.to_string()).await.expect("applied");
    let api: Api<DynamicObject> =
        Api::namespaced_with(plane.client().await.expect("a client"), &namespace, &resource(Kind::WorkloadEntry));
    until("it is written", async || {
        api.get("vm").await.expect("there").data["status"]["conditions"][0]["status"] == "True"
    })
    .await;
    let good = "[+] annotated: health is written into annotated objects of other projects";
    until("it is good", async || component().await == good).await;
    let log = pod.log();
    assert_eq!((log.matches(absent).count(), log.matches("health is written into").count()), (1, 1), "{log}");

    plane.kubectl().run(&["delete", "crd", "workloadentries.networking.istio.io"]).await.expect("deleted");
    until("it is reported again", async || component().await.contains(absent)).await;
    drop(pod);
}
