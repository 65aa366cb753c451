//! Proved instances as endpoints of core Services.

mod changes;
mod consumer;
#[path = "../../probe/dns.rs"]
#[expect(dead_code, reason = "the probes' own tests ask it for more")]
pub(crate) mod dns;
mod names;
mod owners;
mod refusals;
mod rights;
pub(crate) mod webhooks;

use control_plane::ControlPlane;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::api::{Api, DynamicObject, ListParams};
use serde_json::{Value, json};

use crate::sync::backend::Backend;
use crate::sync::replica::until;
use crate::sync::{apply, objects, status};

/// A namespace with a core Service `db`.
struct Stage {
    plane: &'static ControlPlane,
    namespace: String,
    slices: Api<EndpointSlice>,
    objects: Api<DynamicObject>,
}

impl Stage {
    /// In a namespace that allows publishing.
    async fn new() -> Self {
        let stage = Self::unlabelled().await;
        stage.label("portolan.dev/publish=allowed").await;
        stage
    }

    async fn unlabelled() -> Self {
        let plane = crate::crd::installed().await;
        let namespace = plane.namespace("publish").await.expect("a namespace");
        let stage = Self::at(plane, namespace).await;
        stage.core_service(&json!({ "ports": [{ "name": "sql", "port": 5432 }] })).await;
        stage
    }

    async fn at(plane: &'static ControlPlane, namespace: String) -> Self {
        let slices = Api::namespaced(plane.client().await.expect("a client"), &namespace);
        let objects = objects(plane, &namespace).await;
        Self { plane, namespace, slices, objects }
    }

    async fn label(&self, label: &str) {
        let args = ["label", "namespace", &self.namespace, "--overwrite", label];
        self.plane.kubectl().run(&args).await.expect("labelled");
    }

    async fn core_service(&self, spec: &Value) {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": "db", "namespace": self.namespace }, "spec": spec,
        });
        self.plane.kubectl().apply(&service.to_string()).await.expect("applied");
    }

    /// A manifest that publishes its instances for `db`.
    fn manifest(&self, instances: &[Value]) -> Value {
        json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "Service",
            "metadata": { "name": "orders", "namespace": self.namespace },
            "spec": { "check": { "intervalSeconds": 1 }, "publish": { "service": "db" }, "instances": instances },
        })
    }

    async fn apply(&self, manifest: &Value) {
        apply(self.plane, manifest).await;
    }

    async fn slices(&self) -> Vec<EndpointSlice> {
        let all = ListParams::default().labels("endpointslice.kubernetes.io/managed-by=portolan.dev");
        self.slices.list(&all).await.expect("a list").items
    }

    /// Each endpoint as `ADDRESS:PORT` with its true conditions, in order.
    async fn endpoints(&self) -> Vec<String> {
        let port = |slice: &EndpointSlice| slice.ports.as_ref().and_then(|ports| ports[0].port).expect("a port");
        let of = |slice: EndpointSlice| {
            let port = port(&slice);
            slice.endpoints.into_iter().map(move |endpoint| shown(&endpoint, port)).collect::<Vec<_>>()
        };
        let mut all: Vec<String> = self.slices().await.into_iter().flat_map(of).collect();
        all.sort();
        all
    }

    async fn until_endpoints(&self, wanted: &[&str]) {
        until(&format!("the endpoints are {wanted:?}"), async || self.endpoints().await == wanted).await;
    }

    /// Status, reason and message of the condition.
    async fn published(&self) -> (String, String, String) {
        let status = status(&self.objects, "orders").await;
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let published = conditions.into_iter().find(|condition| condition["type"] == "Published").unwrap_or_default();
        let text = |field: &str| published[field].as_str().unwrap_or_default().to_owned();
        (text("status"), text("reason"), text("message"))
    }

    async fn until_published(&self, status: &str, reason: &str) {
        until(&format!("Published is {status} with {reason}"), async || {
            let published = self.published().await;
            (&*published.0, &*published.1) == (status, reason)
        })
        .await;
    }
}

fn shown(endpoint: &Endpoint, port: i32) -> String {
    let conditions = endpoint.conditions.clone().expect("conditions");
    let mut text = format!("{}:{port}", endpoint.addresses.join(" and "));
    for (name, value) in
        [("ready", conditions.ready), ("serving", conditions.serving), ("terminating", conditions.terminating)]
    {
        if value.expect("each is given") {
            text.extend([" ", name]);
        }
    }
    text
}

/// An instance at `address`, whose health is that of `backend`.
fn instance(name: &str, address: &str, backend: &Backend) -> Value {
    json!({ "name": name, "baseUrl": format!("postgres://{address}"), "healthUrl": backend.url() })
}
