//! TLS for probes.
//!
//! Sessions are never resumed: a resumed handshake shows no certificate, and an expired one would go unnoticed.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::evidence::Ending;
use super::trust::Anyone;
use super::wire::broken_io;
use crate::model::check::TlsCheck;
use crate::model::outcome::Reason;
use crate::model::url::Host;
use crate::telemetry::metrics::Metrics;

/// Most CA files kept ready.
const MAX_CONFIGS: usize = 128;
/// Largest CA file, in bytes.
const MAX_CA_FILE: u64 = 1024 * 1024;
/// How often a CA file is looked at for a change.
const FILES_CHECKED_EVERY: Duration = Duration::from_secs(1);

/// What is spoken inside, as offered by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Inside {
    Http1,
    Http2,
}

/// TLS settings, made once and shared by all probes that need the same.
#[derive(Debug)]
pub(super) struct Tls {
    ca_dir: Option<PathBuf>,
    provider: Arc<CryptoProvider>,
    system: OnceCell<Arc<RootCertStore>>,
    ready: Mutex<HashMap<(Trust, Inside), Ready>>,
    metrics: Metrics,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Trust {
    /// The system's roots.
    System,
    /// Any certificate whose key signs the handshake.
    Anyone,
    /// A file of the CA folder.
    File(String),
}

#[derive(Debug, Clone)]
struct Ready {
    config: Arc<ClientConfig>,
    /// Of a file: its change time and size, and when they were last looked at.
    file: Option<(Stamp, Instant)>,
}

type Stamp = (Option<SystemTime>, u64);

impl Tls {
    pub(super) fn new(ca_dir: Option<PathBuf>, metrics: Metrics) -> Self {
        let provider = crate::crypto::provider();
        Self { ca_dir, provider, system: OnceCell::new(), ready: Mutex::default(), metrics }
    }

    /// Shakes hands on an open connection.
    ///
    /// # Errors
    /// What it says about the peer; inconclusive where this machine lacks what the check trusts.
    pub(super) async fn handshake<S>(
        &self,
        stream: S,
        check: &TlsCheck,
        host: &Host,
        inside: Inside,
    ) -> Result<TlsStream<S>, Ending>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = server_name(check, host)?;
        let config = self.config(check, inside).await?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| broken_io(&error))
    }

    async fn config(&self, check: &TlsCheck, inside: Inside) -> Result<Arc<ClientConfig>, Ending> {
        let trust = match check {
            TlsCheck { verify: false, .. } => Trust::Anyone,
            TlsCheck { ca: Some(file), .. } => Trust::File(file.clone()),
            _ => Trust::System,
        };
        let key = (trust, inside);
        let known = self.ready().get(&key).cloned();
        let fresh = |ready: &Ready| ready.file.is_none_or(|(_, looked)| looked.elapsed() < FILES_CHECKED_EVERY);
        if let Some(ready) = known.as_ref().filter(|ready| fresh(ready)) {
            return Ok(ready.config.clone());
        }
        let ready = match &key.0 {
            Trust::System => Ready { config: self.trusting(self.system().await?, inside)?, file: None },
            Trust::Anyone => Ready { config: self.trusting_anyone(inside)?, file: None },
            Trust::File(file) => self.trusting_file(file, inside, known).await?,
        };
        let config = ready.config.clone();
        self.keep(key, ready);
        Ok(config)
    }

    fn keep(&self, key: (Trust, Inside), ready: Ready) {
        let mut kept = self.ready();
        if kept.len() >= MAX_CONFIGS && !kept.contains_key(&key) {
            self.metrics.reject("ca_cache_full");
            kept.clear();
        }
        kept.insert(key, ready);
    }

    async fn trusting_file(&self, name: &str, inside: Inside, known: Option<Ready>) -> Result<Ready, Ending> {
        let path = self.ca_path(name)?;
        let before = known.as_ref().and_then(|ready| ready.file).map(|(stamp, _)| stamp);
        let read = tokio::task::spawn_blocking(move || read_ca(&path, before)).await;
        let read = read.unwrap_or_else(|_| Err(io::Error::other("reading was cut short")));
        let unusable = |error: &io::Error| {
            let message = format!("the CA file {name} in PORTOLAN_CA_DIR cannot be used: {error}");
            Ending::inconclusive(Reason::CaUnavailable, message)
        };
        let (stamp, roots) = read.map_err(|error| unusable(&error))?;
        let config = match (roots, known) {
            (Some(roots), _) => self.trusting(Arc::new(roots), inside)?,
            (None, Some(ready)) => ready.config,
            (None, None) => return Err(unusable(&io::ErrorKind::NotFound.into())),
        };
        Ok(Ready { config, file: Some((stamp, Instant::now())) })
    }

    fn ca_path(&self, name: &str) -> Result<PathBuf, Ending> {
        let plain = !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        match &self.ca_dir {
            Some(folder) if plain => Ok(folder.join(name)),
            Some(_) => Err(Ending::inconclusive(Reason::CaUnavailable, "tls.ca is the name of a file, never a path")),
            None => Err(Ending::inconclusive(
                Reason::CaUnavailable,
                "tls.ca needs PORTOLAN_CA_DIR, which is not set on this server",
            )),
        }
    }

    /// The system's roots, read at the first use.
    async fn system(&self) -> Result<Arc<RootCertStore>, Ending> {
        let read = || async {
            let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await.map_err(|_| ())?;
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() { Err(()) } else { Ok(Arc::new(roots)) }
        };
        let missing = |()| {
            let message = "this machine has no trusted root certificates; install ca-certificates or set SSL_CERT_FILE";
            Ending::inconclusive(Reason::CaUnavailable, message)
        };
        self.system.get_or_try_init(read).await.cloned().map_err(missing)
    }

    fn trusting(&self, roots: Arc<RootCertStore>, inside: Inside) -> Result<Arc<ClientConfig>, Ending> {
        Ok(finish(self.versions()?.with_root_certificates(roots).with_no_client_auth(), inside))
    }

    fn trusting_anyone(&self, inside: Inside) -> Result<Arc<ClientConfig>, Ending> {
        let anyone = Arc::new(Anyone::new(self.provider.clone()));
        let config = self.versions()?.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth();
        Ok(finish(config, inside))
    }

    fn versions(&self) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Ending> {
        let unusable = |_| Ending::inconclusive(Reason::CaUnavailable, "TLS cannot be set up on this machine");
        let builder = ClientConfig::builder_with_provider(self.provider.clone());
        builder.with_safe_default_protocol_versions().map_err(unusable)
    }

    fn ready(&self) -> MutexGuard<'_, HashMap<(Trust, Inside), Ready>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn finish(mut config: ClientConfig, inside: Inside) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![match inside {
        Inside::Http1 => b"http/1.1".to_vec(),
        Inside::Http2 => b"h2".to_vec(),
    }];
    Arc::new(config)
}

/// Reads a CA file unless it is as it was `before`.
fn read_ca(path: &Path, before: Option<Stamp>) -> io::Result<(Stamp, Option<RootCertStore>)> {
    let meta = std::fs::metadata(path)?;
    let stamp = (meta.modified().ok(), meta.len());
    if before == Some(stamp) {
        return Ok((stamp, None));
    }
    if !meta.is_file() || meta.len() > MAX_CA_FILE {
        return Err(io::Error::other("it is no file of at most 1 MiB"));
    }
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&std::fs::read(path)?) {
        let certificate = certificate.map_err(|_| io::Error::other("it is not PEM"))?;
        roots.add(certificate).map_err(|_| io::Error::other("it holds a certificate that cannot be read"))?;
    }
    if roots.is_empty() {
        return Err(io::Error::other("it holds no certificate"));
    }
    Ok((stamp, Some(roots)))
}

fn server_name(check: &TlsCheck, host: &Host) -> Result<ServerName<'static>, Ending> {
    let name = match (&check.server_name, host) {
        (None, Host::Ip(ip)) => return Ok(ServerName::IpAddress(ip.to_canonical().into())),
        (None, Host::Name(name)) | (Some(name), _) => name,
    };
    let plain = name.strip_suffix('.').unwrap_or(name);
    ServerName::try_from(plain.to_owned()).map_err(|_| {
        Ending::fail(Reason::TlsFailed, format!("{name} cannot be a TLS server name; set tls.server_name"))
    })
}

/// What a TLS error inside an I/O error says about the peer; none where there is no TLS in it.
pub(super) fn alert(error: &io::Error) -> Option<Ending> {
    use rustls::{AlertDescription, Error};
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidCertificate(why) => Ending::fail(Reason::CertificateInvalid, certificate(why)),
        Error::NoCertificatesPresented => Ending::fail(Reason::CertificateInvalid, "the server shows no certificate"),
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) | Error::NoApplicationProtocol => {
            Ending::fail(Reason::TlsFailed, "the server does not offer the protocol of this check over TLS")
        }
        Error::AlertReceived(alert) => {
            Ending::fail(Reason::TlsFailed, format!("the server ended the TLS handshake with the alert {alert:?}"))
        }
        Error::InvalidMessage(_) => Ending::fail(Reason::TlsFailed, "the server does not speak TLS on this port"),
        Error::PeerIncompatible(_) => {
            Ending::fail(Reason::TlsFailed, "no TLS version or cipher suite in common with the server")
        }
        _ => Ending::fail(Reason::TlsFailed, "the TLS handshake failed"),
    })
}

fn certificate(why: &CertificateError) -> &'static str {
    use CertificateError as E;
    match why {
        E::Expired | E::ExpiredContext { .. } => "the server's certificate has expired",
        E::NotValidYet | E::NotValidYetContext { .. } => "the server's certificate is not valid yet",
        E::Revoked => "the server's certificate is revoked",
        E::UnknownIssuer => {
            "the server's certificate is not signed by a trusted CA; name one with tls.ca, or send the whole chain"
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "the server's certificate is for another name; set tls.server_name if that is right"
        }
        E::BadSignature => "the server's certificate carries a wrong signature",
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => "the server's certificate is not made for servers",
        _ => "the server's certificate is not acceptable",
    }
}
