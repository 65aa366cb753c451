//! A webhook that cannot be called delays only the writes that it is asked about.

use control_plane::ControlPlane;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::{Stage, instance};
use crate::sync::backend::Backend;
use crate::sync::replica::{Replica, Setup, until};

/// A webhook that nobody runs: the API server refuses the writes that it should ask it about.
pub(crate) struct Webhook {
    plane: &'static ControlPlane,
    name: String,
}

impl Webhook {
    /// For operations on a resource of an API group in the namespace. `try_one`, a kubectl command that changes nothing, shows when it counts.
    pub(crate) async fn start(
        plane: &'static ControlPlane,
        namespace: &str,
        (group, resource, operation): (&str, &str, &str),
        try_one: (&[&str], &str),
    ) -> Self {
        let name = format!("nobody-{namespace}");
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": name },
            "webhooks": [{
                "name": "nobody.example.com", "failurePolicy": "Fail", "sideEffects": "None", "timeoutSeconds": 1,
                "admissionReviewVersions": ["v1"], "clientConfig": { "url": "https://127.0.0.1:1/" },
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
                "rules": [{ "apiGroups": [group], "apiVersions": ["*"], "operations": [operation], "resources": [resource] }],
            }],
        });
        plane.kubectl().apply(&configuration.to_string()).await.expect("applied");
        let args: Vec<&str> = try_one.0.iter().copied().chain(["--dry-run=server", "-n", namespace]).collect();
        until("the webhook is asked", async || {
            let tried = plane.kubectl().run_with(&args, try_one.1).await;
            tried.is_err_and(|error| error.to_string().contains("failed calling webhook"))
        })
        .await;
        Self { plane, name }
    }

    pub(crate) async fn remove(self) {
        let delete = ["delete", "validatingwebhookconfiguration", &self.name];
        self.plane.kubectl().run(&delete).await.expect("deleted");
    }
}

/// Publishes in both namespaces.
async fn start(stage: &Stage, other: &Stage) -> Replica {
    let namespaces = [stage, other].map(|stage| stage.namespace.parse().expect("a namespace")).to_vec();
    let setup = Setup { namespaces, ..Setup::of(&stage.namespace).publishes(&[]) };
    setup.start(stage.plane.admin()).await
}

fn failed(replica: &Replica, result: &str) -> u64 {
    replica.metric(&format!("portolan_endpoint_slice_writes_total{{result=\"{result}\"}}"))
}

/// A slice of ours that names no owner.
fn lost() -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "lost",
            "labels": { "kubernetes.io/service-name": "db", "endpointslice.kubernetes.io/managed-by": "portolan.dev" },
        },
        "endpoints": [], "ports": [{ "name": "sql", "port": 5432 }],
    })
}

#[tokio::test]
async fn a_webhook_that_fails_in_one_namespace_delays_no_other_namespace() {
    let (stage, other) = (Stage::new().await, Stage::new().await);
    let endpointslices = ("discovery.k8s.io", "endpointslices", "CREATE");
    let create = (["create", "-f", "-"].as_slice(), &*lost().to_string());
    let webhook = Webhook::start(stage.plane, &stage.namespace, endpointslices, create).await;
    let replica = start(&stage, &other).await;
    let mut backend = Backend::start();
    for stage in [&stage, &other] {
        stage.apply(&stage.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    }
    stage.until_published("False", "Refused").await;
    let message = stage.published().await.2;
    assert!(message.contains("failed calling webhook \"nobody.example.com\""), "{message}");
    other.until_endpoints(&["192.0.2.1:5432 ready serving"]).await;
    let before = failed(&replica, "refused");
    backend.down().await;
    other.until_endpoints(&["192.0.2.1:5432"]).await;
    assert_eq!(failed(&replica, "away"), 0, "nothing else waited");
    assert!(failed(&replica, "refused") - before <= 10, "it is tried again only after pauses");
    backend.up();
    webhook.remove().await;
    stage.until_published("True", "Published").await;
    stage.until_endpoints(&["192.0.2.1:5432 ready serving"]).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_slice_that_cannot_be_removed_delays_no_other_and_is_tried_again() {
    let (stage, other) = (Stage::new().await, Stage::new().await);
    let slice: EndpointSlice = serde_json::from_value(lost()).expect("a slice");
    stage.slices.create(&PostParams::default(), &slice).await.expect("created");
    let endpointslices = ("discovery.k8s.io", "endpointslices", "DELETE");
    let delete = (["delete", "endpointslice", "lost"].as_slice(), "");
    let webhook = Webhook::start(stage.plane, &stage.namespace, endpointslices, delete).await;
    let replica = start(&stage, &other).await;
    until("it cannot be removed", async || failed(&replica, "refused") >= 2).await;
    let before = failed(&replica, "refused");
    let mut backend = Backend::start();
    other.apply(&other.manifest(&[instance("a", "192.0.2.1:5432", &backend)])).await;
    other.until_endpoints(&["192.0.2.1:5432 ready serving"]).await;
    backend.down().await;
    other.until_endpoints(&["192.0.2.1:5432"]).await;
    assert_eq!(failed(&replica, "away"), 0, "nothing else waited");
    assert!(failed(&replica, "refused") - before <= 10, "it is tried again only after pauses");
    webhook.remove().await;
    until("it is removed", async || stage.slices().await.is_empty()).await;
    replica.stop().await;
}
