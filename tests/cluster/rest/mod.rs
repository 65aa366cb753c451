//! Registrations over REST in cluster mode.

mod away;
mod objects;
mod server;
mod takeover;
mod together;

use control_plane::{ControlPlane, Kubeconfig};
use kube::api::Api;
use portolan::operator::crd::ServiceResource;

use server::{Server, Setup};

/// The shared control plane with the CRD, and a namespace in it.
async fn place(prefix: &str) -> (&'static ControlPlane, String) {
    let plane = crate::crd::installed().await;
    (plane, plane.namespace(prefix).await.expect("a namespace"))
}

/// A replica that may do everything in one namespace.
async fn replica(plane: &ControlPlane, namespace: &str) -> Server {
    of(plane.admin(), namespace).start().await
}

fn of<'a>(kubeconfig: &'a Kubeconfig, namespace: &str) -> Setup<'a> {
    Setup { writes_as: kubeconfig, watches_as: None, namespaces: vec![namespace.to_owned()], max_services: 0 }
}

async fn services(plane: &ControlPlane, namespace: &str) -> Api<ServiceResource> {
    Api::namespaced(plane.client().await.expect("a client"), namespace)
}

fn manifest(namespace: &str, name: &str) -> String {
    format!(
        "{{apiVersion: portolan.dev/v1alpha1, kind: Service, metadata: {{name: {name}, namespace: {namespace}}}, \
         spec: {{instances: [{{name: a, baseUrl: \"http://10.0.0.9:80\"}}]}}}}"
    )
}
