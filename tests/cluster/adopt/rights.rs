//! The rights of `deploy/components/adopt`, and their lack.

use std::path::Path;

use serde_json::json;

use super::{Stage, http, pod};
use crate::common::{Installed, install, install_with, shared};
use crate::leading::pod::Pod;
use crate::sync::replica::{Setup, until};

/// A leader that has adopted the labelled core Service `web` with its one endpoint.
async fn adopting(stage: &Stage, installed: &Installed, folder: &Path) -> Pod {
    let web = json!({ "selector": { "app": "web" }, "ports": [{ "name": "http", "port": 80 }] });
    stage.core_service("web", &web).await;
    stage.kubectl(&["label", "service", "web", "portolan.dev/adopt=true"]).await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true)]).await;
    let settings = [("PORTOLAN_ADOPT", "true")];
    let leader = Pod::start_with(folder, &installed.account, &stage.namespace, "portolan-0", &settings).await;
    until("the label adopts", async || {
        let status = stage.objects.get_opt("web").await.expect("an answer");
        status.is_some_and(|object| object.data["status"]["ready"] == "1/1")
    })
    .await;
    leader
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_adopts_with_exactly_these_rights() {
    let plane = shared().await;
    let installed = install_with(plane, "cluster", &["adopt"]).await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    let kubectl = plane.kubectl_as(&installed.account);
    let namespace = stage.namespace.as_str();
    for (may, verb, resource) in [
        (true, "list", "endpointslices.discovery.k8s.io"),
        (true, "watch", "services"),
        (true, "create", "services.portolan.dev"),
        (true, "delete", "services.portolan.dev"),
        (false, "update", "endpointslices.discovery.k8s.io"),
        (false, "create", "endpointslices.discovery.k8s.io"),
        (false, "update", "services"),
        (false, "list", "pods"),
        (false, "get", "secrets"),
        (false, "update", "namespaces"),
    ] {
        // Elsewhere than where it registers over REST.
        let can = kubectl.can_i(&[verb, resource, "-n", "default"]).await.expect("an answer");
        assert_eq!(can, may, "{verb} {resource}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let pod = adopting(&stage, &installed, folder.path()).await;
    let table = plane.kubectl().run(&["get", "psvc", "web", "-n", namespace, "--no-headers"]).await.expect("a table");
    assert!(table.starts_with("web") && table.contains("1/1") && table.contains("Healthy"), "{table}");
    stage.kubectl(&["label", "service", "web", "portolan.dev/adopt-"]).await;
    until("it is given up", async || stage.objects.get_opt("web").await.expect("an answer").is_none()).await;
    assert!(!pod.log().contains("deploy/components"), "{}", pod.log());
    drop(pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_of_one_namespace_adopts_there_with_a_role_alone() {
    let plane = shared().await;
    let installed = install_with(plane, "namespaced", &["adopt-namespaced"]).await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    let (namespace, kubectl) = (stage.namespace.as_str(), plane.kubectl_as(&installed.account));
    for (verb, resource) in [
        ("list", "endpointslices.discovery.k8s.io"),
        ("watch", "services"),
        ("create", "services.portolan.dev"),
        ("delete", "services.portolan.dev"),
    ] {
        for (place, may) in [(namespace, true), ("default", false)] {
            let can = kubectl.can_i(&[verb, resource, "-n", place]).await.expect("an answer");
            assert_eq!(can, may, "{verb} {resource} in {place}");
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let pod = adopting(&stage, &installed, folder.path()).await;
    assert!(!pod.log().contains("deploy/components"), "{}", pod.log());
    // Without an endpoint it is still there, and the answer says to ask again.
    let path = format!("/api/v1/services/discover?name=web&namespace={namespace}");
    until("it is found", async || pod.get(&path).await.status == 200).await;
    stage.delete_slice("web-1").await;
    until("it has no endpoint", async || pod.get(&path).await.status != 200).await;
    let empty = pod.get(&path).await;
    assert_eq!((empty.status.as_u16(), empty.json()["code"].as_str()), (503, Some("no_healthy_instance")));
    let message = format!(
        "{namespace}/web has no instance now: the core Service web has no endpoints now; new ones will be adopted"
    );
    assert_eq!(empty.json()["error"], message);
    drop(pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_rights_it_says_what_to_apply_once_and_serves_the_rest() {
    let plane = shared().await;
    let installed = install(plane, "cluster").await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("PORTOLAN_ADOPT", "true")];
    let mut audit = plane.audit().expect("an audit log");
    let pod = Pod::start_with(folder.path(), &installed.account, &stage.namespace, "portolan-0", &settings).await;
    let written = json!([{ "name": "own", "baseUrl": "http://192.0.2.1", "check": { "none": {} } }]);
    stage.apply(json!({ "from": { "service": "web" }, "instances": written })).await;
    let message = stage.until_adopted("False Forbidden").await;
    assert!(message.contains("apply deploy/components/adopt"), "{message}");
    stage.until_columns(["0/1", "NotChecked", ""]).await;
    let (mut refused, agent) = (0, format!("system:serviceaccount:{}:portolan", stage.namespace));
    until("it was refused again and again", async || {
        let asked = audit.requests().await.expect("requests").into_iter();
        refused += asked.filter(|request| request.user == agent && request.code == 403).count();
        refused >= 6
    })
    .await;
    let log = pod.log();
    assert_eq!(log.matches("apply deploy/components/adopt").count(), 1, "{log}");
    assert!(pod.is_ready().await, "{log}");
}

#[tokio::test]
async fn an_install_that_does_not_adopt_says_so_and_switching_it_on_and_off_is_seen() {
    let stage = Stage::new().await;
    stage.slice("web-1", &http(8080), &[pod("a", "10.1.0.1", true)]).await;
    let off = Setup::of(&stage.namespace).start(stage.plane.admin()).await;
    stage.apply(json!({ "from": { "service": "web" } })).await;
    let message = stage.until_adopted("False Disabled").await;
    assert!(message.contains("deploy/components/adopt"), "{message}");
    stage.until_columns(["0/0", "Down", "Disabled"]).await;
    let folder = off.stop().await;
    let on = Setup::of(&stage.namespace).adopts().in_folder(folder).start(stage.plane.admin()).await;
    stage.until_instances(&on, &["a http://10.1.0.1:8080 healthy"]).await;
    stage.until_columns(["1/1", "Healthy", ""]).await;
    let folder = on.stop().await;
    let off = Setup::of(&stage.namespace).in_folder(folder).start(stage.plane.admin()).await;
    stage.until_columns(["0/0", "Down", "Disabled"]).await;
    stage.until_instances(&off, &[]).await;
    off.stop().await;
}

#[tokio::test]
async fn what_portolan_publishes_is_never_adopted() {
    let stage = Stage::new().await;
    stage.core_service("db", &json!({ "ports": [{ "name": "sql", "port": 5432 }] })).await;
    let label = ["label", "namespace", &stage.namespace, "portolan.dev/publish=allowed"];
    stage.plane.kubectl().run(&label).await.expect("labelled");
    stage.slice("web-1", &json!([{ "name": "http", "port": 5432 }]), &[pod("a", "10.1.0.1", true)]).await;
    let replica = Setup::of(&stage.namespace).adopts().publishes(&[]).start(stage.plane.admin()).await;
    // From one core Service to another, and from that one back.
    stage.apply(json!({ "from": { "service": "web" }, "publish": { "service": "db" } })).await;
    until("it is published", async || stage.condition("shop", "Published").await.0 == "True Published").await;
    let back = json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": { "name": "back", "namespace": stage.namespace },
        "spec": { "from": { "service": "db" } },
    });
    crate::sync::apply(stage.plane, &back).await;
    until("there is nothing to adopt", async || stage.condition("back", "Adopted").await.0 == "True NoEndpoints").await;
    stage.slice("web-1", &json!([{ "name": "http", "port": 5432 }]), &[pod("a", "10.1.0.1", false)]).await;
    until("the published one is not ready", async || {
        let params = kube::api::ListParams::default().labels("endpointslice.kubernetes.io/managed-by=portolan.dev");
        let all = stage.slices.list(&params).await.expect("a list").items;
        let ready = |slice: &k8s_openapi::api::discovery::v1::EndpointSlice| {
            slice.endpoints.iter().all(|one| one.conditions.as_ref().is_some_and(|c| c.ready == Some(false)))
        };
        all.len() == 1 && all.iter().all(ready)
    })
    .await;
    assert!(replica.entry(&stage.namespace, "back").is_none());
    replica.stop().await;
}
