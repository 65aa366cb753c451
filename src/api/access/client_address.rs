//! The client's address behind proxies.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

/// Most proxies of a chain that are followed.
const MAX_HOPS: usize = 16;

/// The client's address: the peer's, or the one that trusted proxies report in `X-Forwarded-For`.
///
/// The header is read right to left for as long as the address that wrote an entry is trusted. What lies further left is the client's own
/// claim and is ignored.
pub(super) fn client_address(headers: &HeaderMap, peer: SocketAddr, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.ip().to_canonical();
    if trusted.is_empty() {
        return client;
    }
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let entries = lines.flat_map(|line| line.to_str().unwrap_or("").rsplit(','));
    for entry in entries.take(MAX_HOPS) {
        if !trusted.iter().any(|net| net.contains(&client)) {
            break;
        }
        let Some(next) = parse(entry.trim()) else { break };
        client = next;
    }
    client
}

fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let ip = bare.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()));
    ip.map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, trusted: &[&str], lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", line.parse().expect("a value"));
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().expect("a network")).collect();
        client_address(&headers, SocketAddr::new(peer.parse().expect("an address"), 9), &trusted).to_string()
    }

    #[test]
    fn nobody_is_believed_unless_trusted() {
        assert_eq!(client("203.0.113.9", &[], &["1.1.1.1"]), "203.0.113.9");
        assert_eq!(client("203.0.113.9", &["10.0.0.0/8"], &["1.1.1.1"]), "203.0.113.9");
    }

    #[test]
    fn a_trusted_proxy_names_its_client_and_the_client_cannot_prepend() {
        let proxies = ["10.0.0.0/8"];
        assert_eq!(client("10.0.0.1", &proxies, &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &proxies, &["6.6.6.6, 198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &proxies, &["6.6.6.6, 198.51.100.7, 10.0.0.2"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &proxies, &["6.6.6.6", "198.51.100.7", "10.0.0.2"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &proxies, &["10.9.9.9, 198.51.100.7"]), "198.51.100.7");
    }

    #[test]
    fn what_cannot_be_read_counts_for_the_proxy_that_sent_it() {
        let proxies = ["10.0.0.0/8"];
        assert_eq!(client("10.0.0.1", &proxies, &["198.51.100.7, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &proxies, &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &proxies, &[""]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &proxies, &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &proxies, &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("::ffff:10.0.0.1", &proxies, &["::ffff:198.51.100.7"]), "198.51.100.7");
    }

    #[test]
    fn a_chain_of_proxies_without_a_client_is_the_furthest_proxy() {
        assert_eq!(client("10.0.0.1", &["10.0.0.0/8"], &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
        let long = vec!["10.0.0.2"; 100].join(",");
        assert_eq!(client("10.0.0.1", &["10.0.0.0/8"], &[&format!("6.6.6.6,{long}")]), "10.0.0.2");
    }
}
