//! From the Kubernetes API to the catalog and back.

pub(crate) mod backend;
mod barred;
mod checks;
mod drains;
mod faults;
mod installs;
mod refusals;
pub(crate) mod replica;
mod reporting;
mod watching;

use control_plane::ControlPlane;
use kube::api::{Api, ApiResource, DynamicObject};
use portolan::operator::crd::ServiceResource;
use serde_json::{Value, json};

use replica::until;

/// The CRD that is shipped.
const DEFINITION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds/service.yaml");

/// Installs the CRD, and waits until it is served.
async fn install(plane: &ControlPlane) {
    plane.kubectl().run(&["apply", "--server-side", "-f", DEFINITION]).await.expect("the CRD");
    plane.kubectl().until_established("services.portolan.dev").await.expect("it is served");
}

/// The shared control plane with the CRD, and a namespace in it.
async fn shared(prefix: &str) -> (&'static ControlPlane, String) {
    let plane = crate::crd::installed().await;
    (plane, plane.namespace(prefix).await.expect("a namespace"))
}

/// Any object of the kind.
pub(crate) async fn objects(plane: &ControlPlane, namespace: &str) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<ServiceResource>(&());
    Api::namespaced_with(plane.client().await.expect("a client"), namespace, &kind)
}

/// A manifest whose instances are `a`, `b`, … at `urls`, probed by tcp every second.
pub(crate) fn manifest(namespace: &str, name: &str, urls: &[String]) -> Value {
    let instance = |(n, url): (usize, &String)| json!({ "name": format!("{}", (b'a' + u8::try_from(n).expect("few")) as char), "baseUrl": url });
    json!({
        "apiVersion": "portolan.dev/v1alpha1",
        "kind": "Service",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "check": { "tcp": {}, "intervalSeconds": 1 },
            "instances": urls.iter().enumerate().map(instance).collect::<Vec<_>>(),
        },
    })
}

pub(crate) async fn apply(plane: &ControlPlane, manifest: &Value) {
    plane.kubectl().apply(&manifest.to_string()).await.expect("applied");
}

/// The status of an object, without its times.
pub(crate) async fn status(objects: &Api<DynamicObject>, name: &str) -> Value {
    let mut status = objects.get(name).await.expect("it is there").data["status"].take();
    drop_times(&mut status);
    status
}

fn drop_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !["since", "lastTransitionTime", "probeHash"].contains(&name.as_str()));
            fields.values_mut().for_each(drop_times);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_times),
        _ => {}
    }
}

/// Waits until the condition of that type has this status.
async fn until_condition(objects: &Api<DynamicObject>, name: &str, kind: &str, is: &str) {
    until(&format!("{name} has {kind}={is}"), async || {
        let object = objects.get(name).await.expect("it is there");
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == is)
    })
    .await;
}
