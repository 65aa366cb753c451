//! What is kept of a core Service.

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;

/// A core Service, as far as adopting needs it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CoreService {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Number and name of each of its TCP ports, in its order; the name of an only port may be empty.
    pub ports: Vec<(u16, String)>,
    /// Whether its first addresses are IPv6.
    pub is_v6: bool,
    /// Whether it is an alias of a DNS name, and has no endpoints.
    pub is_external: bool,
    /// Whether Kubernetes keeps its endpoints.
    pub selects: bool,
    /// The value of the label `portolan.dev/adopt`.
    pub label: Option<String>,
}

/// The label that adopts a core Service, or all of a namespace.
const ADOPT_LABEL: &str = "portolan.dev/adopt";
/// The label of an object that Portolan keeps for a core Service with that label.
pub(in crate::operator) const ADOPTED_LABEL: &str = "portolan.dev/adopted";

impl From<Service> for CoreService {
    fn from(service: Service) -> Self {
        let (namespace, name) = (service.namespace().unwrap_or_default(), service.name_any());
        let label = service.labels().get(ADOPT_LABEL).cloned();
        let uid = service.uid().unwrap_or_default();
        let spec = service.spec.unwrap_or_default();
        let tcp = spec.ports.unwrap_or_default().into_iter().filter(|port| is_tcp(port.protocol.as_deref()));
        Self {
            namespace,
            name,
            uid,
            ports: tcp.filter_map(|p| Some((u16::try_from(p.port).ok()?, p.name.unwrap_or_default()))).collect(),
            is_v6: spec.ip_families.unwrap_or_default().first().is_some_and(|family| family == "IPv6"),
            is_external: spec.type_.as_deref() == Some("ExternalName"),
            selects: spec.selector.is_some_and(|selector| !selector.is_empty()),
            label,
        }
    }
}

/// Whether a port speaks TCP, which is the default.
pub(super) fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.unwrap_or("TCP") == "TCP"
}
