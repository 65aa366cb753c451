//! How an instance is probed: what a registration says, and the plan that follows from it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check_json::CheckJson;
use super::request_options::RequestOptions;
use super::url::{EndpointUrl, Host, Scheme};

/// A check as a registration gives it. Absent parts take the defaults named here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "CheckJson", into = "CheckJson")]
pub struct Check {
    /// What is done; absent, it follows from the health URL's scheme.
    pub kind: Option<CheckKind>,
    /// Time between probes, 1 to 86,400 s; default `HEALTH_CHECK_INTERVAL`.
    pub interval_seconds: Option<u32>,
    /// Time that one probe may take, 1 to 60 s; default 5.
    pub timeout_seconds: Option<u32>,
    /// Time between confirming probes after a change, 1 to 300 s and at most the interval; default 1.
    pub retry_interval_seconds: Option<u32>,
    /// Consecutive fails that make an instance unhealthy, 1 to 10; default 3.
    pub unhealthy_threshold: Option<u32>,
    /// Consecutive passes that make an unhealthy instance healthy again, 1 to 10; default 1.
    pub healthy_threshold: Option<u32>,
}

/// The kinds of check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// A request whose status decides.
    Http(HttpCheck),
    /// A TCP connection that opens.
    Tcp,
    /// `grpc.health.v1.Health/Check` answers SERVING.
    Grpc(GrpcCheck),
    /// Never probed; always selectable.
    None,
}

/// An http check's own settings.
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
}

/// A grpc check's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrpcCheck {
    /// The service asked for; empty means the whole server
    /// ([protocol](https://github.com/grpc/grpc/blob/master/doc/health-checking.md)).
    pub service: String,
    /// TLS, for grpcs.
    pub tls: TlsCheck,
}

/// How a server's certificate is judged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsCheck {
    /// Whether it is verified at all; default true.
    pub verify: bool,
    /// The name expected in it, instead of the URL's host.
    pub server_name: Option<String>,
    /// A file name in the operator's `PORTOLAN_CA_DIR` to trust instead of the system's roots; never a path.
    pub ca: Option<String>,
    /// What is shown to a server that asks who its client is: a pair of `PORTOLAN_CA_DIR`, `NAME.crt` with `NAME.key`, or one PEM file
    /// of that name with both; never a path.
    pub client_cert: Option<String>,
}

impl Default for TlsCheck {
    fn default() -> Self {
        Self { verify: true, server_name: None, ca: None, client_cert: None }
    }
}

/// The numbers that drive a check, after defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timing {
    /// Time between the starts of two probes.
    pub interval: Duration,
    /// Time that one probe may take.
    pub timeout: Duration,
    /// Time between confirming probes.
    pub retry_interval: Duration,
    /// Consecutive fails that flip to unhealthy, ≥ 1.
    pub unhealthy_threshold: u32,
    /// Consecutive passes that flip back, ≥ 1.
    pub healthy_threshold: u32,
}

/// What one probe does, fully resolved but for DNS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Ask `host:port` for `target`.
    Http {
        /// Name or address.
        host: Host,
        /// Port, 1 to 65535.
        port: u16,
        /// Path and query, starting with `/`.
        target: String,
        /// The request beyond a plain GET; none for that.
        request_options: Option<Box<RequestOptions>>,
        /// TLS, for https.
        tls: Option<TlsCheck>,
        /// Statuses that pass; empty means 200 to 299.
        expected: Vec<u16>,
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
        /// Service asked for, empty for the server.
        service: String,
        /// TLS, for grpcs.
        tls: Option<TlsCheck>,
    },
}

impl Target {
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

/// What an instance's URLs and check add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "nearly every plan is a probe, and none is kept twice")]
pub enum Plan {
    /// Probed.
    Probe(Target, Timing),
    /// No check, on purpose: counts as usable, shown as unknown, `NotChecked`.
    Unchecked,
}

/// What a check cannot be, said so that a person can mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// An http check needs an http address.
    #[error("an http check needs an http or https base_url or health_url, not {0}")]
    NotHttp(String),
    /// A grpc check needs an address that speaks it.
    #[error("a grpc check needs a grpc, grpcs, http or https base_url or health_url, not {0}")]
    NotGrpc(String),
    /// An http check on a health URL of another scheme.
    #[error("give either health_url or check.http.path, not both")]
    TwoPaths,
}

impl Check {
    /// The numbers, with `interval` where the check names none.
    pub fn timing(&self, interval: Duration) -> Timing {
        let seconds = |given: Option<u32>, default: Duration| given.map_or(default, |s| Duration::from_secs(s.into()));
        let interval = seconds(self.interval_seconds, interval);
        Timing {
            interval,
            timeout: seconds(self.timeout_seconds, Duration::from_secs(5)),
            retry_interval: seconds(self.retry_interval_seconds, Duration::from_secs(1)).min(interval),
            unhealthy_threshold: self.unhealthy_threshold.unwrap_or(3),
            healthy_threshold: self.healthy_threshold.unwrap_or(1),
        }
    }

    /// What to do, given the two URLs and the default interval.
    ///
    /// # Errors
    /// [`CheckError`] when kind and URLs do not fit.
    pub fn plan(
        &self,
        base: &EndpointUrl,
        health: Option<&EndpointUrl>,
        interval: Duration,
    ) -> Result<Plan, CheckError> {
        let target = match &self.kind {
            Some(CheckKind::None) => return Ok(Plan::Unchecked),
            None => match health {
                None => return Ok(Plan::Unchecked),
                Some(url) => by_scheme(url),
            },
            Some(CheckKind::Tcp) => tcp(health.unwrap_or(base)),
            Some(CheckKind::Http(http)) => http_target(http, base, health)?,
            Some(CheckKind::Grpc(grpc)) => grpc_target(grpc, health.unwrap_or(base))?,
        };
        Ok(Plan::Probe(target, self.timing(interval)))
    }
}

fn tcp(url: &EndpointUrl) -> Target {
    Target::Tcp { host: url.host().clone(), port: url.port() }
}

fn by_scheme(url: &EndpointUrl) -> Target {
    let tls = |on: bool| on.then(TlsCheck::default);
    match url.scheme() {
        Scheme::Http | Scheme::Https => Target::Http {
            host: url.host().clone(),
            port: url.port(),
            target: url.target().to_owned(),
            request_options: None,
            tls: tls(*url.scheme() == Scheme::Https),
            expected: Vec::new(),
        },
        Scheme::Grpc | Scheme::Grpcs => Target::Grpc {
            host: url.host().clone(),
            port: url.port(),
            service: String::new(),
            tls: tls(*url.scheme() == Scheme::Grpcs),
        },
        Scheme::Tcp | Scheme::Other(_) => tcp(url),
    }
}

fn http_target(http: &HttpCheck, base: &EndpointUrl, health: Option<&EndpointUrl>) -> Result<Target, CheckError> {
    if health.is_some() && http.path.is_some() {
        return Err(CheckError::TwoPaths);
    }
    let url = health.unwrap_or(base);
    let secure = match url.scheme() {
        Scheme::Http => false,
        Scheme::Https => true,
        other => return Err(CheckError::NotHttp(other.as_str().to_owned())),
    };
    let target = match (&http.path, health) {
        (Some(path), _) => path.clone(),
        (None, Some(url)) => url.target().to_owned(),
        (None, None) => "/".to_owned(),
    };
    Ok(Target::Http {
        host: url.host().clone(),
        port: url.port(),
        target,
        request_options: (!http.request_options.is_plain()).then(|| Box::new(http.request_options.clone())),
        tls: secure.then(|| http.tls.clone()),
        expected: http.expected_statuses.clone(),
    })
}

fn grpc_target(grpc: &GrpcCheck, url: &EndpointUrl) -> Result<Target, CheckError> {
    let secure = match url.scheme() {
        Scheme::Grpc | Scheme::Http => false,
        Scheme::Grpcs | Scheme::Https => true,
        other => return Err(CheckError::NotGrpc(other.as_str().to_owned())),
    };
    Ok(Target::Grpc {
        host: url.host().clone(),
        port: url.port(),
        service: grpc.service.clone(),
        tls: secure.then(|| grpc.tls.clone()),
    })
}
