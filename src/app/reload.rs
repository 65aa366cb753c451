//! Reads the secrets again when SIGHUP asks for it, and says in one line what came of it.

use std::convert::Infallible;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use crate::api::Api;

/// What a rotation of logs may count on: no file is held open that could be opened again.
const LOG: &str = "the log stays on standard error, which a rotation copies and truncates";

/// Reads again each time that `asked` has an item, until `stop`.
///
/// # Errors
/// Never.
pub(super) async fn run(
    mut asked: BoxStream<'static, ()>,
    api: Api,
    stop: CancellationToken,
) -> Result<(), Infallible> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Some(()) = asked.next() => match api.reload_secrets() {
                None => tracing::info!("SIGHUP: auth is off, so there are no secrets to read again; {LOG}"),
                Some(came) if came.is_usable() => tracing::info!("SIGHUP: {came}; {LOG}"),
                Some(came) => tracing::error!("SIGHUP: {came}; {LOG}"),
            },
        }
    }
}
