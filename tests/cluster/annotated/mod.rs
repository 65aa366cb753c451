//! Health in objects of other projects, with these projects' definitions.

mod conditions;
mod definitions;
mod instances;
mod leaders;
mod records;
mod refusals;
mod rights;

use control_plane::ControlPlane;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use portolan::operator::annotated::Kind;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::sync::apply;
use crate::sync::backend::Backend;
use crate::sync::replica::until;

/// The type of the condition that the mesh reads.
fn condition_type(kind: Kind) -> &'static str {
    if kind == Kind::WorkloadEntry { "Healthy" } else { "Ready" }
}

fn resource(kind: Kind) -> ApiResource {
    let (group, version, name, plural) = match kind {
        Kind::WorkloadEntry => ("networking.istio.io", "v1", "WorkloadEntry", "workloadentries"),
        Kind::ExternalWorkload => ("workload.linkerd.io", "v1beta1", "ExternalWorkload", "externalworkloads"),
        Kind::DnsEndpoint => ("externaldns.k8s.io", "v1alpha1", "DNSEndpoint", "dnsendpoints"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, name), plural)
}

/// Installs the definitions of the three kinds.
async fn define(plane: &ControlPlane) {
    for definition in [
        control_plane::istio_workload_entry(),
        control_plane::linkerd_external_workload(),
        control_plane::external_dns_endpoint(),
    ] {
        let text = definition.expect("a definition");
        plane.kubectl().run_with(&["apply", "--server-side", "-f", "-"], &text).await.expect("applied");
    }
    for kind in [Kind::WorkloadEntry, Kind::ExternalWorkload, Kind::DnsEndpoint] {
        let ApiResource { group, plural, .. } = resource(kind);
        let name = format!("crd/{plural}.{group}");
        let wait = ["wait", "--for=condition=Established", "--timeout=30s", &name];
        plane.kubectl().run(&wait).await.expect("established");
    }
}

/// A namespace in a control plane that has the definitions.
struct Stage {
    plane: &'static ControlPlane,
    namespace: String,
}

impl Stage {
    async fn new() -> Self {
        let plane = crate::crd::installed().await;
        let namespace = plane.namespace("annotated").await.expect("a namespace");
        Self::at(plane, namespace).await
    }

    /// In a namespace of the shared control plane.
    async fn at(plane: &'static ControlPlane, namespace: String) -> Self {
        static DEFINED: OnceCell<()> = OnceCell::const_new();
        DEFINED.get_or_init(|| define(plane)).await;
        Self { plane, namespace }
    }

    async fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.plane.client().await.expect("a client"), &self.namespace, &resource(kind))
    }

    /// A manifest of the service `orders`.
    fn manifest(&self, instances: &[Value]) -> Value {
        json!({
            "apiVersion": "portolan.dev/v1alpha1", "kind": "Service",
            "metadata": { "name": "orders", "namespace": self.namespace },
            "spec": { "check": { "intervalSeconds": 1 }, "instances": instances },
        })
    }

    async fn apply(&self, manifest: &Value) {
        apply(self.plane, manifest).await;
    }

    /// Applies an object of the kind with these annotations and this spec.
    async fn put(&self, kind: Kind, name: &str, annotations: &Value, spec: &Value) {
        let ApiResource { api_version, kind, .. } = resource(kind);
        let object = json!({
            "apiVersion": api_version, "kind": kind, "spec": spec,
            "metadata": { "name": name, "namespace": self.namespace, "annotations": annotations },
        });
        self.apply(&object).await;
    }

    async fn get(&self, kind: Kind, name: &str) -> DynamicObject {
        self.api(kind).await.get(name).await.expect("it is there")
    }

    async fn revision(&self, kind: Kind, name: &str) -> String {
        self.get(kind, name).await.metadata.resource_version.expect("a version")
    }

    /// Patches the status of an object as somebody else.
    async fn patch_status(&self, kind: Kind, name: &str, status: &Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        self.api(kind).await.patch_status(name, &PatchParams::default(), &patch).await.expect("patched");
    }

    /// Status, reason and message of the condition that the mesh reads.
    async fn condition(&self, kind: Kind, name: &str) -> [String; 3] {
        let object = self.get(kind, name).await;
        let all = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let own: Vec<Value> = all.into_iter().filter(|one| one["type"] == condition_type(kind)).collect();
        assert!(own.len() <= 1, "{own:?}");
        let own = own.into_iter().next().unwrap_or_default();
        ["status", "reason", "message"].map(|field| own[field].as_str().unwrap_or_default().to_owned())
    }

    async fn until_condition(&self, kind: Kind, name: &str, status: &str, reason: &str) {
        until(&format!("{name} is {status} with {reason}"), async || {
            let [is, why, _] = self.condition(kind, name).await;
            (&*is, &*why) == (status, reason)
        })
        .await;
    }

    /// The targets of each endpoint of a DNSEndpoint.
    async fn targets(&self, name: &str) -> Vec<Vec<String>> {
        let object = self.get(Kind::DnsEndpoint, name).await;
        let endpoints = object.data["spec"]["endpoints"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        endpoints.iter().map(|one| one["targets"].as_array().into_iter().flatten().map(text).collect()).collect()
    }

    async fn until_targets(&self, name: &str, wanted: &[&[&str]]) {
        until(&format!("the targets are {wanted:?}"), async || self.targets(name).await == wanted).await;
    }

    /// What Portolan notes on a DNSEndpoint.
    async fn note(&self, name: &str) -> String {
        let object = self.get(Kind::DnsEndpoint, name).await;
        object.metadata.annotations.unwrap_or_default().remove("portolan.dev/targets").unwrap_or_default()
    }

    async fn until_note(&self, name: &str, word: &str) {
        until(&format!("it notes {word}"), async || self.note(name).await.starts_with(&format!("{word}: "))).await;
    }
}

/// An instance at `address`, whose health is that of `backend`.
fn instance(name: &str, address: &str, backend: &Backend) -> Value {
    json!({ "name": name, "baseUrl": format!("postgres://{address}"), "healthUrl": backend.url() })
}

/// The annotations that name the service `orders`, and let Istio read the condition.
fn orders() -> Value {
    json!({ "portolan.dev/service": "orders", "proxy.istio.io/health-checks-enabled": "true" })
}

/// A machine of Linkerd's at these addresses.
fn external(ips: &[&str], ports: &[u16]) -> Value {
    let ips: Vec<Value> = ips.iter().map(|ip| json!({ "ip": ip })).collect();
    let ports: Vec<Value> = ports.iter().map(|port| json!({ "port": port })).collect();
    json!({ "meshTLS": { "identity": "a", "serverName": "a" }, "workloadIPs": ips, "ports": ports })
}
