//! The settings of each component, derived from the program's.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::AppError;
use super::descriptors::Descriptors;
use super::tasks;
use crate::api::access::{AccessSettings, AccountSettings, Secrets, SecretsError};
use crate::api::conn::{self, ConnSettings};
use crate::api::tls::{ServerTls, TlsError, TlsSettings};
use crate::catalog::Epoch;
use crate::config::{self, ClusterSettings, Mode, Settings};
use crate::model::name::Namespace;
use crate::model::ports::NamespacePolicies;
use crate::model::reachability::Reachability;
use crate::model::text::escape;
use crate::prober::AddressPolicy;
use crate::prober::DialSettings;
use crate::prober::OwnListener;
use crate::prober::ProberSettings;
use crate::prober::ResolverSettings;
use crate::store::{Consent, StoreSettings};
use crate::telemetry::audit::{AuditError, AuditLog};
use crate::telemetry::metrics::Metrics;

/// Most entries of history: about 100 MB at 200 to 500 bytes each.
const HISTORY_ROWS: usize = 250_000;
/// Connections to the port of `/metrics`; a quarter of those for one client.
const METRICS_CONNECTIONS: usize = 64;

pub(super) fn listen(settings: &Settings) -> Result<TcpListener, AppError> {
    conn::listen(settings.listen()).map_err(|why| cannot_listen(settings, why))
}

/// For `/metrics` alone, where that has a port of its own; and where it is.
pub(super) fn listen_for_metrics(settings: &Settings) -> Result<Option<(TcpListener, SocketAddr)>, AppError> {
    let Some(address) = settings.metrics_address else { return Ok(None) };
    let hint = "check PORTOLAN_METRICS_ADDRESS";
    let listener = conn::listen(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
    match listener {
        Ok((address, listener)) => Ok(Some((listener, address))),
        Err(why) => Err(AppError::Listen { address, why, hint }),
    }
}

/// Scrapers are few. They need no certificate of their own, even where the API's clients do.
pub(super) fn metrics_conn_settings(tls: Option<ServerTls>) -> ConnSettings {
    ConnSettings { tls, ..ConnSettings::default() }.with_connections(METRICS_CONNECTIONS)
}

pub(super) fn cannot_listen(settings: &Settings, why: std::io::Error) -> AppError {
    let hint = match why.kind() {
        std::io::ErrorKind::AddrInUse => "another program uses this port: stop it, or set another SERVER_PORT",
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: set another SERVER_PORT",
        std::io::ErrorKind::AddrNotAvailable => "this machine has no such address: set another PORTOLAN_BIND_ADDRESS",
        _ => "check SERVER_PORT and PORTOLAN_BIND_ADDRESS",
    };
    AppError::Listen { address: settings.listen(), why, hint }
}

/// With an `epoch` the file is a mirror, so it need not be durable.
pub(super) fn store_settings(settings: &Settings, epoch: Option<Epoch>) -> StoreSettings {
    StoreSettings {
        path: settings.db_path.clone(),
        max_services: settings.max_services.map_or(0, |n| n as usize),
        max_instances: settings.max_instances as usize,
        default_interval: settings.health_check_interval,
        history_days: u32::try_from(settings.history.as_secs() / 86_400).unwrap_or(u32::MAX),
        history_rows: HISTORY_ROWS,
        durable: epoch.is_none(),
        epoch,
    }
}

/// Which losses the user has accepted for this start.
pub(super) fn consent(settings: &Settings) -> Consent {
    Consent { start_empty: settings.start_empty, accept_loss: settings.accept_loss }
}

/// Of a server that listens at the addresses `own`.
pub(super) fn policy(settings: &Settings, own: impl IntoIterator<Item = SocketAddr>) -> AddressPolicy {
    AddressPolicy {
        allow: settings.probe_allow.clone(),
        deny: settings.probe_deny.clone(),
        allow_loopback: settings.bind_address.is_loopback(),
        denied_ports: Vec::new(),
        denied_by_default: Vec::new(),
        denied_for_now: Arc::default(),
        own: own.into_iter().map(OwnListener::at).collect(),
    }
}

pub(super) fn dial_settings(
    settings: &Settings,
    policy: AddressPolicy,
    descriptors: Descriptors,
    metrics: &Metrics,
) -> DialSettings {
    DialSettings {
        policy,
        ca_dir: settings.ca_dir.clone(),
        resolver: ResolverSettings::System,
        lookups: descriptors.lookups(),
        spare_connections: descriptors.spare(descriptors.probes(settings.probe_concurrency)),
        metrics: metrics.clone(),
        ..DialSettings::default()
    }
}

pub(super) fn prober_settings(
    settings: &Settings,
    descriptors: Descriptors,
    reachability: Reachability,
    policies: Arc<dyn NamespacePolicies>,
) -> ProberSettings {
    ProberSettings {
        default_interval: settings.health_check_interval,
        concurrency: descriptors.probes(settings.probe_concurrency),
        per_address: settings.probe_per_address,
        deregister_after: settings.deregister_after,
        reachability,
        policies,
        ..ProberSettings::default()
    }
}

pub(super) fn conn_settings(
    settings: &Settings,
    descriptors: Descriptors,
    reachability: Reachability,
    tls: Option<ServerTls>,
) -> ConnSettings {
    let defaults = ConnSettings::default();
    let probes = descriptors.probes(settings.probe_concurrency);
    ConnSettings {
        unshared: settings.trusted_proxies.clone(),
        reachability,
        tls,
        grace: tasks::grace(settings.shutdown.saturating_sub(settings.drain)),
        ..defaults
    }
    .with_connections(descriptors.connections(probes + descriptors.spare(probes)))
}

/// The server's TLS; `None` where it speaks plain HTTP.
pub(super) fn tls(settings: &Settings, metrics: &Metrics) -> Result<Option<ServerTls>, TlsError> {
    let Some(files) = settings.tls.clone() else { return Ok(None) };
    let peer_ca = if let Mode::Cluster(cluster) = &settings.mode { cluster.tls_peer_ca.clone() } else { None };
    let files = TlsSettings { cert: files.cert, key: files.key, client_ca: files.client_ca, peer_ca };
    ServerTls::load(files, metrics.clone()).map(Some)
}

pub(super) fn secrets(settings: &Settings) -> Result<Option<Secrets>, SecretsError> {
    match &settings.auth {
        None | Some(config::Secrets::Absent) => Ok(None),
        Some(config::Secrets::Inline(secret)) => Secrets::inline(secret).map(Some),
        // There, tokens of ServiceAccounts do without.
        Some(config::Secrets::File(path)) if matches!(settings.mode, Mode::Cluster(_)) => {
            Secrets::file_if_any(path.clone()).map(Some)
        }
        Some(config::Secrets::File(path)) => Secrets::file(path.clone()).map(Some),
    }
}

/// Which tokens of ServiceAccounts are accepted. Their keys are kept beside the store.
pub(super) fn accounts(settings: &Settings, cluster: &ClusterSettings) -> AccountSettings {
    let mut keys_file = settings.db_path.clone().into_os_string();
    keys_file.push(".token-keys");
    AccountSettings {
        audiences: cluster.token_audiences.clone(),
        issuers: cluster.token_issuers.clone(),
        keys_file: Some(keys_file.into()),
    }
}

/// The audit log.
pub(super) fn audit(settings: &Settings, metrics: &Metrics) -> Result<AuditLog, AuditError> {
    match &settings.audit_file {
        Some(path) if *path == settings.db_path => Err(AuditError::Other(escape(&path.to_string_lossy(), 200))),
        Some(path) => AuditLog::with_file(path.clone(), metrics.audit_dropped.clone()),
        None => Ok(AuditLog::without_file()),
    }
}

pub(super) fn access_settings(settings: &Settings, default_namespace: Namespace) -> AccessSettings {
    AccessSettings {
        read_auth: settings.read_auth,
        token_max: settings.token_max,
        default_namespace,
        rate_per_minute: settings.rate_limit_per_minute,
        read_rate_per_minute: settings.read_rate_limit_per_minute,
        trusted_proxies: settings.trusted_proxies.clone(),
        cors_origins: settings.cors_origins.clone(),
        allowed_hosts: settings.allowed_hosts.clone(),
        bound_to_loopback: settings.bind_address.is_loopback(),
        certificate_required: settings.tls.as_ref().is_some_and(|tls| tls.client_required),
    }
}
