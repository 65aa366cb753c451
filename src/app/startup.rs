//! What both modes wire in the same way: [`Startup`] before anything runs, [`Core`] with store and prober, and the API on top.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::component_status::LocalStatus;
use super::descriptors::Descriptors;
use super::probing::ProbingRuntime;
use super::tasks::{ShutdownStage, Tasks};
use super::{AppError, RunOptions, component_settings, reload};
use crate::api::access::{Access, AccountSettings, Secrets};
use crate::api::conn::ConnSettings;
use crate::api::tls::{ServerTls, TlsRefresher};
use crate::api::{
    Api, ApiSettings, ApiState, InFlight, InFlightLimits, MetricsPort, Readiness, WatchLimiter, WatchLimits, conn,
};
use crate::catalog::{Catalog, Epoch};
use crate::config::{LogFormat, Settings};
use crate::model::name::Namespace;
use crate::model::ports::{
    AddressGate, AnyNamespace, Authority, CertificateObjects, Leadership, NameLookup, NamespacePolicies, Registrar,
};
use crate::model::reachability::Reachability;
use crate::model::time::Clock;
use crate::prober::AddressPolicy;
use crate::prober::{DialSettings, Dialer};
use crate::prober::{Prober, ProberHandle};
use crate::store::{Opened, Store, Writer};
use crate::telemetry::access_log::{AccessLog, AccessLogWriter};
use crate::telemetry::audit::AuditLog;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::process::ProcessMetrics;
use crate::telemetry::server_events::EventReceiver;

/// Everything that exists before the first component runs.
pub(super) struct Startup {
    pub(super) settings: Settings,
    pub(super) shutdown: CancellationToken,
    pub(super) address: SocketAddr,
    pub(super) listener: TcpListener,
    metrics_listener: Option<(TcpListener, SocketAddr)>,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) descriptors: Descriptors,
    pub(super) probing: ProbingRuntime,
    pub(super) reachability: Reachability,
    pub(super) tls: Option<ServerTls>,
    secrets: Option<Secrets>,
    reload: BoxStream<'static, ()>,
    audit: AuditLog,
    access_log: AccessLog,
    access_log_writer: Option<AccessLogWriter>,
}

/// The store and the prober.
pub(super) struct Core {
    pub(super) store: Store,
    pub(super) catalog: Arc<Catalog>,
    pub(super) probing: ProberHandle,
    /// Resolves names as probes do.
    pub(super) names: Arc<dyn NameLookup>,
    writer: Writer,
    prober: Prober,
}

impl Startup {
    pub(super) fn new(settings: Settings, options: RunOptions) -> Result<Self, AppError> {
        let (clock, metrics) = (Clock::system(), Metrics::counting(options.log_dropped));
        metrics.collect_common_with(Box::new(ProcessMetrics::starting()));
        let descriptors = Descriptors::raise();
        let listener = component_settings::listen(&settings)?;
        let address = listener.local_addr().map_err(|why| component_settings::cannot_listen(&settings, why))?;
        let metrics_listener = component_settings::listen_for_metrics(&settings)?;
        let secrets = component_settings::secrets(&settings)?;
        let audit = component_settings::audit(&settings, &metrics)?;
        let tls = component_settings::tls(&settings, &metrics)?;
        let (access_log, access_log_writer) = match options.access_log {
            Some(out) => {
                let (log, writer) = AccessLog::new(settings.log_format == LogFormat::Json, out, &metrics);
                (log, Some(writer))
            }
            None => (AccessLog::off(), None),
        };
        let shutdown = options.shutdown;
        Ok(Self {
            settings,
            shutdown,
            address,
            listener,
            metrics_listener,
            clock,
            metrics,
            descriptors,
            probing: ProbingRuntime::start()?,
            reachability: Reachability::default(),
            tls,
            secrets,
            reload: options.reload,
            audit,
            access_log,
            access_log_writer,
        })
    }

    /// Opens the store (with an `epoch`, as a mirror) and sets up the prober, which reads certificates of `objects` if there are any.
    pub(super) fn core(
        &self,
        epoch: Option<Epoch>,
        policy: AddressPolicy,
        policies: Arc<dyn NamespacePolicies>,
        leadership: Arc<dyn Leadership>,
        objects: Option<Arc<dyn CertificateObjects>>,
    ) -> Result<Core, AppError> {
        let settings = component_settings::store_settings(&self.settings, epoch);
        let Opened { store, writer, catalog, probes } = Store::open_with(
            settings,
            component_settings::consent(&self.settings),
            self.clock.clone(),
            self.metrics.clone(),
        )?;
        let settings = component_settings::dial_settings(&self.settings, policy, self.descriptors, &self.metrics);
        let dialer = Dialer::new(DialSettings { objects, ..settings });
        let names = Arc::new(dialer.clone());
        let (prober, probing) = Prober::new(
            component_settings::prober_settings(&self.settings, self.descriptors, self.reachability.clone(), policies),
            dialer,
            store.clone(),
            probes,
            leadership,
            self.clock.clone(),
            self.metrics.clone(),
        );
        Ok(Core { store, catalog, probing, names, writer, prober })
    }

    /// Where this server listens.
    pub(super) fn own_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let metrics = self.metrics_listener.as_ref().map(|(_, address)| *address);
        [self.address].into_iter().chain(metrics)
    }

    /// The components that every server has.
    pub(super) fn local_status(&self, core: &Core) -> LocalStatus {
        let prober = Arc::clone(core.probing.status());
        LocalStatus::new(core.store.clone(), prober, self.audit.clone(), self.tls.clone(), self.shutdown.clone())
    }

    pub(super) fn conn_settings(&self) -> ConnSettings {
        let (reachability, tls) = (self.reachability.clone(), self.tls.clone());
        component_settings::conn_settings(&self.settings, self.descriptors, reachability, tls)
    }

    /// Who may ask for what: with auth on by tokens that the secrets sign, and in a cluster (`accounts`) by those of its ServiceAccounts.
    pub(super) fn access(
        &mut self,
        default_namespace: &Namespace,
        accounts: Option<(Arc<dyn Authority>, AccountSettings)>,
    ) -> Access {
        let settings = component_settings::access_settings(&self.settings, default_namespace.clone());
        let (secrets, metrics, clock) = (self.secrets.take(), self.metrics.clone(), self.clock.clone());
        match accounts.filter(|_| self.settings.auth.is_some()) {
            Some(accounts) => Access::in_cluster(settings, secrets, accounts, metrics, clock),
            None => Access::new(settings, secrets, metrics, clock),
        }
    }

    /// What the API stands on, as in standalone mode: nothing is mirrored and there is no other replica.
    pub(super) fn api_state(
        &mut self,
        core: &Core,
        registrar: Arc<dyn Registrar>,
        addresses: Arc<dyn AddressGate>,
        readiness: Arc<dyn Readiness>,
        server_events: EventReceiver,
        (access, default_namespace): (Access, Namespace),
    ) -> ApiState {
        let connections = self.conn_settings();
        ApiState {
            catalog: Arc::clone(&core.catalog),
            registrar,
            on_demand: Arc::new(core.probing.clone()),
            heartbeats: Arc::new(core.probing.clone()),
            probing: Arc::new(core.probing.clone()),
            addresses,
            policies: Arc::new(AnyNamespace),
            history: core.store.clone(),
            access,
            access_log: self.access_log.clone(),
            audit: self.audit.clone(),
            metrics: self.metrics.clone(),
            readiness,
            empty_services: None,
            freshness: None,
            pass_on: None,
            server_events,
            watches: WatchLimiter::new(WatchLimits::of(connections.total, connections.per_client)),
            in_flight: InFlight::new(InFlightLimits::default(), self.metrics.clone()),
            bodies: InFlight::new(InFlightLimits::BODIES, self.metrics.clone()),
            settings: ApiSettings { default_namespace, service_metrics: self.settings.service_metrics },
        }
    }

    /// Serves until shutdown or the unexpected end of a component, then stops all components in order.
    pub(super) async fn serve(
        self,
        api: Api,
        mut tasks: Tasks,
        ready: impl FnOnce(SocketAddr),
    ) -> Result<(), AppError> {
        let connections = self.conn_settings();
        if let Some(writer) = self.access_log_writer {
            tasks.start(ShutdownStage::Storing, "the access log", |stop| writer.run(stop));
        }
        if let Some(keeper) = api.secrets_refresher() {
            tasks.start(ShutdownStage::Serving, "the secrets", |stop| keeper.run(stop));
        }
        if let Some(tls) = self.tls.clone() {
            tasks.start(ShutdownStage::Serving, "the certificate files", |stop| TlsRefresher(tls).run(stop));
        }
        if let Some(refresher) = api.keys_refresher() {
            tasks.start(ShutdownStage::Serving, "the keys of the cluster's tokens", |stop| refresher.run(stop));
        }
        if let Some(reviewer) = api.reviewer() {
            // Longer than the API, whose last writes need the answers.
            tasks.start(ShutdownStage::Probing, "the questions about callers", |stop| reviewer.run(stop));
        }
        let (requests, reloaded, audit, tls) = (self.reload, api.clone(), self.audit.clone(), self.tls);
        let reloaded_tls = tls.clone();
        tasks.start(ShutdownStage::Serving, "the reload of files", |stop| {
            reload::run(requests, reloaded, audit, reloaded_tls, stop)
        });
        if let Some((listener, address)) = self.metrics_listener {
            let settings = component_settings::metrics_conn_settings(tls.clone());
            let port = MetricsPort::new(api.clone(), address.ip());
            let metrics = self.metrics.clone();
            tasks.start(ShutdownStage::Serving, "the port of the metrics", |stop| {
                conn::serve(listener, settings, port, metrics, stop)
            });
        }
        let (listener, metrics) = (self.listener, self.metrics);
        tasks.start(ShutdownStage::Serving, "the api", |stop| conn::serve(listener, connections, api, metrics, stop));
        ready(self.address);

        let ended = tokio::select! {
            () = shutdown_and_drain(&self.shutdown, self.settings.drain) => Ok(()),
            error = tasks.unexpected_end() => Err(error),
        };
        tracing::info!("stopping");
        let stopped = tasks.stop(self.settings.shutdown.saturating_sub(self.settings.drain)).await;
        self.audit.finish();
        ended.and(stopped)?;
        tracing::info!("stopped");
        Ok(())
    }

    /// Logs the address, and what follows from it for access.
    pub(super) fn announce(&self) {
        let (settings, address) = (&self.settings, self.address);
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            database = %settings.db_path.display(),
            "listening on {scheme}://{address}"
        );
        if let Some((_, address)) = &self.metrics_listener {
            tracing::info!("serving metrics on {scheme}://{address}/metrics, without a token");
        }
        if settings.auth.is_some() {
            return;
        }
        if !settings.bind_address_given {
            tracing::info!(
                "listening on loopback only, because auth is off: set ENABLE_AUTH=true and JWT_SECRET to listen on all addresses \
                 with tokens, or PORTOLAN_BIND_ADDRESS=0.0.0.0 to accept writes from everyone who can reach this machine"
            );
        } else if !address.ip().is_loopback() {
            tracing::warn!(
                "auth is off and {address} is not loopback: everyone who can reach it may register and deregister"
            );
        }
    }
}

impl Core {
    /// Starts both, the prober on the probing runtime; what it removes goes through `registrar`.
    pub(super) fn start(self, tasks: &mut Tasks, probing: &ProbingRuntime, registrar: Arc<dyn Registrar>) {
        let (writer, mut prober) = (self.writer, self.prober);
        tasks.start(ShutdownStage::Storing, "the store's writer", |stop| writer.run(stop));
        if let Some(remover) = prober.remover(registrar) {
            tasks.start(ShutdownStage::Probing, "the removal of instances", |stop| remover.run(stop));
        }
        tasks.start_on(probing.handle(), ShutdownStage::Probing, "the prober", |stop| prober.run(stop));
    }
}

/// Resolves when serving should end: after `shutdown`, `/readyz` fails, and load balancers have the time `drain` to notice.
async fn shutdown_and_drain(shutdown: &CancellationToken, drain: Duration) {
    shutdown.cancelled().await;
    if !drain.is_zero() {
        tracing::info!(seconds = drain.as_secs(), "shutting down: /readyz fails, requests are still served");
        tokio::time::sleep(drain).await;
    }
}
