//! Wires the components and runs them until shutdown.
//!
//! In: [`Settings`] and [`RunOptions`]. Out: a server that listens, then an orderly end or an [`AppError`].
//!
//! Read in this order: this file (standalone mode), `startup` (what both modes wire alike), `cluster` (what a cluster adds),
//! `tasks` (the set of long-running tasks, and how they stop), `component_settings` (what each component is set to), `probing` (the
//! second runtime), `component_status` and `readiness` (what `/readyz` and server events report), `descriptors`, `reload`.

mod cluster;
mod component_settings;
mod component_status;
mod descriptors;
mod probing;
mod readiness;
mod reload;
mod startup;
mod tasks;

use std::net::SocketAddr;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{BoxStream, pending};
use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::api::access::SecretsError;
use crate::api::conn::ConnError;
use crate::api::tls::TlsError;
use crate::config::{Mode, NotWatched, Settings};
use crate::model::ports::{AlwaysLeads, AnyNamespace};
use crate::operator::kubernetes::client::ClientError;
use crate::operator::replicas::pass_on::LeaderLineError;
use crate::prober::AddressPolicy;
use crate::store::{OpenError, StoreSettings, TimedEnds};
use crate::telemetry::audit::AuditError;
use component_status::{EventReporter, StatusSource};
use readiness::StatusReadiness;
use startup::Startup;
use tasks::{ShutdownStage, Tasks};

pub use tasks::TaskError;

/// How the server with these settings opens its store, in standalone mode.
pub fn store_settings(settings: &Settings) -> StoreSettings {
    component_settings::store_settings(settings, None)
}

/// Where the server with these settings may probe, in standalone mode.
pub fn address_policy(settings: &Settings) -> AddressPolicy {
    component_settings::policy(settings, [settings.listen()].into_iter().chain(settings.metrics_address))
}

/// Why the server did not start, or did not end well. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {why}; {hint}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The system's error.
        why: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// The system gives no more threads.
    #[error("cannot start the probing threads: {0}; raise the limit of processes (ulimit -u, or the pod's pids limit)")]
    Threads(std::io::Error),
    /// The listening socket broke.
    #[error(transparent)]
    Connections(#[from] ConnError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The secrets cannot be used.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The audit file cannot be used.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No Kubernetes API is configured.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Registrations would go to a namespace that is not watched.
    #[error(transparent)]
    NotWatched(#[from] NotWatched),
    /// No HTTP client for requests to the leader.
    #[error(transparent)]
    LeaderLine(#[from] LeaderLineError),
    /// A component ended.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// What the caller of [`run`] provides besides the settings.
pub struct RunOptions {
    /// Cancel it to stop the server.
    pub shutdown: CancellationToken,
    /// Each item makes the server read its secrets, certificates and keys again at once.
    pub reload: BoxStream<'static, ()>,
    /// Where access lines go.
    pub access_log: Option<Box<dyn std::io::Write + Send>>,
    /// Counts the lines that the process's log drops.
    pub log_dropped: Counter,
}

impl RunOptions {
    /// For a server inside another program, without an access log.
    pub fn without_log(shutdown: CancellationToken) -> Self {
        Self { shutdown, reload: pending().boxed(), access_log: None, log_dropped: Counter::default() }
    }
}

/// Starts the server, calls `ready` with the address that it listens on, runs until `options.shutdown`, then stops in order.
///
/// # Errors
/// [`AppError`] if a component cannot start, ends unexpectedly, or does not stop within `PORTOLAN_SHUTDOWN_SECONDS`.
pub async fn run(settings: Settings, options: RunOptions, ready: impl FnOnce(SocketAddr)) -> Result<(), AppError> {
    match settings.mode.clone() {
        Mode::Standalone => Box::pin(standalone(Startup::new(settings, options)?, ready)).await,
        Mode::Cluster(cluster) => Box::pin(cluster::run(Startup::new(settings, options)?, &cluster, ready)).await,
    }
}

/// The store is the record, and this process does everything.
async fn standalone(mut startup: Startup, ready: impl FnOnce(SocketAddr)) -> Result<(), AppError> {
    let policy = component_settings::policy(&startup.settings, startup.own_addresses());
    let core = startup.core(None, policy.clone(), Arc::new(AnyNamespace), Arc::new(AlwaysLeads), None)?;
    let status = startup.local_status(&core);
    let status: Arc<dyn StatusSource> = Arc::new(status);
    let reporter = EventReporter::new(Arc::clone(&status), startup.shutdown.clone());
    let default_namespace = startup.settings.default_namespace.clone().unwrap_or_default();
    let access = startup.access(&default_namespace, None);
    let state = startup.api_state(
        &core,
        Arc::new(core.store.clone()),
        Arc::new(policy),
        Arc::new(StatusReadiness(status)),
        reporter.subscribe(),
        (access, default_namespace),
    );
    let timed_ends = TimedEnds::new(core.store.clone(), startup.clock.clone());
    let api = Api::new(state);
    let mut tasks = Tasks::new();
    let registrar = Arc::new(core.store.clone());
    core.start(&mut tasks, &startup.probing, registrar);
    tasks.start(ShutdownStage::Reporting, "the end of drains and acknowledgements", |stop| timed_ends.run(stop));
    tasks.start(ShutdownStage::Serving, "the reporter", |stop| reporter.run(stop));
    startup.announce();
    startup.serve(api, tasks, ready).await
}
