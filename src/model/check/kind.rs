//! The kinds of check: their settings, what these may hold, and the target that follows from them and the instance's URLs.

use std::ops::RangeInclusive;

use super::super::request_options::{Method, RequestOptions};
use super::super::text;
use super::super::url::{EndpointUrl, Host, Scheme, Unescaped};
use super::identity::{Demands, Identity, Words, accept_pointer};
use super::tls::TlsCheck;

/// Longest `http.path`, in bytes.
pub(super) const MAX_PATH: usize = 512;
/// Most statuses in `http.expected_statuses`.
const MAX_STATUSES: usize = 16;
/// The statuses that a check may expect.
pub const HTTP_STATUSES: RangeInclusive<u16> = 100..=599;
/// Longest `grpc.service`, in characters.
const MAX_GRPC_SERVICE: usize = 255;
/// Bounds of `heartbeat.ttl_seconds`.
pub const TTL: RangeInclusive<u32> = 1..=86_400;

/// The kinds of check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// A request whose status decides.
    Http(HttpCheck),
    /// A TCP connection that opens.
    Tcp,
    /// `grpc.health.v1.Health/Check` answers SERVING.
    Grpc(GrpcCheck),
    /// The program itself reports, within a TTL.
    Heartbeat(HeartbeatCheck),
    /// Kubernetes reports whether it is ready: never probed, and only of an instance that is adopted from a core Service.
    Readiness,
    /// Never probed; always selectable.
    None,
}

impl CheckKind {
    /// The name of every kind that can be asked for, as in JSON and in manifests.
    pub const NAMES: &[&str] = &["http", "tcp", "grpc", "heartbeat", "none"];
    /// The schemes that a kind can probe, for each kind that cannot probe every URL.
    pub const SCHEMES: &[(&str, &[&str])] =
        &[("http", &["http", "https"]), ("grpc", &["grpc", "grpcs", "http", "https"])];

    pub(super) fn accept(&self) -> Result<(), String> {
        match self {
            Self::Http(http) => http.accept(),
            Self::Grpc(grpc) => grpc.accept(),
            Self::Heartbeat(heartbeat) => heartbeat.accept(),
            Self::Tcp | Self::Readiness | Self::None => Ok(()),
        }
    }

    /// What a probe does, given the instance's URLs; none where it is never probed.
    pub(super) fn target(
        &self,
        base: &EndpointUrl,
        health: Option<&EndpointUrl>,
    ) -> Result<Option<Target>, CheckError> {
        let url = health.unwrap_or(base);
        match self {
            Self::Http(http) => http.target(base, health).map(Some),
            Self::Tcp => Ok(Some(Target::tcp(url))),
            Self::Grpc(grpc) => grpc.target(url).map(Some),
            Self::Heartbeat(_) | Self::Readiness | Self::None => Ok(None),
        }
    }
}

/// An http check's settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpCheck {
    /// Request target on the origin of the base URL, used where no health URL is given; default `/`.
    pub path: Option<String>,
    /// The request beyond a plain GET; only a manifest sets it.
    pub request_options: RequestOptions,
    /// Statuses that pass; empty means 200 to 299.
    pub expected_statuses: Vec<u16>,
    /// TLS, for https.
    pub tls: TlsCheck,
    /// What proves that the right program answers.
    pub identity: Identity,
    /// The JSON pointer of the version in the answer's body.
    pub version_from: Option<String>,
}

/// The statuses that pass, as every sentence and screen says it: `2xx` where none are named, else `200 or 401`.
///
/// ```
/// use portolan::model::check::wanted_statuses;
///
/// assert_eq!(wanted_statuses(&[]), "2xx");
/// assert_eq!(wanted_statuses(&[200, 302, 401]), "200, 302 or 401");
/// ```
pub fn wanted_statuses(expected: &[u16]) -> String {
    let texts: Vec<String> = expected.iter().map(u16::to_string).collect();
    match texts.split_last() {
        None => "2xx".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

/// A heartbeat check's settings: the program reports by itself, at least once within the TTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatCheck {
    /// Seconds within which it reports again, in [`TTL`].
    pub ttl_seconds: u32,
}

impl HeartbeatCheck {
    fn accept(self) -> Result<(), String> {
        if TTL.contains(&self.ttl_seconds) {
            return Ok(());
        }
        Err(format!("heartbeat.ttl_seconds is {} to {}, not {}", TTL.start(), TTL.end(), self.ttl_seconds))
    }

    /// The time within which it reports again.
    pub fn ttl(self) -> std::time::Duration {
        std::time::Duration::from_secs(self.ttl_seconds.into())
    }
}

/// A grpc check's settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrpcCheck {
    /// The service to ask about; empty means the whole server
    /// ([protocol](https://github.com/grpc/grpc/blob/master/doc/health-checking.md)).
    pub service: String,
    /// TLS, for grpcs.
    pub tls: TlsCheck,
}

/// What one probe does, fully resolved but for DNS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Send an HTTP request to `host:port`.
    Http {
        /// Name or address.
        host: Host,
        /// Port, 1 to 65535.
        port: u16,
        /// Path and query, starting with `/`.
        target: String,
        /// The request beyond a plain GET; none for a plain GET.
        request_options: Option<Box<RequestOptions>>,
        /// TLS, for https.
        tls: Option<TlsCheck>,
        /// Statuses that pass; empty means 200 to 299.
        expected: Vec<u16>,
        /// What else is read of the answer; none for the status alone.
        demands: Option<Box<Demands>>,
    },
    /// Open a TCP connection.
    Tcp {
        /// Name or address.
        host: Host,
        /// Port, 1 to 65535.
        port: u16,
    },
    /// Ask the gRPC health service.
    Grpc {
        /// Name or address.
        host: Host,
        /// Port, 1 to 65535.
        port: u16,
        /// Service to ask about, empty for the whole server.
        service: String,
        /// TLS, for grpcs.
        tls: Option<TlsCheck>,
    },
}

impl Target {
    fn tcp(url: &EndpointUrl) -> Self {
        Self::Tcp { host: url.host().clone(), port: url.port() }
    }

    /// The target of a check without a kind: the health URL's scheme decides.
    pub(super) fn by_scheme(url: &EndpointUrl) -> Self {
        let (host, port) = (url.host().clone(), url.port());
        let tls = |on: bool| on.then(TlsCheck::default);
        match url.scheme() {
            Scheme::Http | Scheme::Https => Self::Http {
                host,
                port,
                target: url.target().to_owned(),
                request_options: None,
                tls: tls(*url.scheme() == Scheme::Https),
                expected: Vec::new(),
                demands: None,
            },
            Scheme::Grpc | Scheme::Grpcs => {
                Self::Grpc { host, port, service: String::new(), tls: tls(*url.scheme() == Scheme::Grpcs) }
            }
            Scheme::Tcp | Scheme::Other(_) => Self::tcp(url),
        }
    }

    /// The target of this service: each word of its demands replaced by what it stands for, and its certificates from the service's namespace.
    #[must_use]
    pub fn resolved(mut self, words: Words<'_>) -> Self {
        if let Self::Http { demands: Some(demands), .. } = &mut self {
            **demands = demands.resolved(words);
        }
        if let Self::Http { tls: Some(tls), .. } | Self::Grpc { tls: Some(tls), .. } = &mut self {
            tls.bind(words.namespace);
        }
        self
    }

    /// Whether more of its answers is read than the status.
    pub fn has_demands(&self) -> bool {
        matches!(self, Self::Http { demands: Some(_), .. })
    }

    /// Where its answers report a version, as a JSON pointer.
    pub fn version_from(&self) -> Option<&str> {
        match self {
            Self::Http { demands, .. } => demands.as_ref()?.version_from.as_deref(),
            Self::Tcp { .. } | Self::Grpc { .. } => None,
        }
    }

    /// Name or address that is dialled.
    pub fn host(&self) -> &Host {
        match self {
            Self::Http { host, .. } | Self::Tcp { host, .. } | Self::Grpc { host, .. } => host,
        }
    }

    /// Port that is dialled.
    pub fn port(&self) -> u16 {
        match self {
            Self::Http { port, .. } | Self::Tcp { port, .. } | Self::Grpc { port, .. } => *port,
        }
    }

    /// `http`, `tcp` or `grpc`, as in metric labels.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http { .. } => "http",
            Self::Tcp { .. } => "tcp",
            Self::Grpc { .. } => "grpc",
        }
    }
}

/// Why a check does not fit its instance, with what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// An http check needs an http address.
    #[error("an http check needs an http or https base_url or health_url, not {0}")]
    NotHttp(String),
    /// A grpc check needs an address that speaks it.
    #[error("a grpc check needs a grpc, grpcs, http or https base_url or health_url, not {0}")]
    NotGrpc(String),
    /// A name in a certificate needs a certificate.
    #[error("http.identity.tls_san needs an https base_url or health_url, not {0}")]
    SanWithoutTls(String),
    /// An http check on a health URL of another scheme.
    #[error("give either health_url or check.http.path, not both")]
    TwoPaths,
}

impl HttpCheck {
    fn accept(&self) -> Result<(), String> {
        let visible = |b: u8| b.is_ascii_graphic() && b != b'#';
        let fits = |path: &String| path.starts_with('/') && path.len() <= MAX_PATH && path.bytes().all(visible);
        if let Some(unescaped) = self.path.as_deref().and_then(unescaped) {
            return Err(format!("http.path {unescaped}"));
        }
        if !self.path.as_ref().is_none_or(fits) {
            return Err(format!(
                "http.path starts with '/', and is at most {MAX_PATH} visible ASCII characters without '#'"
            ));
        }
        let statuses = &self.expected_statuses;
        if statuses.len() > MAX_STATUSES || statuses.iter().any(|s| !HTTP_STATUSES.contains(s)) {
            return Err(format!("http.expected_statuses holds at most {MAX_STATUSES} statuses from 100 to 599"));
        }
        self.request_options.accept()?;
        self.identity.accept()?;
        if let Some(pointer) = &self.version_from {
            accept_pointer("http.version_from", pointer)?;
        }
        if self.request_options.method == Method::Head && self.demands().is_some_and(|demands| demands.reads_body()) {
            return Err(
                "http.identity.json and http.version_from need an answer with a body: leave http.method GET".to_owned()
            );
        }
        self.tls.accept()
    }

    fn demands(&self) -> Option<Demands> {
        let demands = Demands { identity: self.identity.clone(), version_from: self.version_from.clone() };
        (demands != Demands::default()).then_some(demands)
    }

    fn target(&self, base: &EndpointUrl, health: Option<&EndpointUrl>) -> Result<Target, CheckError> {
        if health.is_some() && self.path.is_some() {
            return Err(CheckError::TwoPaths);
        }
        let url = health.unwrap_or(base);
        let secure = match url.scheme() {
            Scheme::Http => false,
            Scheme::Https => true,
            other => return Err(CheckError::NotHttp(other.as_str().to_owned())),
        };
        if self.identity.tls_san.is_some() && !secure {
            return Err(CheckError::SanWithoutTls(url.scheme().as_str().to_owned()));
        }
        let target = match (&self.path, health) {
            (Some(path), _) => path.clone(),
            (None, Some(url)) => url.target().to_owned(),
            (None, None) => "/".to_owned(),
        };
        Ok(Target::Http {
            host: url.host().clone(),
            port: url.port(),
            target,
            request_options: (!self.request_options.is_plain()).then(|| Box::new(self.request_options.clone())),
            tls: secure.then(|| self.tls.clone()),
            expected: self.expected_statuses.clone(),
            demands: self.demands().map(Box::new),
        })
    }
}

impl GrpcCheck {
    fn accept(&self) -> Result<(), String> {
        text::accept(&self.service, MAX_GRPC_SERVICE).map_err(|e| format!("grpc.service: {e}"))?;
        self.tls.accept()
    }

    fn target(&self, url: &EndpointUrl) -> Result<Target, CheckError> {
        let secure = match url.scheme() {
            Scheme::Grpc | Scheme::Http => false,
            Scheme::Grpcs | Scheme::Https => true,
            other => return Err(CheckError::NotGrpc(other.as_str().to_owned())),
        };
        Ok(Target::Grpc {
            host: url.host().clone(),
            port: url.port(),
            service: self.service.clone(),
            tls: secure.then(|| self.tls.clone()),
        })
    }
}

/// The first character of a path that has to be escaped.
fn unescaped(path: &str) -> Option<Unescaped> {
    let wrong = path.chars().zip(1..).find(|(c, _)| !c.is_ascii_graphic());
    wrong.map(|(character, at)| Unescaped { character, at })
}
