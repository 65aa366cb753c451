//! Reads the secrets, certificates and keys and opens the audit file again on SIGHUP, and logs a line about it.

use std::convert::Infallible;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
use crate::api::tls::{ServerTls, TlsReload};
use crate::telemetry::audit::AuditLog;

/// SIGHUP usually reopens a log file; the log itself has none to reopen.
const LOG: &str = "the log stays on standard error: rotate it by copying and truncating";
/// The same with an audit file.
const LOG_AND_AUDIT: &str =
    "the log stays on standard error: rotate it by copying and truncating; the audit file is opened again";

/// Reloads for each item of `requests`, until `stop`.
///
/// # Errors
/// Never fails; failures are logged.
pub(super) async fn run(
    mut requests: BoxStream<'static, ()>,
    api: Api,
    audit: AuditLog,
    tls: Option<ServerTls>,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    let reload_each = async {
        while requests.next().await.is_some() {
            let log = if audit.reopen() { LOG_AND_AUDIT } else { LOG };
            // Together, because one folder may not answer.
            tokio::join!(reload_secrets(&api, log), reload_tls(tls.as_ref()));
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = reload_each => Ok(()),
    }
}

async fn reload_secrets(api: &Api, log: &str) {
    match api.reload_secrets().await {
        None => tracing::info!("SIGHUP: there are no secrets to reload; {log}"),
        Some(reloaded) if reloaded.is_usable() => tracing::info!("SIGHUP: {reloaded}; {log}"),
        Some(reloaded) => tracing::error!("SIGHUP: {reloaded}; {log}"),
    }
}

async fn reload_tls(tls: Option<&ServerTls>) {
    let Some(tls) = tls else { return };
    match tls.reload().await {
        TlsReload::Read => tracing::info!("SIGHUP: read the certificate and its key again"),
        TlsReload::Unusable(why) => {
            tracing::error!("SIGHUP: the certificate files cannot be used; the old ones stay in force: {why}");
        }
    }
}
