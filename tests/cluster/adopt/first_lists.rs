//! What is served while slices and core Services cannot be listed.

use serde_json::json;

use super::{Stage, http, pod};
use crate::common::{install_with, shared};
use crate::leading::pod::Pod;
use crate::sync::replica::until;

/// A right that comes a moment late, as while an API server starts, costs nothing; and whoever does not adopt never waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_comes_late_removes_nothing_from_the_catalog() {
    let plane = shared().await;
    let installed = install_with(plane, "cluster", &["adopt"]).await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    let namespace = stage.namespace.as_str();
    stage.core_service("web", &json!({ "ports": [{ "name": "http", "port": 80 }] })).await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true)]).await;
    let (folder, settings) = (tempfile::tempdir().expect("a folder"), [("PORTOLAN_ADOPT", "true")]);
    let start = async || Pod::start_with(folder.path(), &installed.account, namespace, "portolan-0", &settings).await;
    let first = start().await;
    stage.apply(json!({ "from": { "service": "web" } })).await;
    stage.until_columns(["1/1", "Healthy", ""]).await;
    let path = format!("/api/v1/services/discover?name=shop&namespace={namespace}");
    until("it is found", async || first.get(&path).await.status == 200).await;
    drop(first);

    let role = format!("portolan-adopt-{namespace}");
    plane.kubectl().run(&["delete", "clusterrolebinding", &role]).await.expect("deleted");
    let kubectl = plane.kubectl_as(&installed.account);
    until("the right is gone", async || {
        !kubectl.can_i(&["list", "endpointslices.discovery.k8s.io"]).await.expect("an answer")
    })
    .await;
    let second = start().await;
    let written = json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": { "name": "other", "namespace": namespace },
        "spec": { "instances": [{ "name": "own", "baseUrl": "http://192.0.2.1", "check": { "none": {} } }] },
    });
    crate::sync::apply(plane, &written).await;
    let other = format!("/api/v1/services/discover?name=other&namespace={namespace}");
    until("what adopts nothing is found meanwhile", async || second.get(&other).await.status == 200).await;
    until("it was refused", async || second.log().contains("apply deploy/components/adopt")).await;
    let found = second.get(&path).await;
    assert_eq!((found.status.as_u16(), found.text.contains("10.1.0.1")), (200, true), "{}", found.text);
    assert_eq!(stage.condition("shop", "Adopted").await.0, "True Adopted");
    // Lasting, it counts.
    stage.until_adopted("False Forbidden").await;
    drop(second);
}
