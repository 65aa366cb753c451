//! Before policies are known, and while the Kubernetes API is away.

use serde_json::json;

use super::Stage;
use super::listener::Listener;
use crate::common::{install, shared};
use crate::sync::replica::{Setup, until};

#[tokio::test]
async fn nothing_is_probed_before_the_policies_are_known() {
    let plane = shared().await;
    let installed = install(plane, "cluster").await;
    let stage = Stage::at(plane, installed.namespace.clone()).await;
    let listener = Listener::at([127, 0, 0, 1].into()).await;
    stage.apply(json!({ "instances": [{ "name": "a", "baseUrl": listener.url() }] })).await;
    // An earlier run without policies leaves its file.
    let replica = Setup::of(&stage.namespace).start(&installed.account).await;
    stage.until_reason("a", "Passed").await;
    let folder = replica.stop().await;
    let before = listener.count();

    let mut audit = plane.audit().expect("an audit log");
    let setup = Setup::of(&stage.namespace).follows_policies().in_folder(folder);
    let replica = setup.start(&installed.account).await;
    let (mut refused, agent) = (0, format!("system:serviceaccount:{}:portolan", stage.namespace));
    until("the lists were refused again and again", async || {
        let asked = audit.requests().await.expect("requests").into_iter();
        refused += asked.filter(|request| request.user == agent && request.code == 403).count();
        refused >= 6
    })
    .await;
    assert!(replica.entry(&stage.namespace, "shop").is_some(), "reads go on from the file");
    assert_eq!(listener.count(), before, "nothing is probed");
    assert!(!replica.ingest.is_complete());

    let policy = json!({ "networks": { "deny": ["127.0.0.1/32"] } });
    stage.policy("p", policy).await;
    let role = json!({
        "apiVersion": "v1", "kind": "List", "items": [
            { "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": stage.named("role") },
              "rules": [
                { "apiGroups": ["portolan.dev"], "resources": ["namespacepolicies"], "verbs": ["list", "watch"] },
                { "apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"] },
              ] },
            { "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": stage.named("role") },
              "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": stage.named("role") },
              "subjects": [{ "kind": "ServiceAccount", "name": "portolan", "namespace": stage.namespace }] },
        ],
    });
    plane.kubectl().apply(&role.to_string()).await.expect("applied");
    stage.until_reason("a", "AddressDenied").await;
    assert_eq!(listener.count(), before, "the policy was known before the first probe");
    stage.delete_policy("p").await;
    stage.until_reason("a", "Passed").await;
    assert!(listener.count() > before);
    replica.stop().await;
}

#[tokio::test]
async fn what_was_known_holds_while_the_api_server_is_away() {
    let stage = Stage::new().await;
    let proxy = stage.plane.proxy().await.expect("a proxy");
    let (own, other) = (Listener::at([127, 0, 0, 1].into()).await, Listener::at([127, 0, 0, 2].into()).await);
    stage.policy("p", json!({ "networks": { "deny": ["127.0.0.2/32"] } })).await;
    let account = stage.plane.admin().through(proxy.address()).expect("a kubeconfig");
    let replica = Setup::of(&stage.namespace).follows_policies().start(&account).await;
    stage
        .apply(json!({ "instances": [{ "name": "a", "baseUrl": own.url() }, { "name": "b", "baseUrl": other.url() }] }))
        .await;
    stage.until_reason("a", "Passed").await;
    stage.until_reason("b", "AddressDenied").await;
    proxy.freeze();
    own.until_more(4).await;
    assert_eq!(other.count(), 0);
    // What changed meanwhile counts once it is heard.
    stage.policy("p", json!({ "networks": { "deny": ["127.0.0.3/32"] } })).await;
    own.until_more(2).await;
    assert_eq!(other.count(), 0);
    proxy.pass();
    stage.until_reason("b", "Passed").await;
    replica.stop().await;
}
