//! Client authentication: which certificate we can show, and whether the server requested one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

use super::super::trace::Ending;
use super::objects::Doubt;
use crate::model::outcome::Reason;

/// Answers a server that requests a client certificate, for one connection.
#[derive(Debug)]
pub(crate) struct ClientAuth {
    pair: Option<Arc<CertifiedKey>>,
    requested: AtomicBool,
    /// Has the Secret of the pair read again.
    doubt: Option<Doubt>,
}

impl ClientAuth {
    pub(super) fn new(pair: Option<Arc<CertifiedKey>>, doubt: Option<Doubt>) -> Arc<Self> {
        Arc::new(Self { pair, requested: AtomicBool::new(false), doubt })
    }

    /// Explains a failure after the server requested a certificate.
    pub(crate) fn explain(&self, mut ending: Ending) -> Ending {
        if !self.requested.load(Ordering::Relaxed) {
            return ending;
        }
        let shown = self.pair.is_some();
        match ending.reason {
            Reason::TlsFailed | Reason::ConnectionReset if shown => {
                if let Some(doubt) = &self.doubt {
                    doubt.report();
                }
                ending
                    .message
                    .push_str("; it asked for a client certificate, and may not accept the one that the check names");
            }
            Reason::TlsFailed | Reason::ConnectionReset => {
                let message = "the server wants a client certificate; name a pair of PORTOLAN_CA_DIR with tls.client_cert, \
                               or in a manifest a Secret with tls.clientCertFrom";
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
