//! Which replica leads: one small elector over a Lease of coordination.k8s.io.
//!
//! The holder renews every 2 s; it counts on a renewal for 10 s, and others take over after 15 s of silence. Every write carries the
//! resourceVersion that it goes by, so of two that write at the same time one is refused.
//!
//! It is no fence: a write that was on its way when the claim ended may still land. So whoever writes asks right before, and writes with
//! the resourceVersion of what it judged.

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

pub use decide::{ADDRESS, LEASE, RENEW};
pub use state::Holder;
pub use task::{ElectorTask, POLL};

use crate::model::name::Namespace;
use crate::model::ports::{Leadership, Role};
use crate::telemetry::metrics::Metrics;
use decide::Candidate;
use state::State;

/// The Lease's name.
pub const NAME: &str = "portolan";

/// Tells whether this replica leads, and who does; cloning shares it.
#[derive(Debug, Clone)]
pub struct Elector {
    state: Arc<State>,
    identity: Arc<str>,
}

impl Elector {
    /// The elector and the task that does its work. `replica` is what this one calls itself, `address` where the others reach it.
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

    /// What this replica calls itself in the Lease: its name and a random part, since a name may come back.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The other replica that holds the Lease, as it was last seen.
    pub fn holder(&self) -> Option<Holder> {
        self.state.holder()
    }
}

impl Leadership for Elector {
    fn role(&self) -> Role {
        self.state.role()
    }
}

/// `leader_election_master_status`, the name that client-go's electors have: made at the scrape, so it is never behind.
impl Collector for Elector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "1 while this replica leads";
        let mut family = encoder.encode_descriptor("leader_election_master_status", help, None, MetricType::Gauge)?;
        let gauge = ConstGauge::new(i64::from(self.leads()));
        gauge.encode(family.encode_family(&[("name", NAME)])?)
    }
}
