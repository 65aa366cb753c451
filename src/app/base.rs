//! What is wired alike in both modes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::descriptors::Descriptors;
use super::probing::ProbingRuntime;
use super::tasks::{Stage, Tasks};
use super::{AppError, Surroundings, parts, reload};
use crate::api::access::{Access, Secrets};
use crate::api::{Api, ApiParts, ApiSettings, FlightLimits, Readiness, WatchLimits, conn};
use crate::catalog::{Catalog, Epoch};
use crate::config::{LogFormat, Settings};
use crate::model::name::Namespace;
use crate::model::ports::{AddressGate, Freshness, Leadership, PassOn, Registrar};
use crate::model::time::Clock;
use crate::prober::AddressPolicy;
use crate::prober::Dialer;
use crate::prober::{Prober, ProberHandle};
use crate::store::{Opened, Store, Writer};
use crate::telemetry::access_log::{AccessLog, AccessLogWriter};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::process_metrics::ProcessMetrics;
use crate::telemetry::server_events::EventReceiver;

/// What there is before anything runs.
pub(super) struct Base {
    pub(super) settings: Settings,
    pub(super) shutdown: CancellationToken,
    pub(super) address: SocketAddr,
    pub(super) listener: TcpListener,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) descriptors: Descriptors,
    pub(super) probing: ProbingRuntime,
    secrets: Option<Secrets>,
    reload: BoxStream<'static, ()>,
    access_log: AccessLog,
    access_lines: Option<AccessLogWriter>,
}

/// The store and the prober.
pub(super) struct Engine {
    pub(super) store: Store,
    pub(super) catalog: Arc<Catalog>,
    pub(super) probing: ProberHandle,
    writer: Writer,
    prober: Prober,
}

/// What differs between the modes, as far as the API sees it.
pub(super) struct Plugs {
    pub(super) registrar: Arc<dyn Registrar>,
    pub(super) addresses: Arc<dyn AddressGate>,
    pub(super) readiness: Arc<dyn Readiness>,
    pub(super) freshness: Option<Arc<dyn Freshness>>,
    pub(super) pass_on: Option<Arc<dyn PassOn>>,
    pub(super) told: EventReceiver,
    pub(super) default_namespace: Namespace,
}

impl Base {
    pub(super) fn new(settings: Settings, around: Surroundings) -> Result<Self, AppError> {
        let (clock, metrics) = (Clock::system(), Metrics::counting(around.log_dropped));
        metrics.collect_common_with(Box::new(ProcessMetrics::starting()));
        let descriptors = Descriptors::raise();
        let listener = parts::listen(&settings)?;
        let address = listener.local_addr().map_err(|why| parts::cannot_listen(&settings, why))?;
        let secrets = parts::secrets(&settings)?;
        let (access_log, access_lines) = match around.access_log {
            Some(out) => {
                let (log, lines) = AccessLog::new(settings.log_format == LogFormat::Json, out, &metrics);
                (log, Some(lines))
            }
            None => (AccessLog::off(), None),
        };
        let shutdown = around.shutdown;
        Ok(Self {
            settings,
            shutdown,
            address,
            listener,
            clock,
            metrics,
            descriptors,
            probing: ProbingRuntime::start()?,
            secrets,
            reload: around.reload,
            access_log,
            access_lines,
        })
    }

    /// Opens the store, as a mirror when there is an `epoch`, and sets up the prober.
    pub(super) fn engine(
        &self,
        epoch: Option<Epoch>,
        policy: AddressPolicy,
        leadership: Arc<dyn Leadership>,
    ) -> Result<Engine, AppError> {
        let settings = parts::store_settings(&self.settings, epoch);
        let Opened { store, writer, catalog, probes } =
            Store::open_with(settings, parts::consent(&self.settings), self.clock.clone(), self.metrics.clone())?;
        let dialer = Dialer::new(parts::dial_settings(&self.settings, policy, self.descriptors, &self.metrics));
        let (prober, probing) = Prober::new(
            parts::prober_settings(&self.settings, self.descriptors),
            dialer,
            store.clone(),
            probes,
            leadership,
            self.clock.clone(),
            self.metrics.clone(),
        );
        Ok(Engine { store, catalog, probing, writer, prober })
    }

    pub(super) fn api(&mut self, engine: &Engine, plugs: Plugs) -> Api {
        let doors = parts::conn_settings(&self.settings, self.descriptors);
        let settings = parts::access_settings(&self.settings, plugs.default_namespace.clone());
        let access = Access::new(settings, self.secrets.take(), self.metrics.clone(), self.clock.clone());
        Api::new(ApiParts {
            catalog: Arc::clone(&engine.catalog),
            registrar: plugs.registrar,
            on_demand: Arc::new(engine.probing.clone()),
            probing: Arc::new(engine.probing.clone()),
            addresses: plugs.addresses,
            history: engine.store.clone(),
            access,
            access_log: self.access_log.clone(),
            metrics: self.metrics.clone(),
            readiness: plugs.readiness,
            freshness: plugs.freshness,
            pass_on: plugs.pass_on,
            told: plugs.told,
            settings: ApiSettings {
                default_namespace: plugs.default_namespace,
                default_interval: self.settings.health_check_interval,
                service_metrics: self.settings.service_metrics,
                watches: WatchLimits::of(doors.total, doors.per_client),
                answers: FlightLimits::default(),
            },
        })
    }

    /// Serves until the word to stop or a part's end, then stops all parts in order.
    pub(super) async fn serve(
        self,
        api: Api,
        mut tasks: Tasks,
        ready: impl FnOnce(SocketAddr),
    ) -> Result<(), AppError> {
        if let Some(lines) = self.access_lines {
            tasks.start(Stage::Storing, "the access log", |stop| lines.run(stop));
        }
        if let Some(keeper) = api.secrets_keeper() {
            tasks.start(Stage::Serving, "the secrets", |stop| keeper.run(stop));
        }
        let (asked, reloaded) = (self.reload, api.clone());
        tasks.start(Stage::Serving, "the reloading", |stop| reload::run(asked, reloaded, stop));
        let doors = parts::conn_settings(&self.settings, self.descriptors);
        let (listener, metrics) = (self.listener, self.metrics);
        tasks.start(Stage::Serving, "the api", |stop| conn::serve(listener, doors, api, metrics, stop));
        ready(self.address);

        let ended = tokio::select! {
            () = told_and_drained(&self.shutdown, self.settings.drain) => Ok(()),
            error = tasks.unexpected_end() => Err(error),
        };
        tracing::info!("stopping");
        let stopped = tasks.stop(self.settings.shutdown.saturating_sub(self.settings.drain)).await;
        ended.and(stopped)?;
        tracing::info!("stopped");
        Ok(())
    }

    /// Says where it listens, and what follows from that.
    pub(super) fn announce(&self) {
        let (settings, address) = (&self.settings, self.address);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            database = %settings.db_path.display(),
            "listening on http://{address}"
        );
        if settings.auth.is_some() {
            return;
        }
        if !settings.bind_address_given {
            tracing::info!(
                "it listens on loopback only, because auth is off: set ENABLE_AUTH=true and JWT_SECRET to listen on every \
                 address with tokens, or PORTOLAN_BIND_ADDRESS=0.0.0.0 to let everyone who reaches this machine write"
            );
        } else if !address.ip().is_loopback() {
            tracing::warn!(
                "auth is off and {address} is not loopback: everyone who reaches it may register and deregister"
            );
        }
    }
}

impl Engine {
    /// Starts both, the prober on the runtime of probing.
    pub(super) fn start(self, tasks: &mut Tasks, probing: &ProbingRuntime) {
        let (writer, prober) = (self.writer, self.prober);
        tasks.start(Stage::Storing, "the store's writer", |stop| writer.run(stop));
        tasks.start_on(probing.handle(), Stage::Probing, "the prober", |stop| prober.run(stop));
    }
}

/// Resolves when serving is to end: from the word to stop on `/readyz` says so, and who looks there has `drain` to turn away.
async fn told_and_drained(shutdown: &CancellationToken, drain: Duration) {
    shutdown.cancelled().await;
    if !drain.is_zero() {
        tracing::info!(seconds = drain.as_secs(), "told to stop: not ready any more, still answering");
        tokio::time::sleep(drain).await;
    }
}
