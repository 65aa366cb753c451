//! Where this replica is: its name, its namespace, and what it must not probe.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::app::AppError;
use crate::app::base::Base;
use crate::app::parts;
use crate::config::ClusterSettings;
use crate::model::name::Namespace;
use crate::operator::kubernetes::client::Access;
use crate::prober::AddressPolicy;

/// The kubelet's ports: whoever asks them from inside a node may run things on it.
const KUBELET: [u16; 2] = [10250, 10255];

/// What is known of it before anything runs.
pub(super) struct Place {
    /// Its own namespace, where the Lease is.
    pub(super) namespace: Namespace,
    /// What it calls itself.
    pub(super) replica: String,
    /// Where the other replicas reach it; none where nobody said.
    pub(super) address: Option<SocketAddr>,
    /// Where registrations may go; at least one.
    pub(super) rest_namespaces: Vec<Namespace>,
    /// That of a request which names none.
    pub(super) default_namespace: Namespace,
    /// What may be probed.
    pub(super) policy: AddressPolicy,
}

impl Place {
    pub(super) async fn new(base: &Base, told: &ClusterSettings, access: &Access) -> Result<Self, AppError> {
        let namespace = match &told.pod_namespace {
            Some(given) => given.clone(),
            None => access.namespace()?,
        };
        let rest_namespaces = told.rest_namespaces(&namespace)?;
        let first = rest_namespaces.first().unwrap_or(&namespace).clone();
        let own = told.pod_ip.or(Some(base.address.ip())).filter(|ip| !ip.is_unspecified());
        if own.is_none() {
            tracing::warn!("the other replicas cannot pass requests on to this one while it leads: set POD_IP");
        }
        let mut denied = access.server_addresses().await;
        denied.extend(own);
        Ok(Self {
            replica: told.pod_name.clone().unwrap_or_else(host_name),
            address: own.map(|ip| SocketAddr::new(ip, base.address.port())),
            default_namespace: base.settings.default_namespace.clone().unwrap_or(first),
            policy: policy(base, denied),
            rest_namespaces,
            namespace,
        })
    }
}

/// Neither loopback, nor this replica, nor the API server, nor the kubelets; the watch of replicas adds the others.
fn policy(base: &Base, denied: Vec<IpAddr>) -> AddressPolicy {
    AddressPolicy {
        allow_loopback: false,
        denied_ports: KUBELET.to_vec(),
        denied_by_default: denied.into_iter().map(IpNet::from).collect(),
        ..parts::policy(&base.settings, base.address)
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
