//! TLS for probes.
//!
//! - In: an open connection, the check's TLS settings, the host.
//! - Out: an encrypted stream, or what the failure says about the peer or about this machine.
//!
//! Read the files in this order: this one (the settings' cache and the handshake), `objects` (certificates from the cluster), `client_cert` (the client's side), `shown` (when a certificate
//! expires), `alert` (what a TLS error means). Which certificates are trusted, and how files are read: [`crypto`](crate::crypto).
//!
//! Sessions are never resumed: a resumed handshake shows no certificate, and an expired one would go unnoticed.

mod alert;
mod client_cert;
pub(super) mod errors;
mod objects;
mod shown;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) use self::client_cert::ClientAuth;
use self::errors::broken_io;
use self::objects::{NamedTexts, Objects};
use self::shown::Shown;
use super::trace::{Ending, Trace};
use crate::crypto::certificate::Certificate;
use crate::crypto::pem::{self, Authorities};
use crate::crypto::stamp::Stamp;
use crate::crypto::verifier::{AnyCertificate, Verifier};
use crate::model::certificates::Pem;
use crate::model::check::TlsCheck;
use crate::model::outcome::Reason;
use crate::model::ports::CertificateObjects;
use crate::model::url::Host;
use crate::telemetry::metrics::Metrics;

/// Most settings in the cache.
const MAX_CONFIGS: usize = 512;
/// Most names of a certificate that a message is made from.
const MAX_NAMES: usize = 64;
/// How often files are checked for changes.
const FILES_CHECKED_EVERY: Duration = Duration::from_secs(1);

/// The protocol inside, as offered by ALPN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Alpn {
    Http1,
    Http2,
}

/// TLS settings, made once and shared by all probes that need the same.
#[derive(Debug)]
pub(crate) struct Tls {
    ca_dir: Option<PathBuf>,
    objects: Objects,
    provider: Arc<CryptoProvider>,
    system: OnceCell<Arc<RootCertStore>>,
    ready: Mutex<HashMap<ConfigKey, Ready>>,
    metrics: Metrics,
}

/// The key of cached settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ConfigKey {
    trust: Trust,
    pair: Option<PairName>,
    alpn: Alpn,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Trust {
    /// The system's roots.
    System,
    /// Any certificate.
    Any,
    /// A file of the CA folder.
    File(String),
    /// The text of an object, by its digest: many namespaces have the same one.
    Text([u8; 32]),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum PairName {
    /// Files of the CA folder.
    File(String),
    /// The text of a Secret, by its digest.
    Text([u8; 32]),
}

impl ConfigKey {
    fn of(check: &TlsCheck, texts: &NamedTexts, alpn: Alpn) -> Self {
        let trust = match (check, &texts.ca) {
            (TlsCheck { verify: false, .. }, _) => Trust::Any,
            (_, Some(ca)) => Trust::Text(ca.pem.digest()),
            (TlsCheck { ca: Some(file), .. }, None) => Trust::File(file.clone()),
            _ => Trust::System,
        };
        let pair = match (&texts.pair, &check.client_cert) {
            (Some(pair), _) => Some(PairName::Text(pair.pem.digest())),
            (None, name) => name.clone().map(PairName::File),
        };
        Self { trust, pair, alpn }
    }

    fn pair_file(&self) -> Option<&String> {
        if let Some(PairName::File(name)) = &self.pair { Some(name) } else { None }
    }

    /// The files that the settings are made from.
    fn files(&self, folder: &Path) -> Vec<PathBuf> {
        let ca = if let Trust::File(name) = &self.trust { Some(folder.join(name)) } else { None };
        let pair = self.pair_file().into_iter().flat_map(|name| pem::pair_files(folder, name));
        ca.into_iter().chain(pair).collect()
    }
}

#[derive(Debug, Clone)]
struct Ready {
    config: Arc<ClientConfig>,
    verifier: Arc<dyn ServerCertVerifier>,
    pair: Option<Arc<CertifiedKey>>,
    /// Its files' stamps, and when they were last checked.
    files: Vec<(PathBuf, Option<Stamp>)>,
    checked_at: Instant,
    /// The texts of objects that it was made from.
    texts: Vec<Weak<Pem>>,
}

impl Ready {
    fn fresh(&self) -> bool {
        self.files.is_empty() || self.checked_at.elapsed() < FILES_CHECKED_EVERY
    }

    /// Whether it was made from a text that no object has any more.
    fn outdated(&self) -> bool {
        self.texts.iter().any(|text| text.strong_count() == 0)
    }

    fn changed(&self, files: &[(PathBuf, Option<Stamp>)]) -> bool {
        self.files != files
    }
}

impl Tls {
    pub(crate) fn new(ca_dir: Option<PathBuf>, objects: Option<Arc<dyn CertificateObjects>>, metrics: Metrics) -> Self {
        let provider = crate::crypto::provider();
        Self { ca_dir, objects: Objects(objects), provider, system: OnceCell::new(), ready: Mutex::default(), metrics }
    }

    /// Shakes hands on an open connection, and notes the certificate that is shown. The returned [`ClientAuth`] explains later failures.
    ///
    /// # Errors
    /// The judgement and the connection; inconclusive if this machine lacks what the check names.
    pub(crate) async fn handshake<S>(
        &self,
        stream: S,
        check: &TlsCheck,
        (host, alpn): (&Host, Alpn),
        deadline: tokio::time::Instant,
        trace: &mut Trace,
    ) -> Result<(TlsStream<S>, Arc<ClientAuth>), (Ending, S)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match server_name(check, host) {
            Ok(name) => name,
            Err(ending) => return Err((ending, stream)),
        };
        let texts = match self.objects.get(check, deadline).await {
            Ok(texts) => texts,
            Err(ending) => return Err((ending, stream)),
        };
        let ready = match self.ready(ConfigKey::of(check, &texts, alpn), &texts).await {
            Ok(ready) => ready,
            Err(ending) => {
                self.objects.doubt_all(&texts);
                return Err((ending, stream));
            }
        };
        let client = ClientAuth::new(ready.pair, self.objects.doubt(texts.pair.as_ref()));
        let mut config = ClientConfig::clone(&ready.config);
        config.client_auth_cert_resolver = client.clone();
        let shown = Arc::new(Shown::to(ready.verifier));
        config.dangerous().set_certificate_verifier(shown.clone());
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).into_fallible().await;
        trace.shown_certificate(shown.expires_at());
        match connected {
            Ok(stream) => Ok((stream, client)),
            Err((error, stream)) => {
                if let Some(doubt) = self.objects.doubt(texts.ca.as_ref()) {
                    doubt.report();
                }
                Err((client.explain(broken_io(&error)), stream))
            }
        }
    }

    async fn ready(&self, wanted: ConfigKey, texts: &NamedTexts) -> Result<Ready, Ending> {
        let known = self.known(&wanted);
        if let Some(ready) = known.as_ref().filter(|ready| ready.fresh()) {
            return Ok(ready.clone());
        }
        let folder = self.folder(&wanted)?.to_owned();
        let roots = if wanted.trust == Trust::System { Some(self.system().await?) } else { None };
        let sources = Sources { folder, roots, texts: texts.clone(), verifier: self.verifier_of(&wanted.trust) };
        let (provider, making) = (self.provider.clone(), wanted.clone());
        let made = tokio::task::spawn_blocking(move || make(&making, sources, &provider, known)).await;
        let ready = made.unwrap_or_else(|_| Err("reading was cut short".to_owned()));
        let ready = ready.map_err(|message| Ending::inconclusive(Reason::CaUnavailable, message))?;
        self.keep(wanted, ready.clone());
        Ok(ready)
    }

    /// What is kept for these settings. Drops what was made from texts that are gone, with the keys in it.
    fn known(&self, wanted: &ConfigKey) -> Option<Ready> {
        let mut kept = self.kept();
        kept.retain(|_, ready| !ready.outdated());
        kept.get(wanted).cloned()
    }

    /// The verifier of a text that is in use already.
    fn verifier_of(&self, trust: &Trust) -> Option<Arc<dyn ServerCertVerifier>> {
        let Trust::Text(_) = trust else { return None };
        self.kept().iter().find(|(key, _)| key.trust == *trust).map(|(_, ready)| Arc::clone(&ready.verifier))
    }

    fn keep(&self, wanted: ConfigKey, ready: Ready) {
        let mut kept = self.kept();
        if kept.len() >= MAX_CONFIGS && !kept.contains_key(&wanted) {
            self.metrics.reject("ca_cache_full");
            kept.clear();
        }
        kept.insert(wanted, ready);
    }

    /// The folder of the named files; any if there are none.
    fn folder(&self, wanted: &ConfigKey) -> Result<&Path, Ending> {
        let unavailable = |message: &str| Err(Ending::inconclusive(Reason::CaUnavailable, message));
        let ca = if let Trust::File(name) = &wanted.trust { Some(("tls.ca", name)) } else { None };
        let named = ca.into_iter().chain(wanted.pair_file().map(|name| ("tls.client_cert", name)));
        for (field, name) in named {
            if self.ca_dir.is_none() {
                return unavailable(&format!("{field} needs PORTOLAN_CA_DIR, which is not set on this server"));
            }
            if name.starts_with('.') || name.contains(['/', '\\', '\0']) {
                return unavailable(&format!("{field} is the name of a file, never a path"));
            }
        }
        Ok(self.ca_dir.as_deref().unwrap_or(Path::new("")))
    }

    /// The system's roots, read at the first use.
    async fn system(&self) -> Result<Arc<RootCertStore>, Ending> {
        let read = || async {
            let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await.map_err(|_| ())?;
            for error in found.errors.iter().take(8) {
                tracing::warn!(%error, "some of the system's root certificates cannot be read, and are not trusted");
            }
            let mut roots = RootCertStore::empty();
            let (_, skipped) = roots.add_parsable_certificates(found.certs);
            if skipped > 0 {
                tracing::warn!(skipped, "some of the system's root certificates are malformed, and are not trusted");
            }
            if roots.is_empty() { Err(()) } else { Ok(Arc::new(roots)) }
        };
        let missing = |()| {
            let message = "this machine has no trusted root certificates; install ca-certificates or set SSL_CERT_FILE";
            Ending::inconclusive(Reason::CaUnavailable, message)
        };
        self.system.get_or_try_init(read).await.cloned().map_err(missing)
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<ConfigKey, Ready>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What settings are made from.
struct Sources {
    /// Where files are.
    folder: PathBuf,
    /// The system's.
    roots: Option<Arc<RootCertStore>>,
    texts: NamedTexts,
    /// One that was made from the same text.
    verifier: Option<Arc<dyn ServerCertVerifier>>,
}

/// Makes settings from their sources, unless the files are unchanged since those that are `known`.
fn make(
    wanted: &ConfigKey,
    sources: Sources,
    provider: &Arc<CryptoProvider>,
    known: Option<Ready>,
) -> Result<Ready, String> {
    let Sources { folder, roots, texts, verifier: shared } = sources;
    let stamped = |path: PathBuf| {
        let stamp = Stamp::of(&path);
        (path, stamp)
    };
    let files: Vec<_> = wanted.files(&folder).into_iter().map(stamped).collect();
    if let Some(known) = known.filter(|known| !known.changed(&files)) {
        return Ok(Ready { checked_at: Instant::now(), ..known });
    }
    let verifier: Arc<dyn ServerCertVerifier> = match &wanted.trust {
        Trust::Any => Arc::new(AnyCertificate::new(provider.clone())),
        Trust::System => verifier(roots.unwrap_or_else(|| Arc::new(RootCertStore::empty())), Vec::new(), provider)?,
        Trust::File(name) => {
            let unusable = |error: io::Error| format!("the CA file {name} in PORTOLAN_CA_DIR cannot be used: {error}");
            let path = folder.join(name);
            let Authorities { roots, named, skipped } = pem::authorities(&path).map_err(unusable)?;
            if skipped > 0 {
                tracing::warn!(path = %path.display(), skipped, "certificates of a CA file cannot be read, and are not trusted");
            }
            verifier(Arc::new(roots), named, provider)?
        }
        Trust::Text(_) => match shared {
            Some(shared) => shared,
            None => texts.verifier(provider)?,
        },
    };
    let unusable = |name: &String, error: io::Error| {
        format!("the client certificate {name} in PORTOLAN_CA_DIR cannot be used: {error}")
    };
    let pair = match &wanted.pair {
        None => None,
        Some(PairName::Text(_)) => texts.pair(provider)?,
        Some(PairName::File(name)) => {
            let read = pem::pair(&pem::pair_files(&folder, name), provider);
            Some(read.map_err(|error| unusable(name, error))?)
        }
    };
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().map_err(|_| NO_TLS.to_owned())?;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier.clone()).with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![match wanted.alpn {
        Alpn::Http1 => b"http/1.1".to_vec(),
        Alpn::Http2 => b"h2".to_vec(),
    }];
    Ok(Ready { config: Arc::new(config), verifier, pair, files, checked_at: Instant::now(), texts: texts.weak() })
}

/// Whether a certificate that was shown has the wanted name; not where it cannot be read.
pub(super) fn has_name(certificate: &[u8], wanted: &str) -> bool {
    Certificate::read(certificate).is_some_and(|read| read.has_alt_name(|name| is_name(name, wanted)))
}

/// The names of a certificate that was shown, at most 64; none where it cannot be read.
pub(super) fn alt_names(certificate: &[u8]) -> Vec<String> {
    Certificate::read(certificate).map(|read| read.alt_names(MAX_NAMES)).unwrap_or_default()
}

/// Whether a certificate's name stands for the wanted one: the same text, whatever the case, or `*` in place of the first label.
fn is_name(name: &str, wanted: &str) -> bool {
    let by_wildcard = || {
        let domain = name.strip_prefix("*.")?;
        let (label, rest) = wanted.split_once('.')?;
        Some(!label.is_empty() && !label.contains([':', '/', '@']) && rest.eq_ignore_ascii_case(domain))
    };
    name.eq_ignore_ascii_case(wanted) || by_wildcard().unwrap_or(false)
}

const NO_TLS: &str = "TLS cannot be set up on this machine";

fn verifier(
    roots: Arc<RootCertStore>,
    named: Vec<rustls::pki_types::CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<Verifier>, String> {
    Verifier::new(roots, named, provider.clone()).map(Arc::new).ok_or_else(|| NO_TLS.to_owned())
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
