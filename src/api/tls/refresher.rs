//! The task that notices changed files, and the end of a certificate.

use std::convert::Infallible;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ServerTls;
use crate::model::time::UnixMs;

/// How often the files are checked for changes.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Checks the files of a server's TLS.
#[derive(Debug)]
pub struct TlsRefresher(pub ServerTls);

impl TlsRefresher {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// Never fails.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let Self(tls) = self;
        let mut ticks = tokio::time::interval(CHECK_EVERY);
        let mut announced = tls.status(UnixMs::wall()).validity;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            tls.refresh();
            let now = UnixMs::wall();
            let validity = tls.status(now).validity;
            if validity != announced {
                tls.current().announce(&tls.0.settings, now);
                announced = validity;
            }
        }
    }
}
