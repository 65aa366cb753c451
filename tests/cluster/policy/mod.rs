//! Policies of namespaces, and which namespaces are watched.
//!
//! Policies are cluster-wide, so those of a test select its own namespace by a label that has the namespace's name.

mod applying;
mod checks;
mod listener;
mod networks;
mod rest;
mod starting;
mod watching;

use control_plane::ControlPlane;
use kube::api::{Api, DynamicObject};
use portolan::model::ports::{InstanceProbing, Probing as _};
use serde_json::{Value, json};

use crate::sync::replica::{Replica, until};
use crate::sync::{apply, objects, status};

/// The label by which a test's policies select its namespace.
const LABEL: &str = "policy-test";

/// A labelled namespace.
struct Stage {
    plane: &'static ControlPlane,
    namespace: String,
    objects: Api<DynamicObject>,
}

impl Stage {
    async fn new() -> Self {
        let plane = crate::crd::installed().await;
        Self::at(plane, plane.namespace("policy").await.expect("a namespace")).await
    }

    async fn at(plane: &'static ControlPlane, namespace: String) -> Self {
        let objects = objects(plane, &namespace).await;
        let stage = Self { plane, namespace, objects };
        stage.label(&format!("{LABEL}={}", stage.namespace)).await;
        stage
    }

    /// Sets or removes a label of the namespace.
    async fn label(&self, label: &str) {
        let args = ["label", "--overwrite", "namespace", &self.namespace, label];
        self.plane.kubectl().run(&args).await.expect("labelled");
    }

    /// The name of one of the test's policies.
    fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.namespace)
    }

    /// A policy for this namespace, or for what the spec selects.
    async fn policy(&self, name: &str, spec: Value) {
        apply(self.plane, &self.policy_object(name, spec)).await;
    }

    fn policy_object(&self, name: &str, mut spec: Value) -> Value {
        if spec.get("namespaceSelector").is_none() {
            spec["namespaceSelector"] = json!({ "matchLabels": { LABEL: self.namespace } });
        }
        json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "NamespacePolicy",
            "metadata": { "name": self.named(name) }, "spec": spec,
        })
    }

    async fn delete_policy(&self, name: &str) {
        let args = ["delete", "namespacepolicies", &self.named(name)];
        self.plane.kubectl().run(&args).await.expect("deleted");
    }

    /// A field of a policy's status, as text.
    async fn policy_status(&self, name: &str, path: &str) -> String {
        let path = format!("-o=jsonpath={{.status.{path}}}");
        let args = ["get", "namespacepolicies", &self.named(name), &path];
        self.plane.kubectl().run(&args).await.expect("an answer")
    }

    /// A manifest named `shop` with this spec.
    async fn apply(&self, spec: Value) {
        let manifest = json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "Service",
            "metadata": { "name": "shop", "namespace": self.namespace }, "spec": spec,
        });
        apply(self.plane, &manifest).await;
    }

    /// Status and reason of a condition of `shop`, as `True Accepted`, and its message.
    async fn condition(&self, kind: &str) -> (String, String) {
        let status = status(&self.objects, "shop").await;
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (format!("{} {}", text("status"), text("reason")), text("message"))
    }

    /// Waits until that condition is `wanted`, and returns its message.
    async fn until(&self, kind: &str, wanted: &str) -> String {
        until(&format!("{kind} is {wanted}"), async || self.condition(kind).await.0 == wanted).await;
        self.condition(kind).await.1
    }

    /// Waits until the status of an instance of `shop` has this reason, and returns its message.
    async fn until_reason(&self, instance: &str, reason: &str) -> String {
        let mut message = String::new();
        until(&format!("{instance} is {reason}"), async || {
            let status = status(&self.objects, "shop").await;
            let all = status["instances"].as_array().cloned().unwrap_or_default();
            let found = all.into_iter().find(|one| one["name"] == instance).unwrap_or_default();
            found["message"].as_str().unwrap_or_default().clone_into(&mut message);
            found["reason"] == reason
        })
        .await;
        message
    }

    /// What the prober knows of the instances of `shop`.
    async fn probing(&self, replica: &Replica) -> Vec<InstanceProbing> {
        let Some(entry) = replica.entry(&self.namespace, "shop") else { return Vec::new() };
        let found = replica.on_demand.probing(vec![entry.service().id]).await.unwrap_or_default();
        found.into_iter().flat_map(|(_, instances)| instances).collect()
    }
}
