//! Which pods are Portolan's, and which of them to use.

use std::collections::HashMap;
use std::time::Instant;

use k8s_openapi::api::core::v1::{Container, Pod as Object};

/// The label that `deploy/` gives every pod of Portolan.
pub(super) const LABEL: &str = "app.kubernetes.io/name=portolan";
/// The port of a pod that names none.
const PORT: u16 = 8080;

/// What the tunnel needs to know of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pod {
    pub(super) name: String,
    /// Where its server listens.
    pub(super) port: u16,
    /// Whether its condition `Ready` is true and it is not being deleted.
    pub(super) ready: bool,
}

impl Pod {
    /// Reads an object; none if it has no name, which never happens.
    pub(super) fn read(object: Object) -> Option<Self> {
        let name = object.metadata.name?;
        let conditions = object.status.and_then(|status| status.conditions).unwrap_or_default();
        let says = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let ready = says && object.metadata.deletion_timestamp.is_none();
        let port = object.spec.as_ref().and_then(|spec| port(&spec.containers)).unwrap_or(PORT);
        Some(Self { name, port, ready })
    }
}

/// The port that is named `http`, else the first one.
fn port(containers: &[Container]) -> Option<u16> {
    let ports = || containers.iter().flat_map(|container| container.ports.iter().flatten());
    let named = ports().find(|port| port.name.as_deref() == Some("http"));
    named.or_else(|| ports().next()).and_then(|port| port.container_port.try_into().ok())
}

/// The ready pod to use: one that never failed, else the one whose failure is longest ago; among equals `last`, the one that was used before,
/// else the first in the order of `pods`.
pub(super) fn choose<'a>(pods: &'a [Pod], failed: &HashMap<String, Instant>, last: Option<&str>) -> Option<&'a Pod> {
    let ready = pods.iter().filter(|pod| pod.ready);
    ready.min_by_key(|pod| (failed.get(&pod.name), last != Some(pod.name.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::time::Duration;

    fn pod(name: &str, ready: bool) -> Pod {
        Pod { name: name.to_owned(), port: PORT, ready }
    }

    fn read(object: Value) -> Pod {
        Pod::read(serde_json::from_value(object).expect("a pod")).expect("it has a name")
    }

    #[test]
    fn a_pod_is_ready_when_it_says_so_and_stays() {
        let with = |condition: &str, deleted: Value| {
            let metadata = json!({ "name": "a", "deletionTimestamp": deleted });
            read(json!({ "metadata": metadata, "status": { "conditions": [
                { "type": "Initialized", "status": "True" }, { "type": "Ready", "status": condition },
            ] } }))
        };
        assert!(with("True", Value::Null).ready);
        assert!(!with("False", Value::Null).ready);
        assert!(!with("True", json!("2026-01-01T00:00:00Z")).ready);
        assert!(!read(json!({ "metadata": { "name": "a" } })).ready);
    }

    #[test]
    fn the_port_is_the_one_named_http_wherever_it_is() {
        let with =
            |containers: Value| read(json!({ "metadata": { "name": "a" }, "spec": { "containers": containers } })).port;
        let sidecar = json!({ "name": "proxy", "ports": [{ "containerPort": 15001 }] });
        let own = json!({ "name": "portolan", "ports": [{ "name": "x", "containerPort": 1 }, { "name": "http", "containerPort": 9090 }] });
        assert_eq!(with(json!([sidecar, own])), 9090);
        assert_eq!(with(json!([sidecar])), 15001);
        assert_eq!(with(json!([{ "name": "portolan" }])), PORT);
    }

    #[test]
    fn a_pod_that_failed_is_used_last() {
        let pods = [pod("a", false), pod("b", true), pod("c", true)];
        let chosen = |failed: &HashMap<_, _>, last| choose(&pods, failed, last).map(|pod| pod.name.clone());
        let mut failed = HashMap::new();
        assert_eq!(chosen(&failed, None).as_deref(), Some("b"));
        assert_eq!(chosen(&failed, Some("c")).as_deref(), Some("c"), "no hopping");
        assert_eq!(chosen(&failed, Some("a")).as_deref(), Some("b"), "it is not ready");
        let now = Instant::now();
        failed.insert("c".to_owned(), now);
        assert_eq!(chosen(&failed, Some("c")).as_deref(), Some("b"));
        failed.insert("b".to_owned(), now + Duration::from_secs(1));
        assert_eq!(chosen(&failed, Some("b")).as_deref(), Some("c"), "its failure is older");
        assert_eq!(choose(&pods[..1], &failed, None), None);
    }
}
