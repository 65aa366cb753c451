//! The expiry date of the certificate that a server presents, even if the check refuses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use crate::crypto::certificate::Certificate;
use crate::model::time::UnixMs;

/// No certificate was shown, or one that cannot be read.
const NONE: i64 = i64::MIN;

/// The verifier of one connection, which notes the certificate and leaves the judgement to another.
#[derive(Debug)]
pub(crate) struct Shown {
    judge: Arc<dyn ServerCertVerifier>,
    /// Unix seconds.
    not_after: AtomicI64,
}

impl Shown {
    /// For one connection.
    pub(crate) fn to(judge: Arc<dyn ServerCertVerifier>) -> Self {
        Self { judge, not_after: AtomicI64::new(NONE) }
    }

    /// When the certificate expires, if one was shown.
    pub(crate) fn expires_at(&self) -> Option<UnixMs> {
        let seconds = Some(self.not_after.load(Ordering::Relaxed)).filter(|seconds| *seconds != NONE)?;
        Some(UnixMs(seconds.saturating_mul(1000)))
    }
}

impl ServerCertVerifier for Shown {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(read) = Certificate::read(shown) {
            self.not_after.store(read.not_after, Ordering::Relaxed);
        }
        self.judge.verify_server_cert(shown, above, name, stapled, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}
