//! Wires the parts, line by line in the order of the picture in `lib.rs`, and runs them until the process is to end.

mod descriptors;
mod readiness;
mod tasks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::access::{Access, AccessSettings, Secrets, SecretsError};
use crate::api::conn::{self, ConnSettings};
use crate::api::{Api, ApiParts, ApiSettings, WatchLimits};
use crate::config::{self, Settings};
use crate::model::ports::{AlwaysLeads, Leadership};
use crate::model::time::Clock;
use crate::prober::dial::{DialError, DialSettings, Dialer};
use crate::prober::policy::AddressPolicy;
use crate::prober::resolve::ResolverSettings;
use crate::prober::{Prober, ProberSettings};
use crate::store::{OpenError, Opened, Store, StoreSettings};
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::Metrics;
use descriptors::Descriptors;
use readiness::StandaloneReadiness;
use tasks::{Stage, Tasks};

pub use tasks::TaskError;

/// Most entries of history; at 200 to 500 bytes each about 100 MB.
const HISTORY_ROWS: usize = 250_000;

/// Why the server did not start, or did not end well. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {why}; {hint}")]
    Listen {
        /// As set.
        address: SocketAddr,
        /// The system's word.
        why: std::io::Error,
        /// What helps.
        hint: &'static str,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The secrets cannot be used.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The prober cannot start.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// A part ended.
    #[error(transparent)]
    Task(#[from] TaskError),
}

/// What a caller of [`run`] chooses besides the settings.
pub struct Surroundings {
    /// Cancelled when the server is to stop.
    pub shutdown: CancellationToken,
    /// Where access lines go.
    pub access_log: Option<Box<dyn std::io::Write + Send>>,
}

/// Starts everything, calls `ready` with the address that is listened on, and runs until `shutdown`, then stops in order.
///
/// # Errors
/// [`AppError`] when a part cannot start, ends by itself, or does not stop within `SHUTDOWN_SECONDS`.
pub async fn run(settings: Settings, around: Surroundings, ready: impl FnOnce(SocketAddr)) -> Result<(), AppError> {
    let (clock, metrics) = (Clock::system(), Metrics::default());
    let descriptors = Descriptors::raise();
    let listener = listen(&settings)?;
    let address = listener.local_addr().map_err(|why| cannot_listen(&settings, why))?;
    let Opened { store, writer, catalog, probes } =
        Store::open(store_settings(&settings), clock.clone(), metrics.clone())?;
    let dialer = Dialer::new(dial_settings(&settings, descriptors, &metrics))?;
    let leadership: Arc<dyn Leadership> = Arc::new(AlwaysLeads);
    let (prober, probing) = Prober::new(
        prober_settings(&settings, descriptors),
        dialer,
        store.clone(),
        probes,
        leadership,
        clock.clone(),
        metrics.clone(),
    );
    let secrets = secrets(&settings)?;
    let access = Access::new(access_settings(&settings), secrets, metrics.clone(), clock);
    let (access_log, access_lines) = match around.access_log {
        Some(out) => {
            let json = settings.log_format == config::LogFormat::Json;
            let (log, lines) = AccessLog::new(json, out, &metrics);
            (log, Some(lines))
        }
        None => (AccessLog::off(), None),
    };
    let doors = conn_settings(&settings, descriptors);
    let api = Api::new(ApiParts {
        catalog,
        registrar: Arc::new(store.clone()),
        on_demand: Arc::new(probing.clone()),
        probing: Arc::new(probing.clone()),
        addresses: Arc::new(policy(&settings)),
        history: store.clone(),
        access,
        access_log,
        metrics: metrics.clone(),
        readiness: Arc::new(StandaloneReadiness::new(store, probing, around.shutdown.clone())),
        freshness: None,
        pass_on: None,
        settings: ApiSettings {
            default_namespace: settings.default_namespace.clone().unwrap_or_default(),
            default_interval: settings.health_check_interval,
            service_metrics: settings.service_metrics,
            watches: WatchLimits::of(doors.total, doors.per_client),
        },
    });

    let mut tasks = Tasks::new();
    tasks.start(Stage::Storing, "the store's writer", |stop| writer.run(stop));
    tasks.start(Stage::Probing, "the prober", |stop| prober.run(stop));
    if let Some(lines) = access_lines {
        tasks.start(Stage::Storing, "the access log", |stop| lines.run(stop));
    }
    tasks.start(Stage::Serving, "the api", |stop| conn::serve(listener, doors, api, metrics, stop));
    announce(&settings, address);
    ready(address);

    let ended = tokio::select! {
        () = told_and_drained(&around.shutdown, settings.drain) => Ok(()),
        error = tasks.unexpected_end() => Err(error),
    };
    tracing::info!("stopping");
    let stopped = tasks.stop(settings.shutdown.saturating_sub(settings.drain)).await;
    ended.and(stopped)?;
    tracing::info!("stopped");
    Ok(())
}

/// Resolves when serving is to end: from the word to stop on `/readyz` says so, and who looks there has `drain` to turn away.
async fn told_and_drained(shutdown: &CancellationToken, drain: Duration) {
    shutdown.cancelled().await;
    if !drain.is_zero() {
        tracing::info!(seconds = drain.as_secs(), "told to stop: not ready any more, still answering");
        tokio::time::sleep(drain).await;
    }
}

fn listen(settings: &Settings) -> Result<TcpListener, AppError> {
    conn::listen(settings.listen()).map_err(|why| cannot_listen(settings, why))
}

fn cannot_listen(settings: &Settings, why: std::io::Error) -> AppError {
    let hint = match why.kind() {
        std::io::ErrorKind::AddrInUse => "another program has this port: stop it, or give another SERVER_PORT",
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: give another SERVER_PORT",
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address: give another PORTOLAN_BIND_ADDRESS",
        _ => "look at SERVER_PORT and PORTOLAN_BIND_ADDRESS",
    };
    AppError::Listen { address: settings.listen(), why, hint }
}

fn announce(settings: &Settings, address: SocketAddr) {
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

fn store_settings(settings: &Settings) -> StoreSettings {
    StoreSettings {
        path: settings.db_path.clone(),
        max_services: settings.max_services.map_or(0, |n| n as usize),
        max_instances: settings.max_instances as usize,
        default_interval: settings.health_check_interval,
        history_days: u32::try_from(settings.history.as_secs() / 86_400).unwrap_or(u32::MAX),
        history_rows: HISTORY_ROWS,
        epoch: None,
        durable: true,
    }
}

fn policy(settings: &Settings) -> AddressPolicy {
    AddressPolicy {
        allow: settings.probe_allow.clone(),
        deny: settings.probe_deny.clone(),
        allow_loopback: settings.bind_address.is_loopback(),
        denied_ports: Vec::new(),
        denied_by_default: Vec::new(),
    }
}

fn dial_settings(settings: &Settings, descriptors: Descriptors, metrics: &Metrics) -> DialSettings {
    DialSettings {
        policy: policy(settings),
        ca_dir: settings.ca_dir.clone(),
        resolver: ResolverSettings::System,
        lookups: descriptors.lookups(),
        metrics: metrics.clone(),
    }
}

fn prober_settings(settings: &Settings, descriptors: Descriptors) -> ProberSettings {
    ProberSettings {
        default_interval: settings.health_check_interval,
        concurrency: settings.probe_concurrency.min(descriptors.probes()),
        per_address: settings.probe_per_address,
        ..ProberSettings::default()
    }
}

fn conn_settings(settings: &Settings, descriptors: Descriptors) -> ConnSettings {
    let defaults = ConnSettings::default();
    ConnSettings {
        unshared: settings.trusted_proxies.clone(),
        grace: tasks::grace(settings.shutdown.saturating_sub(settings.drain)),
        ..defaults
    }
    .holding(descriptors.connections())
}

fn secrets(settings: &Settings) -> Result<Option<Secrets>, SecretsError> {
    match &settings.auth {
        None => Ok(None),
        Some(config::Secrets::Inline(secret)) => Secrets::inline(secret).map(Some),
        Some(config::Secrets::File(path)) => Secrets::file(path.clone()).map(Some),
    }
}

fn access_settings(settings: &Settings) -> AccessSettings {
    AccessSettings {
        read_auth: settings.read_auth,
        token_max: settings.token_max,
        default_namespace: settings.default_namespace.clone().unwrap_or_default(),
        rate_per_minute: settings.rate_limit_per_minute,
        trusted_proxies: settings.trusted_proxies.clone(),
        cors_origins: settings.cors_origins.clone(),
        allowed_hosts: settings.allowed_hosts.clone(),
        bound_to_loopback: settings.bind_address.is_loopback(),
    }
}
