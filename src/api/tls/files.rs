//! From files to the settings of handshakes.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

use super::replicas::{ClientsAndReplicas, KnownReplicas, names_of};
use super::{SOON, SOON_PART, TlsSettings, Validity};
use crate::crypto::certificate::{AltName, Certificate, day};
use crate::crypto::pem::{self, Authorities};
use crate::crypto::provider;
use crate::crypto::verifier::Verifier;
use crate::model::time::UnixMs;

/// Permission bits that let users other than the owner and the group read.
const READABLE_BY_OTHERS: u32 = 0o004;

/// Why the files cannot be used. No message contains a part of a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate and its key.
    #[error(
        "the certificate {cert} and the key {key} cannot be used: {why}; PORTOLAN_TLS_CERT and PORTOLAN_TLS_KEY name two PEM files that belong together"
    )]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// A changed certificate that has already expired.
    #[error("the certificate {cert} expired on {day}; renew it")]
    Expired {
        /// The certificate's file.
        cert: PathBuf,
        /// The day, in UTC.
        day: String,
    },
    /// A changed certificate that is not valid yet.
    #[error("the certificate {cert} is valid from {day} only; is a clock wrong?")]
    NotYet {
        /// The certificate's file.
        cert: PathBuf,
        /// The day, in UTC.
        day: String,
    },
    /// A CA file.
    #[error("the CA file {path} cannot be used: {why}; {setting} names a PEM file with the certificates of CAs")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
        /// The setting that names it.
        setting: &'static str,
    },
    /// TLS itself.
    #[error("TLS cannot be set up with these files: {0}")]
    Tls(String),
}

/// What one reading of the files gave.
#[derive(Debug)]
pub(in crate::api) struct Loaded {
    /// The settings of a handshake.
    pub(in crate::api) config: Arc<ServerConfig>,
    pub(super) pair: Arc<CertifiedKey>,
    /// Unix seconds.
    not_before: i64,
    /// Unix seconds.
    pub(super) not_after: i64,
    /// Which clients are replicas of this server.
    pub(super) replicas: KnownReplicas,
    /// Verifies other replicas as servers.
    pub(super) peers: Option<Verifier>,
    client_ca: Vec<CertificateDer<'static>>,
    /// Cancelled once other CAs verify clients.
    pub(super) client_trust: CancellationToken,
    /// Cancelled once other files are in force.
    pub(super) superseded: CancellationToken,
}

impl Loaded {
    pub(super) fn validity(&self, now: UnixMs) -> Validity {
        let (now, life) = (now.0.div_euclid(1000), self.not_after.saturating_sub(self.not_before));
        let part = Duration::from_secs(u64::try_from(life).unwrap_or(0)) / SOON_PART;
        let soon = i64::try_from(SOON.min(part).as_secs()).unwrap_or(0);
        if now > self.not_after {
            Validity::Ended
        } else if now < self.not_before {
            Validity::NotYet
        } else if self.not_after - now < soon {
            Validity::EndsSoon
        } else {
            Validity::Fine
        }
    }

    pub(super) fn expires_at(&self) -> UnixMs {
        UnixMs(self.not_after.saturating_mul(1000))
    }

    /// The server's own certificate.
    pub(super) fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.pair.cert.first()
    }

    /// Names and end, for the log.
    pub(super) fn summary(&self) -> String {
        let names = &self.replicas.names;
        let names: Vec<_> = names.iter().map(AltName::text).collect();
        let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
        format!("the certificate is for {names}, and valid until {}", day(self.not_after))
    }

    pub(super) fn expired(&self, settings: &TlsSettings) -> TlsError {
        TlsError::Expired { cert: settings.cert.clone(), day: day(self.not_after) }
    }

    pub(super) fn not_yet(&self, settings: &TlsSettings) -> TlsError {
        TlsError::NotYet { cert: settings.cert.clone(), day: day(self.not_before) }
    }

    /// Takes over what the CAs for clients verified, unless one of them was taken away. Then all clients have to connect again.
    pub(super) fn replacing(self, old: &Self) -> Self {
        if old.client_ca.iter().all(|ca| self.client_ca.contains(ca)) {
            return Self { client_trust: old.client_trust.clone(), ..self };
        }
        old.client_trust.cancel();
        self
    }

    /// Logs what a person should know about these files.
    pub(super) fn announce(&self, settings: &TlsSettings, now: UnixMs) {
        let (path, until) = (settings.cert.display(), day(self.not_after));
        match self.validity(now) {
            Validity::Fine => {}
            Validity::EndsSoon => tracing::warn!(%path, "the server's certificate ends soon, on {until}: renew it"),
            Validity::Ended => {
                tracing::error!(%path, "the server's certificate expired on {until}, so clients refuse it: renew it");
            }
            Validity::NotYet => {
                let from = day(self.not_before);
                tracing::error!(%path, "the server's certificate is valid from {from} only, so clients refuse it: is a clock wrong?");
            }
        }
        if is_readable_by_others(&settings.key) {
            let path = settings.key.display();
            tracing::warn!(%path, "every user of this machine can read the private key: chmod o-r makes it private, defaultMode: 0440 for a mounted Secret");
        }
    }
}

fn is_readable_by_others(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.mode() & READABLE_BY_OTHERS != 0)
}

/// Reads all files.
pub(super) fn load(settings: &TlsSettings) -> Result<Loaded, TlsError> {
    let provider = provider();
    let unusable = |why| TlsError::Pair { cert: settings.cert.clone(), key: settings.key.clone(), why };
    let pair = pem::pair(&[settings.cert.clone(), settings.key.clone()], &provider).map_err(unusable)?;
    let leaf = pair.cert.first().and_then(|leaf| Certificate::read(leaf));
    let leaf = leaf.ok_or_else(|| unusable(io::Error::other("its first certificate cannot be read")))?;
    let (not_before, not_after) = (leaf.not_before, leaf.not_after);
    let names = names_of(&leaf);
    let (peers, by_ca) = settings.peer_ca.as_deref().map(peers).transpose()?.unzip();
    let replicas = KnownReplicas { own: pair.cert.first().cloned(), names, by_ca };
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| TlsError::Tls(error.to_string()))?;
    let mut client_ca = Vec::new();
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let (roots, listed) = authorities(path, "PORTOLAN_TLS_CLIENT_CA")?;
            client_ca = listed;
            let verifier = ClientsAndReplicas { clients: verifier_of_clients(roots)?, replicas: replicas.clone() };
            builder.with_client_cert_verifier(Arc::new(verifier))
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Fixed(Arc::clone(&pair))));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Loaded {
        config: Arc::new(config),
        pair,
        not_before,
        not_after,
        replicas,
        peers,
        client_ca,
        client_trust: CancellationToken::new(),
        superseded: CancellationToken::new(),
    })
}

fn authorities(path: &Path, setting: &'static str) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
    let unusable = |why| TlsError::Authorities { path: path.to_owned(), why, setting };
    let Authorities { roots, named, skipped } = pem::authorities(path).map_err(unusable)?;
    if skipped > 0 {
        tracing::warn!(path = %path.display(), skipped, "certificates of a CA file cannot be read, and are not trusted");
    }
    Ok((roots, named))
}

/// The verifiers of other replicas, as servers and as clients.
fn peers(path: &Path) -> Result<(Verifier, Arc<dyn ClientCertVerifier>), TlsError> {
    let (roots, named) = authorities(path, "PORTOLAN_TLS_PEER_CA")?;
    let servers = Verifier::new(Arc::new(roots.clone()), named, provider());
    let servers = servers.ok_or_else(|| TlsError::Tls("the CA file of the replicas is empty".to_owned()))?;
    Ok((servers, verifier_of_clients(roots)?))
}

/// The API refuses a request without a certificate, in words; a handshake could only break off.
fn verifier_of_clients(roots: RootCertStore) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).allow_unauthenticated();
    builder.build().map_err(|error| TlsError::Tls(error.to_string()))
}

/// One certificate, whatever name a client asks for.
#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
