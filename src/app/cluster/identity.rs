//! Who this replica is: its name, its namespaces, and the addresses that it must not probe.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::app::AppError;
use crate::app::component_settings;
use crate::app::startup::Startup;
use crate::config::ClusterSettings;
use crate::model::name::Namespace;
use crate::operator::kubernetes::client::Access;
use crate::prober::AddressPolicy;

/// The kubelet's ports: from inside a node, they give control over its pods.
const KUBELET_PORTS: [u16; 2] = [10250, 10255];

pub(super) struct ReplicaIdentity {
    /// Its own namespace, where the Lease is.
    pub(super) namespace: Namespace,
    /// Its name in the Lease and in events.
    pub(super) name: String,
    /// Where the other replicas reach it, if known.
    pub(super) address: Option<SocketAddr>,
    /// Where registrations may go; at least one.
    pub(super) rest_namespaces: Vec<Namespace>,
    /// The namespace of a request that names none.
    pub(super) default_namespace: Namespace,
    pub(super) policy: AddressPolicy,
}

impl ReplicaIdentity {
    pub(super) async fn new(startup: &Startup, cluster: &ClusterSettings, access: &Access) -> Result<Self, AppError> {
        let namespace = match &cluster.pod_namespace {
            Some(given) => given.clone(),
            None => access.namespace()?,
        };
        let rest_namespaces = cluster.rest_namespaces(&namespace)?;
        let first = rest_namespaces.first().unwrap_or(&namespace).clone();
        let own = cluster.pod_ip.or(Some(startup.address.ip())).filter(|ip| !ip.is_unspecified());
        if own.is_none() {
            tracing::warn!("other replicas cannot forward requests to this one while it leads: set POD_IP");
        }
        let mut denied = access.server_addresses().await;
        denied.extend(own);
        Ok(Self {
            name: cluster.pod_name.clone().unwrap_or_else(host_name),
            address: own.map(|ip| SocketAddr::new(ip, startup.address.port())),
            default_namespace: startup.settings.default_namespace.clone().unwrap_or(first),
            policy: policy(startup, denied),
            rest_namespaces,
            namespace,
        })
    }
}

/// Denies loopback, this replica, the API server and the kubelets; the watch of replicas adds the others.
fn policy(startup: &Startup, denied: Vec<IpAddr>) -> AddressPolicy {
    AddressPolicy {
        allow_loopback: false,
        denied_ports: KUBELET_PORTS.to_vec(),
        denied_by_default: denied.into_iter().map(IpNet::from).collect(),
        ..component_settings::policy(&startup.settings, startup.own_addresses())
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
