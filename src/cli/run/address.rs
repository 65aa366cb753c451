//! Where a program is reached, and whether its port answers.
//!
//! A server on this machine's loopback probes loopback. Any other server reaches the program at the address from which this machine reaches
//! the server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use url::{Host, Url};

use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::model::text::escape;

/// Longest wait for a connection: the port is on this machine, or near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;
/// This machine, as only itself sees it.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// How the program's address is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    /// It is registered as this, and this port of this machine must answer.
    Named { base_url: String, port: u16 },
    /// It is registered as this, which must answer.
    Elsewhere { base_url: String, host: String, port: u16 },
    /// It is registered with the address of this machine at which this port answers and which the server can reach.
    Own { port: u16 },
}

/// Why there is no address yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotReady {
    /// Nothing accepts connections.
    #[error("nothing answers at {0}")]
    Silent(String),
    /// The program accepts connections of this machine only.
    #[error("the port answers at {0} only, where the server cannot reach it: let the program listen on all addresses")]
    LoopbackOnly(SocketAddr),
    /// The name of the server, or of the program's host, has no address.
    #[error("the address of {0} is not known: {1}")]
    Unresolved(String, String),
}

impl Location {
    /// Where a program with these flags is found.
    ///
    /// # Errors
    /// A host or URL that is none.
    pub(super) fn new(port: Option<u16>, host: Option<&str>, base_url: Option<&str>) -> Result<Self, Failure> {
        match (port, host, base_url) {
            (Some(port), None, None) => Ok(Self::Own { port }),
            (Some(port), Some(host), None) => Ok(Self::Named { base_url: of_host(host, port)?, port }),
            (Some(port), _, Some(url)) => Ok(Self::Named { base_url: url.to_owned(), port }),
            (None, _, Some(url)) => elsewhere(url),
            (None, _, None) => Err(Failure::usage("give --port, on which the program listens")),
        }
    }

    /// The port that must answer.
    pub(super) fn port(&self) -> u16 {
        match self {
            Self::Named { port, .. } | Self::Elsewhere { port, .. } | Self::Own { port } => *port,
        }
    }

    /// The base URL, as far as it is known before the port answers.
    pub(super) fn likely_url(&self) -> String {
        match self {
            Self::Named { base_url, .. } | Self::Elsewhere { base_url, .. } => base_url.clone(),
            Self::Own { port } => format!("http://127.0.0.1:{port}"),
        }
    }

    /// The base URL, once the port answers.
    ///
    /// # Errors
    /// Why it does not, or where it does instead.
    pub(super) async fn find(&self, client: &Client) -> Result<String, NotReady> {
        match self {
            Self::Named { base_url, port } => {
                let mut hosts = LOOPBACK.to_vec();
                hosts.extend(own_addresses(client).await.unwrap_or_default());
                answering(&hosts, *port).await?;
                Ok(base_url.clone())
            }
            Self::Elsewhere { base_url, host, port } => {
                answering(&resolve(host, *port).await?, *port).await?;
                Ok(base_url.clone())
            }
            Self::Own { port } => {
                let own = own_addresses(client).await?;
                match answering(&own, *port).await {
                    Ok(address) => Ok(format!("http://{address}")),
                    Err(silent) if own.iter().any(IpAddr::is_loopback) => Err(silent),
                    Err(silent) => Err(answering(&LOOPBACK, *port).await.map_or(silent, NotReady::LoopbackOnly)),
                }
            }
        }
    }

    /// Whether the port of this machine is taken.
    pub(super) async fn is_taken(&self) -> bool {
        !matches!(self, Self::Elsewhere { .. }) && answering(&LOOPBACK, self.port()).await.is_ok()
    }
}

/// Whether two URLs name the same host and port, however they are written.
pub(super) fn is_same_place(a: &str, b: &str) -> bool {
    let place = |text: &str| {
        let url = Url::parse(text).ok()?;
        Some((url.scheme().to_owned(), url.host_str()?.to_ascii_lowercase(), url.port_or_known_default()))
    };
    a == b || place(a).is_some_and(|a| place(b) == Some(a))
}

/// The base URL of a port of a named host.
fn of_host(host: &str, port: u16) -> Result<String, Failure> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let shown = if bare.parse::<Ipv6Addr>().is_ok() { format!("[{bare}]") } else { bare.to_owned() };
    match Host::parse(&shown) {
        Ok(_) => Ok(format!("http://{shown}:{port}")),
        Err(_) => Err(Failure::usage(format!("--host is \"{}\"; expected a name or an address", escape(host, 200)))),
    }
}

fn elsewhere(text: &str) -> Result<Location, Failure> {
    let wrong = || {
        Failure::usage(format!("--base-url is \"{}\"", escape(text, 200)))
            .hint("expected a URL such as http://10.0.0.5:8081; give --port as well where it names no port")
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let host = match url.host().ok_or_else(wrong)? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let port = url.port_or_known_default().ok_or_else(wrong)?;
    Ok(Location::Elsewhere { base_url: text.to_owned(), host, port })
}

/// The addresses at which the server can reach this machine.
async fn own_addresses(client: &Client) -> Result<Vec<IpAddr>, NotReady> {
    // Through a tunnel there is no way back.
    let Some((host, port)) = client.host_and_port() else { return Ok(LOOPBACK.to_vec()) };
    let mut own = Vec::new();
    for address in resolve(&host, port).await? {
        let found = match local_address(SocketAddr::new(address, port)) {
            Ok(local) if local.is_loopback() => LOOPBACK.to_vec(),
            Ok(local) => vec![local],
            Err(_) => Vec::new(),
        };
        own.extend(found.into_iter().filter(|address| !own.contains(address)).collect::<Vec<_>>());
    }
    if own.is_empty() {
        return Err(NotReady::Unresolved(
            "this machine".to_owned(),
            format!("there is no route to {}", escape(&host, 200)),
        ));
    }
    Ok(own)
}

/// The address from which this machine would reach that one. Connecting a datagram socket sends nothing.
fn local_address(remote: SocketAddr) -> std::io::Result<IpAddr> {
    let any = if remote.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}

async fn resolve(host: &str, port: u16) -> Result<Vec<IpAddr>, NotReady> {
    let unknown = |why: String| NotReady::Unresolved(escape(host, 200), why);
    let found = lookup_host((host, port)).await.map_err(|error| unknown(escape(&error.to_string(), 200)))?;
    let addresses: Vec<IpAddr> = found.take(MAX_ADDRESSES).map(|address| address.ip()).collect();
    if addresses.is_empty() { Err(unknown("the name has none".to_owned())) } else { Ok(addresses) }
}

/// The first address whose port accepts a connection.
async fn answering(hosts: &[IpAddr], port: u16) -> Result<SocketAddr, NotReady> {
    for host in hosts {
        let address = SocketAddr::new(*host, port);
        if timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await.is_ok_and(|connected| connected.is_ok()) {
            return Ok(address);
        }
    }
    let tried: Vec<String> = hosts.iter().map(|host| SocketAddr::new(*host, port).to_string()).collect();
    Err(NotReady::Silent(tried.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_name_the_place() {
        let location = |port, host, url| Location::new(port, host, url).expect("valid");
        assert_eq!(location(Some(80), None, None), Location::Own { port: 80 });
        let named = |base_url: &str| Location::Named { base_url: base_url.to_owned(), port: 80 };
        assert_eq!(location(Some(80), Some("web.corp"), None), named("http://web.corp:80"));
        assert_eq!(location(Some(80), Some("::1"), None), named("http://[::1]:80"));
        assert_eq!(location(Some(80), Some("[::1]"), None), named("http://[::1]:80"));
        assert_eq!(location(Some(80), None, Some("https://x.example")), named("https://x.example"));
        let elsewhere = Location::Elsewhere { base_url: "grpc://h:9".into(), host: "h".into(), port: 9 };
        assert_eq!(location(None, None, Some("grpc://h:9")), elsewhere);
        for (host, url) in [(Some("a b"), None), (None, None)] {
            assert!(Location::new(host.map(|_| 80), host, url).is_err());
        }
        assert!(Location::new(None, None, Some("grpc://h")).is_err(), "no port is known");
    }

    #[tokio::test]
    async fn a_port_is_found_on_either_loopback() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let location = Location::Own { port: address.port() };
        let client = Client::plain("http://localhost:1").expect("a client");
        assert_eq!(location.find(&client).await, Ok(format!("http://{address}")));
        assert!(location.is_taken().await);
        drop(listener);
        let silent = location.find(&client).await.expect_err("it is closed");
        assert!(silent.to_string().starts_with("nothing answers at 127.0.0.1:"), "{silent}");
    }

    #[test]
    fn a_place_has_several_spellings() {
        assert!(
            is_same_place("http://H", "http://h:80/") && is_same_place("postgres://db:5432", "postgres://db:5432/x")
        );
        assert!(!is_same_place("http://h:80", "http://h:81") && !is_same_place("http://h", "https://h"));
    }

    #[test]
    fn the_way_to_loopback_is_loopback() {
        assert_eq!(local_address(([127, 0, 0, 1], 9).into()).expect("a route"), LOOPBACK[0]);
    }
}
