//! The rights of `deploy/components/publish`, and its admission policy.

use control_plane::Refused;
use serde_json::{Value, json};

use super::{Stage, instance};
use crate::common::{Installed, install, install_with, shared};
use crate::leading::pod::Pod;
use crate::sync::backend::Backend;
use crate::sync::replica::until;

/// The cluster overlay with the component, and a stage in its namespace.
async fn installed() -> (Stage, Installed) {
    let plane = shared().await;
    let installed = install_with(plane, "cluster", &["publish"]).await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    stage.core_service(&json!({ "ports": [{ "name": "sql", "port": 5432 }] })).await;
    (stage, installed)
}

fn slice(name: &str, manager: &str, owners: &Value) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": name, "ownerReferences": owners,
            "labels": { "kubernetes.io/service-name": "db", "endpointslice.kubernetes.io/managed-by": manager },
        },
        "endpoints": [{ "addresses": ["192.0.2.7"] }], "ports": [{ "name": "sql", "port": 5432 }],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_holds_the_program_to_its_own_slices_in_namespaces_that_allow_it() {
    let (stage, installed) = installed().await;
    let kubectl = stage.plane.kubectl_as(&installed.account);
    let owners = json!([{
        "apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "name": "orders",
        "uid": "01900000-0000-7000-8000-000000000001",
    }]);
    let namespace = stage.namespace.as_str();
    let create = async |slice: Value| -> Result<(), String> {
        let tried = kubectl.run_with(&["create", "-n", namespace, "-f", "-"], &slice.to_string()).await;
        tried.map(drop).map_err(|error| error.downcast::<Refused>().expect("kubectl's own end").stderr)
    };
    let ours = |name: &str| slice(name, "portolan.dev", &owners);
    until("the policy is in force", async || {
        let refused = create(ours("early")).await;
        drop(kubectl.run(&["delete", "endpointslice", "early", "-n", namespace]).await);
        refused.is_err_and(|why| why.contains("portolan.dev/publish=allowed"))
    })
    .await;
    stage.label("portolan.dev/publish=allowed").await;
    until("the label counts", async || create(ours("mine")).await.is_ok()).await;
    for wrong in [slice("a", "staff", &owners), slice("b", "portolan.dev", &json!([]))] {
        let refused = create(wrong).await.expect_err("refused");
        assert!(refused.contains("writes only EndpointSlices that it manages"), "{refused}");
    }
    let by_hand = slice("by-hand", "staff", &json!([])).to_string();
    stage.plane.kubectl().run_with(&["create", "-n", namespace, "-f", "-"], &by_hand).await.expect("others may");
    let delete = ["delete", "endpointslice", "by-hand", "-n", namespace];
    let refused = kubectl.run(&delete).await.expect_err("it is another's").to_string();
    assert!(refused.contains("writes only EndpointSlices that it manages"), "{refused}");
    stage.label("portolan.dev/publish=no").await;
    kubectl.run(&["delete", "endpointslice", "mine", "-n", namespace]).await.expect("its own it may always remove");
    assert!(!kubectl.can_i(&["patch", "endpointslices", "-n", namespace]).await.expect("an answer"));
    assert!(!kubectl.can_i(&["get", "secrets", "-n", namespace]).await.expect("an answer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_publishes_with_exactly_these_rights() {
    let (stage, installed) = installed().await;
    stage.label("portolan.dev/publish=allowed").await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("PORTOLAN_PUBLISH", "true"), ("PORTOLAN_PUBLISH_DENY", "10.0.0.0/8")];
    let namespace = stage.namespace.as_str();
    let pod = Pod::start_with(folder.path(), &installed.account, namespace, "portolan-0", &settings).await;
    let backend = Backend::start();
    let instances = [instance("a", "192.0.2.1:5432", &backend), instance("b", "10.1.2.3:5432", &backend)];
    stage.apply(&stage.manifest(&instances)).await;
    stage.until_endpoints(&["192.0.2.1:5432 ready serving"]).await;
    stage.until_published("True", "Published").await;
    let message = stage.published().await.2;
    assert!(message.ends_with("left out: b (10.1.2.3 is in 10.0.0.0/8 of PORTOLAN_PUBLISH_DENY)"), "{message}");
    assert!(!stage.plane.kubectl_as(&installed.account).can_i(&["list", "nodes"]).await.expect("an answer"));
    let log = pod.log();
    assert_eq!(log.matches("Nodes cannot be listed").count(), 1, "{log}");
    stage.objects.delete("orders", &kube::api::DeleteParams::default()).await.expect("deleted");
    stage.until_endpoints(&[]).await;
    drop(pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_that_the_cluster_names_are_learned_and_never_published() {
    let plane = shared().await;
    let installed = install_with(plane, "cluster", &["publish", "node-networks"]).await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    stage.core_service(&json!({ "ports": [{ "name": "sql", "port": 5432 }] })).await;
    stage.label("portolan.dev/publish=allowed").await;
    let namespace = stage.namespace.as_str();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("PORTOLAN_PUBLISH", "true")];
    let pod = Pod::start_with(folder.path(), &installed.account, namespace, "portolan-0", &settings).await;
    let backend = Backend::start();
    let at = |name: &str, address: &str| instance(name, &format!("{address}:5432"), &backend);
    // Services have 10.0.0.0/24 in this cluster.
    let instances = [
        at("a", "192.0.2.1"),
        at("b", "10.0.0.9"),
        at("c", "10.244.77.3"),
        at("d", "10.244.78.3"),
        at("e", "198.51.100.7"),
    ];
    stage.apply(&stage.manifest(&instances)).await;
    stage.until_published("False", "NetworksUnknown").await;
    let message = stage.published().await.2;
    assert!(message.contains("the cluster's pods") && message.contains("PORTOLAN_PUBLISH_DENY"), "{message}");
    stage.until_endpoints(&[]).await;

    let node = async |n: u8| {
        let cidr = format!("10.244.{n}.0/24");
        let node = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": format!("{namespace}-{n}") },
            "spec": { "podCIDR": cidr, "podCIDRs": [cidr] },
        });
        plane.kubectl().apply(&node.to_string()).await.expect("applied");
    };
    node(77).await;
    let of = |addresses: &[&str]| addresses.iter().map(|a| format!("{a}:5432 ready serving")).collect::<Vec<_>>();
    let until_endpoints = async |addresses: &[&str]| {
        let wanted = of(addresses);
        stage.until_endpoints(&wanted.iter().map(String::as_str).collect::<Vec<_>>()).await;
    };
    until_endpoints(&["10.244.78.3", "192.0.2.1", "198.51.100.7"]).await;
    stage.until_published("True", "Published").await;
    let message = stage.published().await.2;
    for part in [
        "b (10.0.0.9 is in 10.0.0.0/24 of the cluster's Services)",
        "c (10.244.77.3 is in 10.244.77.0/24 of the cluster's pods)",
    ] {
        assert!(message.contains(part), "{message}");
    }
    // Another node, and an address of a node.
    node(78).await;
    let address =
        json!({ "status": { "addresses": [{ "type": "InternalIP", "address": "198.51.100.7" }] } }).to_string();
    let first = format!("{namespace}-77");
    let patch = ["patch", "node", &first, "--subresource=status", "--type=merge", "-p", &address];
    plane.kubectl().run(&patch).await.expect("patched");
    until_endpoints(&["192.0.2.1"]).await;
    // A network whose node is gone is free again. Without any, nothing changes until one is known.
    let second = format!("{namespace}-78");
    plane.kubectl().run(&["delete", "node", &second]).await.expect("deleted");
    until_endpoints(&["10.244.78.3", "192.0.2.1"]).await;
    plane.kubectl().run(&["delete", "node", &first]).await.expect("deleted");
    stage.until_published("False", "NetworksUnknown").await;
    until_endpoints(&["10.244.78.3", "192.0.2.1"]).await;
    drop(pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_rights_it_says_what_to_apply_once() {
    let plane = shared().await;
    let installed = install(plane, "cluster").await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("PORTOLAN_PUBLISH", "true"), ("PORTOLAN_PUBLISH_DENY", "none")];
    let mut audit = plane.audit().expect("an audit log");
    let pod = Pod::start_with(folder.path(), &installed.account, &stage.namespace, "portolan-0", &settings).await;
    let backend = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    stage.until_published("False", "Forbidden").await;
    let message = stage.published().await.2;
    assert!(message.contains("apply deploy/components/publish"), "{message}");
    let (mut refused, agent) = (0, format!("system:serviceaccount:{}:portolan", stage.namespace));
    until("it was refused again and again", async || {
        let asked = audit.requests().await.expect("requests").into_iter();
        refused += asked.filter(|request| request.user == agent && request.code == 403).count();
        refused >= 6
    })
    .await;
    let log = pod.log();
    assert_eq!(log.matches("may not publish endpoints").count(), 1, "{log}");
    assert!(pod.is_ready().await, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_refuses_is_no_lack_of_rights() {
    let (stage, installed) = installed().await;
    stage.label("portolan.dev/publish=allowed").await;
    let namespace = stage.namespace.as_str();
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": format!("no-endpoints-{namespace}") },
        "spec": {
            "matchConstraints": { "resourceRules": [{
                "apiGroups": ["discovery.k8s.io"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["endpointslices"],
            }] },
            "validations": [{ "expression": "false", "reason": "Forbidden", "message": "no endpoints on Sundays" }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": format!("no-endpoints-{namespace}") },
        "spec": {
            "policyName": format!("no-endpoints-{namespace}"), "validationActions": ["Deny"],
            "matchResources": { "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } } },
        },
    });
    for object in [&policy, &binding] {
        stage.plane.kubectl().apply(&object.to_string()).await.expect("applied");
    }
    let by_hand = slice("by-hand", "staff", &json!([])).to_string();
    until("the policy is in force", async || {
        let create = ["create", "--dry-run=server", "-n", namespace, "-f", "-"];
        stage.plane.kubectl().run_with(&create, &by_hand).await.is_err()
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("PORTOLAN_PUBLISH", "true"), ("PORTOLAN_PUBLISH_DENY", "none")];
    let pod = Pod::start_with(folder.path(), &installed.account, namespace, "portolan-0", &settings).await;
    let backend = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    stage.until_published("False", "Refused").await;
    let message = stage.published().await.2;
    assert!(message.contains("no endpoints on Sundays") && !message.contains("deploy/components/publish"), "{message}");
    let name = format!("no-endpoints-{namespace}");
    let delete = ["delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", &name];
    stage.plane.kubectl().run(&delete).await.expect("deleted");
    stage.until_published("True", "Published").await;
    drop(pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_may_not_remove_endpoints_the_status_says_so_once() {
    let (stage, installed) = installed().await;
    stage.label("portolan.dev/publish=allowed").await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("PORTOLAN_PUBLISH", "true"), ("PORTOLAN_PUBLISH_DENY", "none")];
    let namespace = stage.namespace.as_str();
    let pod = Pod::start_with(folder.path(), &installed.account, namespace, "portolan-0", &settings).await;
    let backend = Backend::start();
    stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    stage.until_published("True", "Published").await;
    let role = format!("portolan-publish-{namespace}");
    let without =
        json!([{ "op": "replace", "path": "/rules/0/verbs", "value": ["list", "watch", "create", "update"] }]);
    let patch = ["patch", "clusterrole", &role, "--type=json", "-p", &without.to_string()];
    stage.plane.kubectl().run(&patch).await.expect("patched");
    let kubectl = stage.plane.kubectl_as(&installed.account);
    until("it may not delete", async || {
        !kubectl.can_i(&["delete", "endpointslices", "-n", namespace]).await.expect("an answer")
    })
    .await;
    stage.label("portolan.dev/publish=no").await;
    let mut audit = stage.plane.audit().expect("an audit log");
    stage.until_published("False", "Forbidden").await;
    // It waits for the lines of everything that can be seen by now.
    audit.requests().await.expect("requests");
    let (agent, mut refused, mut written) = (format!("system:serviceaccount:{namespace}:portolan"), 0, 0);
    until("it was refused again and again", async || {
        for request in audit.requests().await.expect("requests").into_iter().filter(|request| request.user == agent) {
            refused += usize::from(request.verb == "delete" && request.code == 403);
            written += usize::from(request.subresource == "status");
        }
        refused >= 3
    })
    .await;
    assert_eq!(written, 0, "the condition stays as it is");
    drop(pod);
}
