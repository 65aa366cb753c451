//! Endpoints of core Services as instances.

mod beside;
mod changes;
mod first_lists;
mod labels;
mod leaving_out;
mod refusals;
mod rights;
mod scale;

use std::sync::Arc;

use control_plane::ControlPlane;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use portolan::catalog::Entry;
use portolan::model::service::Instance;
use serde_json::{Value, json};

use crate::sync::replica::{Replica, until};
use crate::sync::{apply, objects, status};

/// A namespace in which nothing but the tests writes slices.
struct Stage {
    plane: &'static ControlPlane,
    namespace: String,
    slices: Api<EndpointSlice>,
    objects: Api<DynamicObject>,
}

impl Stage {
    /// With a core Service `web` that has one port.
    async fn new() -> Self {
        let plane = crate::crd::installed().await;
        let stage = Self::at(plane, plane.namespace("adopt").await.expect("a namespace")).await;
        stage
            .core_service("web", &json!({ "selector": { "app": "web" }, "ports": [{ "name": "http", "port": 80 }] }))
            .await;
        stage
    }

    async fn at(plane: &'static ControlPlane, namespace: String) -> Self {
        let slices = Api::namespaced(plane.client().await.expect("a client"), &namespace);
        let objects = objects(plane, &namespace).await;
        Self { plane, namespace, slices, objects }
    }

    async fn core_service(&self, name: &str, spec: &Value) {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": self.namespace }, "spec": spec,
        });
        self.plane.kubectl().apply(&service.to_string()).await.expect("applied");
    }

    /// Runs kubectl in the namespace.
    async fn kubectl(&self, args: &[&str]) {
        let args: Vec<&str> = args.iter().copied().chain(["-n", &self.namespace]).collect();
        self.plane.kubectl().run(&args).await.expect("kubectl");
    }

    /// Writes a slice of `web`.
    async fn slice(&self, name: &str, ports: &Value, endpoints: &[Value]) {
        self.slice_of("web", "IPv4", name, ports, endpoints).await;
    }

    async fn slice_of(&self, service: &str, family: &str, name: &str, ports: &Value, endpoints: &[Value]) {
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family,
            "metadata": { "name": name, "labels": {
                "kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            } },
            "endpoints": endpoints, "ports": ports,
        });
        let params = PatchParams::apply("endpointslice-controller").force();
        self.slices.patch(name, &params, &Patch::Apply(&slice)).await.expect("the slice is taken");
    }

    async fn delete_slice(&self, name: &str) {
        self.slices.delete(name, &DeleteParams::default()).await.expect("deleted");
    }

    /// A manifest named `shop` with this spec.
    async fn apply(&self, spec: Value) {
        let manifest = json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "Service",
            "metadata": { "name": "shop", "namespace": self.namespace }, "spec": spec,
        });
        apply(self.plane, &manifest).await;
    }

    /// Waits until discovery has exactly these instances of `shop`, each as `NAME URL HEALTH`, with `drained` where that is so.
    async fn until_instances(&self, replica: &Replica, wanted: &[&str]) {
        self.until_instances_of(replica, "shop", wanted).await;
    }

    async fn until_instances_of(&self, replica: &Replica, name: &str, wanted: &[&str]) {
        let shown = || replica.entry(&self.namespace, name).map(|entry| shown(&entry)).unwrap_or_default();
        let started = std::time::Instant::now();
        while shown() != wanted {
            let now = shown();
            assert!(started.elapsed() < crate::sync::replica::AMPLE, "waited in vain until {wanted:?}; it is {now:?}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Reason and message of a condition of `shop`, with its status before the reason: `True Adopted`.
    async fn condition(&self, name: &str, kind: &str) -> (String, String) {
        let status = status(&self.objects, name).await;
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (format!("{} {}", text("status"), text("reason")), text("message"))
    }

    async fn until_adopted(&self, wanted: &str) -> String {
        until(&format!("Adopted is {wanted}"), async || self.condition("shop", "Adopted").await.0 == wanted).await;
        self.condition("shop", "Adopted").await.1
    }

    /// Waits until `kubectl get psvc` shows these columns of `shop`: ready, state and reason.
    async fn until_columns(&self, wanted: [&str; 3]) {
        until(&format!("the status says {wanted:?}"), async || {
            let status = status(&self.objects, "shop").await;
            let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
            [text("ready"), text("state"), text("reason")] == wanted
        })
        .await;
    }
}

fn shown(entry: &Arc<Entry>) -> Vec<String> {
    let drained = |instance: &Instance| if instance.drain.is_some() { " drained" } else { "" };
    let of = |i: &Instance| format!("{} {} {}{}", i.name, i.spec.base_url.as_str(), i.health, drained(i));
    entry.service().instances.iter().map(of).collect()
}

/// A pod's endpoint.
fn pod(name: &str, address: &str, ready: bool) -> Value {
    json!({
        "addresses": [address], "zone": "eu-1a", "targetRef": { "kind": "Pod", "name": name },
        "conditions": { "ready": ready, "serving": ready, "terminating": false },
    })
}

/// The endpoint of a pod that is being deleted.
fn leaving(name: &str, address: &str, serving: bool) -> Value {
    let conditions = json!({ "ready": false, "serving": serving, "terminating": true });
    json!({ "addresses": [address], "targetRef": { "kind": "Pod", "name": name }, "conditions": conditions })
}

/// One port named `http`.
fn http(port: u16) -> Value {
    json!([{ "name": "http", "port": port }])
}
