//! Parsers of values. Each error is what was expected, for a sentence that starts with the setting's name.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;

use super::cluster::ModeName;
use crate::model::name::Namespace;
use crate::model::text::{is_hostile, is_joiner};

/// Most audiences besides Portolan's own.
const MAX_NAMES: usize = 8;

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether clients show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuth {
    Off,
    Optional,
    Required,
}

/// Go's `strconv.ParseBool` spellings ([reference](https://pkg.go.dev/strconv#ParseBool)), as the legacy gateway read them.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("true or false (also 1, t, T, TRUE, True, 0, f, F, FALSE, False)".to_owned()),
    }
}

pub(super) fn number(text: &str, range: RangeInclusive<u32>, what: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|n| range.contains(n))
        .ok_or_else(|| format!("{what}, a whole number from {} to {}", range.start(), range.end()))
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| {
        let hint = if text.starts_with("tcp://") {
            "; Kubernetes sets this variable for a Service named \"server\": set enableServiceLinks: false on the pod"
        } else {
            ""
        };
        format!("a port from 0 to 65535{hint}")
    })
}

pub(super) fn address(text: &str) -> Result<IpAddr, String> {
    if text.eq_ignore_ascii_case("localhost") {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse()
        .map(|ip: IpAddr| ip.to_canonical())
        .map_err(|_| "an IP address without a port, such as 127.0.0.1, 0.0.0.0 or ::".to_owned())
}

pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an IP address with a port, such as 0.0.0.0:9464 or [::]:9464".to_owned())
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    parts(text).map(network).collect()
}

/// The same, or `none`.
pub(super) fn networks_or_none(text: &str) -> Result<Vec<IpNet>, String> {
    if text == "none" { Ok(Vec::new()) } else { networks(text).map_err(|expected| format!("{expected}, or none")) }
}

fn network(text: &str) -> Result<IpNet, String> {
    let net = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| "networks or addresses separated by commas, such as 10.0.0.0/8,fd00::/8,192.0.2.7".to_owned())?;
    if net.trunc() == net {
        Ok(net)
    } else {
        Err(format!("{} or {}: bits beyond the prefix must be zero", net.trunc(), IpNet::from(net.addr())))
    }
}

pub(super) fn hosts(text: &str) -> Result<Vec<String>, String> {
    parts(text).map(host).collect()
}

fn host(text: &str) -> Result<String, String> {
    let parsed = url::Host::parse(text).map_err(|_| String::new()).and_then(|host| match host {
        url::Host::Domain(name) if name.contains('*') => Err(String::new()),
        other => Ok(other.to_string()),
    });
    parsed.map_err(|_| "host names without port, separated by commas, such as registry.example.com".to_owned())
}

pub(super) fn origins(text: &str) -> Result<Vec<String>, String> {
    parts(text).map(origin).collect()
}

fn origin(text: &str) -> Result<String, String> {
    let expected = || "web origins separated by commas, such as https://ops.example.com (no path, no *)".to_owned();
    let url = url::Url::parse(text).map_err(|_| expected())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.contains('*'));
    if bare && web { Ok(url.origin().ascii_serialization()) } else { Err(expected()) }
}

pub(super) fn namespace(text: &str) -> Result<Namespace, String> {
    text.parse().map_err(|error| format!("a name: {error}"))
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("text or json".to_owned()),
    }
}

/// The filter's own grammar takes a misspelt level for the name of a module, so levels are checked here.
pub(super) fn log_level(text: &str) -> Result<String, String> {
    let level = |name: &str| {
        ["trace", "debug", "info", "warn", "error", "off"].iter().any(|level| level.eq_ignore_ascii_case(name))
    };
    let known = !text.is_empty()
        && text.split(',').all(|part| match part.trim().split_once('=') {
            Some((module, name)) => !module.is_empty() && level(name),
            None => level(part.trim()),
        });
    let usable = known && EnvFilter::builder().parse(text).is_ok();
    usable.then(|| text.to_owned()).ok_or_else(|| {
        "trace, debug, info, warn, error or off, or directives such as info,portolan::prober=debug".to_owned()
    })
}

pub(super) fn mode(text: &str) -> Result<ModeName, String> {
    match text {
        "standalone" => Ok(ModeName::Standalone),
        "cluster" => Ok(ModeName::Cluster),
        _ => Err("standalone or cluster".to_owned()),
    }
}

pub(super) fn client_auth(text: &str) -> Result<ClientAuth, String> {
    match text {
        "off" => Ok(ClientAuth::Off),
        "optional" => Ok(ClientAuth::Optional),
        "required" => Ok(ClientAuth::Required),
        _ => Err("off, optional or required".to_owned()),
    }
}

/// Names separated by commas, each once.
pub(super) fn namespaces(text: &str) -> Result<Vec<Namespace>, String> {
    let mut names: Vec<Namespace> = Vec::new();
    for part in parts(text) {
        let name = part.parse().map_err(|error| format!("names separated by commas: {error}"))?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Audiences of tokens, as the API server takes them.
pub(super) fn audiences(text: &str) -> Result<Vec<String>, String> {
    names(text, "audiences")
}

/// Issuers of tokens, as the API server takes them.
pub(super) fn issuers(text: &str) -> Result<Vec<String>, String> {
    names(text, "issuers")
}

fn names(text: &str, what: &str) -> Result<Vec<String>, String> {
    let usable =
        |name: &str| name.len() <= 256 && !name.chars().any(|c| is_hostile(c) || is_joiner(c) || c.is_whitespace());
    let names: Vec<String> = parts(text).map(str::to_owned).collect();
    let fits = names.len() <= MAX_NAMES && names.iter().all(|name| usable(name));
    fits.then_some(names)
        .ok_or_else(|| format!("at most {MAX_NAMES} {what} of 1 to 256 characters without spaces, separated by commas"))
}

/// The name of a Kubernetes object or context.
pub(super) fn kubernetes_name(text: &str) -> Result<String, String> {
    let usable = !text.is_empty()
        && text.len() <= 253
        && !text.chars().any(|c| is_hostile(c) || is_joiner(c) || c.is_whitespace());
    usable.then(|| text.to_owned()).ok_or_else(|| "a name of 1 to 253 characters without spaces".to_owned())
}

fn is_clean(path: &OsStr) -> bool {
    !path.is_empty() && !path.to_string_lossy().chars().any(is_hostile)
}

pub(super) fn database(path: &OsStr) -> Result<PathBuf, String> {
    let not_a_file = path == ":memory:" || path.as_encoded_bytes().starts_with(b"file:");
    (is_clean(path) && !not_a_file)
        .then(|| path.into())
        .ok_or_else(|| "the path of a file, such as ./services.db (no URI, not in memory)".to_owned())
}

pub(super) fn file(path: &OsStr) -> Result<PathBuf, String> {
    is_clean(path).then(|| path.into()).ok_or_else(|| "the path of a file".to_owned())
}

pub(super) fn folder(path: &OsStr) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    if path.is_dir() { Ok(path) } else { Err("a folder that exists and may be read".to_owned()) }
}
