//! Uninstalling leaves nothing behind.

use std::collections::BTreeSet;

use control_plane::{ControlPlane, Kubectl, Options};

use crate::common::repository;

const KINDS: &str = "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,validatingadmissionpolicies,\
     validatingadmissionpolicybindings,leases,events.events.k8s.io";

/// The names of everything that an installation could leave behind, wherever it lies.
async fn inventory(kubectl: &Kubectl) -> BTreeSet<String> {
    let named = "custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name";
    let all = kubectl.run(&["get", KINDS, "--all-namespaces", "--no-headers", "-o", named]).await.expect("listed");
    // The API server's own Lease comes when it likes.
    all.lines().filter(|line| !line.contains("apiserver-")).map(str::to_owned).collect()
}

#[tokio::test]
async fn nothing_is_left_behind() {
    // What only controllers do is needed: a namespace that is deleted to the end.
    let mut plane = ControlPlane::start_with(Options::default().without_audit()).await.expect("a control plane");
    plane.run_controllers(&["namespace-controller", "garbage-collector-controller"]).await.expect("controllers");
    let kubectl = plane.kubectl();
    let file = |name: &str| repository().join("deploy").join(name).to_str().expect("UTF-8").to_owned();
    let (install, samples) = (file("install.yaml"), file("samples"));
    kubectl.run(&["create", "namespace", "shop"]).await.expect("created");
    let before = inventory(&kubectl).await;

    kubectl.run(&["apply", "--server-side", "-f", &install]).await.expect("installed");
    let secret = ["create", "secret", "generic", "portolan-jwt", "-n", "portolan", "--from-literal=secret=a"];
    kubectl.run(&secret).await.expect("created");
    let wait = ["wait", "--for=condition=Established", "crd/services.portolan.dev", "--timeout=200s"];
    kubectl.run(&wait).await.expect("established");
    kubectl.run(&["apply", "-n", "shop", "-f", &samples]).await.expect("applied");
    assert!(inventory(&kubectl).await.len() > before.len());

    // The API server tries again and again to remove a definition whose objects it cannot list yet, with growing pauses.
    kubectl.run(&["delete", "-f", &install, "--wait", "--timeout=200s"]).await.expect("deleted, to the end");
    assert_eq!(inventory(&kubectl).await, before);
}
