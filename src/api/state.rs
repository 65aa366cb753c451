//! What handlers work with: the API's ports to the other parts of Portolan, and the limits that all requests share.

use std::sync::Arc;

use super::access::Access;
use super::http::in_flight::InFlight;
use super::watch::WatchLimiter;
use crate::catalog::Catalog;
use crate::model::name::Namespace;
use crate::model::ports::{
    AddressGate, EmptyServices, Freshness, Heartbeats, NamespacePolicies, OnDemand, PassOn, Probing, Registrar,
};
use crate::store::Store;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::audit::AuditLog;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::server_events::EventReceiver;

/// Settings that handlers read.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// The namespace of a request that names none.
    pub default_namespace: Namespace,
    /// Whether `/metrics` includes series per service.
    pub service_metrics: bool,
}

/// Everything that requests are answered from. Built once, by `app`; a handler takes the parts that it needs.
pub struct ApiState {
    /// The read model.
    pub catalog: Arc<Catalog>,
    /// Makes registrations durable.
    pub registrar: Arc<dyn Registrar>,
    /// Checks a service now.
    pub on_demand: Arc<dyn OnDemand>,
    /// Counts heartbeats.
    pub heartbeats: Arc<dyn Heartbeats>,
    /// Reports streaks, samples and next probes.
    pub probing: Arc<dyn Probing>,
    /// Decides which addresses may be registered.
    pub addresses: Arc<dyn AddressGate>,
    /// What applies to the services of a namespace.
    pub policies: Arc<dyn NamespacePolicies>,
    /// Reads history.
    pub history: Store,
    /// Admits or refuses each request.
    pub access: Access,
    /// Gets a line per request.
    pub access_log: AccessLog,
    /// Gets a line per write.
    pub audit: AuditLog,
    /// The process's metrics.
    pub metrics: Metrics,
    /// The components that `/readyz` reports.
    pub readiness: Arc<dyn Readiness>,
    /// Knows services that have no instance now; none where every service has one.
    pub empty_services: Option<Arc<dyn EmptyServices>>,
    /// How old the mirror may be; none where nothing is mirrored.
    pub freshness: Option<Arc<dyn Freshness>>,
    /// Forwards to the leader; none where there are no other replicas.
    pub pass_on: Option<Arc<dyn PassOn>>,
    /// The server's own events, which watches send.
    pub server_events: EventReceiver,
    /// Bounds the number of watches.
    pub watches: Arc<WatchLimiter>,
    /// Bounds the memory of answers.
    pub in_flight: Arc<InFlight>,
    /// Bounds the memory of request bodies.
    pub bodies: Arc<InFlight>,
    /// Settings that handlers read.
    pub settings: ApiSettings,
}

/// One component that must work before Portolan is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name: `store`, `prober`, …
    pub name: &'static str,
    /// Whether it works.
    pub state: PartState,
}

/// Whether a component works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartState {
    /// It works; the text says how.
    Ready(String),
    /// It does not; the text says why.
    NotReady(String),
}

impl Part {
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, PartState::Ready(_))
    }
}

/// Reports whether Portolan is ready.
pub trait Readiness: Send + Sync + 'static {
    /// Every component, ready or not.
    fn parts(&self) -> Vec<Part>;
}
