//! Certificates between the replicas of a cluster.
//!
//! A replica dials another by the address of its pod, which no certificate names. All replicas have the same certificate, from the same Secret,
//! so a replica is known by that certificate: whoever completes a handshake with it has its key. While a renewal reaches one replica after the
//! other, the two differ for a minute or so; then a certificate counts that a CA file for replicas verifies, and that has the same names.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::ServerTls;
use crate::crypto::certificate::{AltName, Certificate};
use crate::crypto::{provider, tls_client};

/// Most names of a certificate that are compared.
const MAX_NAMES: usize = 64;

/// What identifies a replica that connects to this one.
#[derive(Debug, Clone)]
pub(super) struct KnownReplicas {
    /// The server's own certificate.
    pub(super) own: Option<CertificateDer<'static>>,
    /// Its names, in order.
    pub(super) names: Vec<AltName>,
    /// Verifies certificates by the CA file for replicas.
    pub(super) by_ca: Option<Arc<dyn ClientCertVerifier>>,
}

impl KnownReplicas {
    /// Whether this chain is a replica's: the server's own certificate, or one of the replicas' CA with all the same names.
    pub(super) fn contain(&self, shown: &CertificateDer<'_>, above: &[CertificateDer<'_>], now: UnixTime) -> bool {
        if self.own.as_ref() == Some(shown) {
            return in_time(shown, now).is_ok();
        }
        let Some(by_ca) = &self.by_ca else { return false };
        self.have_names_of(shown) && by_ca.verify_client_cert(shown, above, now).is_ok()
    }

    /// Whether a certificate has the server's names: all of them and no other, each of the same kind.
    fn have_names_of(&self, shown: &CertificateDer<'_>) -> bool {
        !self.names.is_empty() && Certificate::read(shown).is_some_and(|read| names_of(&read) == self.names)
    }
}

/// A certificate's names in order; none where they are too many to be compared.
pub(super) fn names_of(certificate: &Certificate<'_>) -> Vec<AltName> {
    let mut names = certificate.alt_names_by_kind(MAX_NAMES + 1);
    if names.len() > MAX_NAMES {
        return Vec::new();
    }
    names.sort_unstable();
    names
}

/// Verifies clients by their CAs, and replicas, whoever issued their certificate.
#[derive(Debug)]
pub(super) struct ClientsAndReplicas {
    pub(super) clients: Arc<dyn ClientCertVerifier>,
    pub(super) replicas: KnownReplicas,
}

impl ClientCertVerifier for ClientsAndReplicas {
    fn client_auth_mandatory(&self) -> bool {
        self.clients.client_auth_mandatory()
    }

    /// None: a replica's certificate may come from another CA than the clients'.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.replicas.contain(shown, above, now) {
            return Ok(ClientCertVerified::assertion());
        }
        self.clients.verify_client_cert(shown, above, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls12_signature(message, shown, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients.verify_tls13_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}

fn in_time(shown: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let read = Certificate::read(shown).ok_or(CertificateError::BadEncoding)?;
    if now > read.not_after {
        return Err(CertificateError::Expired.into());
    }
    if now < read.not_before { Err(CertificateError::NotValidYet.into()) } else { Ok(()) }
}

/// Connects to other replicas.
pub(super) fn client_config(tls: ServerTls) -> Result<ClientConfig, Error> {
    let replica = Arc::new(Replica { tls, provider: provider() });
    tls_client(Arc::clone(&replica) as _, Some(replica))
}

#[derive(Debug)]
struct Replica {
    tls: ServerTls,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Replica {
    /// The name is the address of a pod, which says nothing.
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let current = self.tls.current();
        if current.leaf() == Some(shown) {
            return in_time(shown, now).map(|()| ServerCertVerified::assertion());
        }
        let peers = current.peers.as_ref().ok_or(CertificateError::UnknownIssuer)?;
        let names = &current.replicas.names;
        let name = names.iter().find_map(|name| ServerName::try_from(name.text()).ok());
        let Some(name) = name.filter(|_| current.replicas.have_names_of(shown)) else {
            return Err(CertificateError::NotValidForName.into());
        };
        peers.verify_server_cert(shown, above, &name, stapled, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, shown, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, shown, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for Replica {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.tls.current().pair))
    }

    fn has_certs(&self) -> bool {
        true
    }
}
