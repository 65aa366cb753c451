//! Client authentication: which certificate we can show, and whether the server requested one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

use super::super::trace::Ending;
use crate::model::outcome::Reason;

/// Answers a server that requests a client certificate, for one connection.
#[derive(Debug)]
pub(crate) struct ClientAuth {
    pair: Option<Arc<CertifiedKey>>,
    requested: AtomicBool,
}

impl ClientAuth {
    pub(crate) fn new(pair: Option<Arc<CertifiedKey>>) -> Arc<Self> {
        Arc::new(Self { pair, requested: AtomicBool::new(false) })
    }

    /// Explains a failure after the server requested a certificate.
    pub(crate) fn explain(&self, mut ending: Ending) -> Ending {
        if !self.requested.load(Ordering::Relaxed) {
            return ending;
        }
        let shown = self.pair.is_some();
        match ending.reason {
            Reason::TlsFailed | Reason::ConnectionReset if shown => {
                ending
                    .message
                    .push_str("; it asked for a client certificate, and may not accept that of tls.client_cert");
            }
            Reason::TlsFailed | Reason::ConnectionReset => {
                let message =
                    "the server wants a client certificate; name a pair of PORTOLAN_CA_DIR with tls.client_cert";
                return Ending::fail(Reason::TlsFailed, message);
            }
            // 495 and 496 are specific to nginx.
            Reason::UnexpectedStatus if !shown && matches!(ending.code, Some(400 | 401 | 403 | 495 | 496)) => {
                ending.message.insert_str(0, "the server asked for a client certificate (tls.client_cert); ");
            }
            _ => {}
        }
        ending
    }
}

impl ResolvesClientCert for ClientAuth {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.requested.store(true, Ordering::Relaxed);
        self.pair.clone()
    }

    fn has_certs(&self) -> bool {
        self.pair.is_some()
    }
}
