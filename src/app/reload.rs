//! Reads the secrets again on SIGHUP and logs one line about it.

use std::convert::Infallible;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use crate::api::Api;

/// SIGHUP usually reopens a log file; this server has none to reopen.
const LOG: &str = "the log stays on standard error: rotate it by copying and truncating";

/// Reloads for each item of `requests`, until `stop`.
///
/// # Errors
/// Never fails; failures are logged.
pub(super) async fn run(
    mut requests: BoxStream<'static, ()>,
    api: Api,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Some(()) = requests.next() => match api.reload_secrets() {
                None => tracing::info!("SIGHUP: auth is off, so there are no secrets to reload; {LOG}"),
                Some(reloaded) if reloaded.is_usable() => tracing::info!("SIGHUP: {reloaded}; {LOG}"),
                Some(reloaded) => tracing::error!("SIGHUP: {reloaded}; {LOG}"),
            },
        }
    }
}
