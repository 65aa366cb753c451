//! Which replica leads: a small elector over a Lease of coordination.k8s.io.
//!
//! In: the Lease as it is read. Out: writes of the Lease, and this replica's [`Role`].
//!
//! The holder renews every 2 s and relies on a renewal for 10 s; the others take over after 15 s of silence. Every write carries the
//! resourceVersion that it is based on, so of two concurrent writes one is refused.
//!
//! This is not a fence: a write that was on its way when the claim ended may still arrive. So every writer checks the role right before it
//! writes, and writes on condition of the resourceVersion that it judged.
//!
//! 1. [`decide`]: what to do next, without clock and network. `simulation` tests it.
//! 2. [`task`]: reads and writes the Lease. [`state`]: the role, for everything that asks.

mod decide;
#[cfg(test)]
mod simulation;
mod state;
mod task;

use std::net::SocketAddr;
use std::sync::Arc;

use kube::{Api, Client};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

pub use crate::operator::kubernetes::LEASE_NAME as NAME;
pub use decide::{ADDRESS, LEASE, RENEW};
pub use state::Holder;
pub use task::{ElectorTask, POLL};

use crate::model::name::Namespace;
use crate::model::ports::{Leadership, Role};
use crate::telemetry::metrics::Metrics;
use decide::Candidate;
use state::State;

/// Knows whether this replica leads, and who does; cloning shares it.
#[derive(Debug, Clone)]
pub struct Elector {
    state: Arc<State>,
    identity: Arc<str>,
}

impl Elector {
    /// The elector, and the task that does its work. `replica` is this one's name, `address` where the others reach it.
    pub fn new(
        client: Client,
        namespace: &Namespace,
        replica: &str,
        address: Option<SocketAddr>,
        metrics: &Metrics,
    ) -> (Self, ElectorTask) {
        let identity = format!("{replica}_{:08x}", rand::random::<u32>());
        let state = Arc::new(State::new());
        let candidate = Candidate::new(identity.clone(), address);
        let leases = Api::namespaced(client, namespace.as_str());
        let elector = Self { state: Arc::clone(&state), identity: identity.into() };
        metrics.collect_common_with(Box::new(elector.clone()));
        (elector, ElectorTask::new(leases, candidate, state))
    }

    /// This replica's name in the Lease: its own name and a random part, since a pod's name may be used again.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The other replica that holds the Lease, as last seen.
    pub fn holder(&self) -> Option<Holder> {
        self.state.holder()
    }
}

impl Leadership for Elector {
    fn role(&self) -> Role {
        self.state.role()
    }
}

/// `leader_election_master_status`, as client-go's electors call it; computed at the scrape, so it is never behind.
impl Collector for Elector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "1 while this replica leads";
        let mut family = encoder.encode_descriptor("leader_election_master_status", help, None, MetricType::Gauge)?;
        let gauge = ConstGauge::new(i64::from(self.leads()));
        gauge.encode(family.encode_family(&[("name", NAME)])?)
    }
}
