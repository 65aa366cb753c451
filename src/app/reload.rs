//! Reads the secrets and opens the audit file again on SIGHUP, and logs one line about it.

use std::convert::Infallible;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use crate::api::Api;
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
    stop: CancellationToken,
) -> Result<(), Infallible> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Some(()) = requests.next() => {
                let log = if audit.reopen() { LOG_AND_AUDIT } else { LOG };
                match api.reload_secrets() {
                    None => tracing::info!("SIGHUP: there are no secrets to reload; {log}"),
                    Some(reloaded) if reloaded.is_usable() => tracing::info!("SIGHUP: {reloaded}; {log}"),
                    Some(reloaded) => tracing::error!("SIGHUP: {reloaded}; {log}"),
                }
            }
        }
    }
}
