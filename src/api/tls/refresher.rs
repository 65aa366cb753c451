//! The task that notices changed files, and the end of a certificate.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;
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
        let mut announced = tls.status(UnixMs::wall()).validity;
        let refresh = async {
            loop {
                announced = tls.refresh(announced).await;
                sleep(CHECK_EVERY).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            () = refresh => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use tokio::time::timeout;

    use super::*;
    use crate::api::file_work::tests::on_one_thread;
    use crate::api::tls::{TlsReload, TlsSettings};
    use crate::telemetry::metrics::Metrics;

    /// TLS with a pair of its own in `folder`.
    fn tls_in(folder: &tempfile::TempDir) -> ServerTls {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let pem = params.self_signed(&key).expect("signed").pem();
        let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        std::fs::write(&cert_file, pem).expect("written");
        std::fs::write(&key_file, key.serialize_pem()).expect("written");
        let settings = TlsSettings { cert: cert_file, key: key_file, client_ca: None, peer_ca: None };
        ServerTls::load(settings, Metrics::default()).expect("files that fit")
    }

    #[test]
    fn files_that_do_not_answer_delay_nothing_else_and_no_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let tls = tls_in(&folder);
        let hanging = tls.0.last_read.lock().expect("sound");
        let shared = tls.clone();
        on_one_thread(async move {
            let stop = CancellationToken::new();
            let refreshing = tokio::spawn(TlsRefresher(shared.clone()).run(stop.clone()));
            let reload = timeout(Duration::from_millis(100), shared.reload()).await;
            assert!(reload.is_err(), "it waits");
            stop.cancel();
            refreshing.await.expect("no panic").expect("never fails");
        });
        drop(hanging);
        let answered = on_one_thread(async move { tls.reload().await });
        assert!(matches!(answered, TlsReload::Read), "{answered:?}");
    }
}
