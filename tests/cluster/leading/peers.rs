//! The other replicas are not probed by default.

use std::net::{IpAddr, UdpSocket};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::pod::Pod;
use super::until;
use crate::common::{install, shared};

/// This machine's address as others see it: the API server accepts no loopback endpoint, and loopback is denied anyway.
fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // Nothing is sent.
    socket.connect("198.51.100.1:9").expect("a route");
    socket.local_addr().expect("an address").ip()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_not_probed_while_it_is_a_replicas() {
    let plane = shared().await;
    let installed = install(plane, "cluster").await;
    let (namespace, folder) = (installed.namespace.as_str(), tempfile::tempdir().expect("a folder"));
    let pod = Pod::start(folder.path(), &installed.account, namespace, "portolan-0").await;
    let ip = own_address();
    let listener = TcpListener::bind((ip, 0)).await.expect("a port");
    let url = format!("tcp://{}", listener.local_addr().expect("an address"));
    let service = json!({
        "apiVersion": "portolan.dev/v1alpha1", "kind": "Service", "metadata": {"name": "users", "namespace": namespace},
        "spec": {"check": {"intervalSeconds": 1, "timeoutSeconds": 1}, "instances": [{"name": "a", "baseUrl": url}]},
    });
    let kubectl = plane.kubectl();
    kubectl.apply(&service.to_string()).await.expect("applied");
    let status = async || -> Value {
        let get = ["get", "psvc", "users", "-n", namespace, "-o", "jsonpath={.status}"];
        serde_json::from_str(&kubectl.run(&get).await.expect("an object")).unwrap_or_default()
    };
    let is = async |state: &str, accepted: &str, reason: &str| {
        let status = status().await;
        (&status["state"], &status["conditions"][0]["status"], &status["reason"])
            == (&json!(state), &json!(accepted), &json!(reason))
    };
    until("it is probed", async || status().await["state"] == "Healthy").await;

    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        // As the controller of slices makes one for the Service of an overlay with a prefix.
        "metadata": {"name": "portolan-x", "namespace": namespace, "labels": {
            "kubernetes.io/service-name": "eu-portolan", "app.kubernetes.io/name": "portolan",
        }},
        "endpoints": [{"addresses": [ip], "conditions": {"ready": false}}], "ports": [],
    });
    kubectl.apply(&slice.to_string()).await.expect("applied");
    until("it is denied", async || is("Invalid", "False", "AddressDenied").await).await;
    let message = status().await["conditions"][0]["message"].as_str().expect("a sentence").to_owned();
    assert!(message.contains("not probed by default") && message.contains("PORTOLAN_PROBE_ALLOW"), "{message}");
    let mine = json!({"name": "mine", "base_url": url});
    let refused = pod.register(&mine).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["code"]), (400, &json!("address_denied")), "{}", refused.text);

    kubectl.run(&["delete", "endpointslice", "portolan-x", "-n", namespace]).await.expect("deleted");
    until("it is probed again", async || {
        let status = status().await;
        status["state"] == "Healthy" && status["conditions"][0]["status"] == "True"
    })
    .await;
    let taken = pod.register(&mine).await;
    assert_eq!(taken.status, 200, "{}", taken.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_may_not_list_the_others_warns_once_and_works() {
    let plane = shared().await;
    let installed = install(plane, "namespaced").await;
    let (namespace, folder) = (installed.namespace.as_str(), tempfile::tempdir().expect("a folder"));
    let without = r#"[{"op": "test", "path": "/rules/2/resources", "value": ["endpointslices"]}, {"op": "remove", "path": "/rules/2"}]"#;
    let patch = ["patch", "role", "portolan-leader", "-n", namespace, "--type=json", "-p", without];
    plane.kubectl().run(&patch).await.expect("an older Role");
    let mut audit = plane.audit().expect("an audit log");
    let pod = Pod::start(folder.path(), &installed.account, namespace, "portolan-0").await;
    until("it leads", async || pod.leads().await).await;
    let mut refused = 0;
    until("it was refused again and again", async || {
        let mine =
            audit.requests().await.expect("requests").into_iter().filter(|request| request.namespace == namespace);
        refused += mine.filter(|request| request.resource.starts_with("endpointslices") && request.code == 403).count();
        refused >= 3
    })
    .await;
    let log = pod.log();
    assert_eq!(log.matches("verbs list and watch on endpointslices.discovery.k8s.io").count(), 1, "{log}");
    assert!(pod.is_ready().await && pod.leads().await, "{log}");
}
