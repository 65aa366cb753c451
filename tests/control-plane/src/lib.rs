//! A real etcd and kube-apiserver on free ports, for tests, benches and examples; nothing is simulated.
//!
//! [`Assets::find_or_build`] finds the programs: in the folder that `KUBEBUILDER_ASSETS` names, or else in a cache folder, where it builds
//! them from the Go modules of this folder's `go.mod` at the first use. [`ControlPlane::start`] runs them; they end with the value that it
//! gives, and with the process however that ends. [`Proxy`] stands between a client and the API server and breaks the connection in the
//! ways a network does.

mod assets;
mod audit;
mod certificates;
mod compile;
mod core_dns;
mod foreign;
mod guarded;
mod kubeconfig;
mod kubectl;
mod node;
mod options;
mod plane;
mod ports;
mod programs;
mod proxy;
mod ready;
mod signals;

pub use assets::Assets;
pub use audit::{Audit, Request};
pub use core_dns::CoreDns;
pub use foreign::{external_dns_endpoint, istio_workload_entry, linkerd_external_workload};
pub use guarded::Guarded;
pub use kubeconfig::Kubeconfig;
pub use kubectl::{Kubectl, Refused};
pub use node::Node;
pub use options::Options;
pub use plane::ControlPlane;
pub use proxy::Proxy;
pub use signals::pause;
