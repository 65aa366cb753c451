//! Keeps web pages from using a visitor's browser against Portolan.
//!
//! A browser is honest in `Origin`, `Host` and `Sec-Fetch-Site`, and only browsers send the first and the last. That distinguishes a page of
//! another site from a program, and a name that was rebound to loopback from loopback itself.

use std::net::IpAddr;

use http::Uri;
use http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};

use super::headers::Cors;
use crate::api::http::envelope::{ApiError, Code};

/// Hosts and origins that are accepted besides loopback's.
#[derive(Debug, Clone, Default)]
pub(super) struct BrowserRules {
    /// Whether only this machine can connect; `Host` is then checked.
    pub(super) bound_to_loopback: bool,
    /// Whether auth is on: a token then proves more than a page's origin.
    pub(super) guarded: bool,
    /// Host names, lower case, without port; IPv6 in brackets.
    pub(super) allowed_hosts: Vec<String>,
    /// Origins as browsers write them, lower case: `https://ops.example.com`.
    pub(super) cors_origins: Vec<String>,
}

impl BrowserRules {
    /// Refuses a request for a name that is not ours. The connection has checked that there is one well-formed `Host`.
    pub(super) fn host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        if self.bound_to_loopback { self.host_on_loopback(uri, headers) } else { Ok(()) }
    }

    /// The same for a port that is on loopback, wherever the API is.
    pub(super) fn host_on_loopback(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let named = headers.get_all(HOST).iter().all(|host| host.to_str().is_ok_and(|host| self.ours(host)));
        // The target's own authority wins over Host (RFC 9112 §3.2.2), so both must be ours.
        if named && uri.authority().is_none_or(|authority| self.ours(authority.as_str())) {
            return Ok(());
        }
        Err(ApiError::new(
            Code::MisdirectedRequest,
            "this server is bound to loopback and answers to loopback names alone; list other names in PORTOLAN_ALLOWED_HOSTS",
        ))
    }

    fn ours(&self, authority: &str) -> bool {
        host_of(authority).is_some_and(|host| {
            is_loopback(host) || self.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
        })
    }

    /// Refuses a change that a foreign web page requests. `Origin` alone decides where it is sent, because a listed page of another site has
    /// `Sec-Fetch-Site: cross-site` too.
    pub(super) fn origin(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let mut origins = headers.get_all(ORIGIN).iter().peekable();
        let accepted = if origins.peek().is_some() {
            origins.all(|origin| self.trusts(origin))
        } else {
            headers.get_all("sec-fetch-site").iter().all(|site| site != "cross-site")
        };
        if accepted {
            return Ok(());
        }
        let else_do = if self.guarded { "send a token" } else { "turn auth on" };
        Err(ApiError::new(
            Code::CrossOrigin,
            format!(
                "a web page of another site asked for this change; list its origin in PORTOLAN_CORS_ORIGINS, or {else_do}"
            ),
        ))
    }

    /// Which pages may read the answer. Without auth, a server that only this machine reaches is readable by pages of this machine and by listed
    /// ones: any other page could leak to its owner what runs on the visitor's machine.
    pub(super) fn cors(&self, headers: &HeaderMap) -> Cors {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Cors::Absent,
            (Some(_), _) if self.any_page_reads() => Cors::Any,
            (Some(origin), None) if self.trusts(origin) => Cors::One(origin.clone()),
            _ => Cors::Refused,
        }
    }

    /// Whether every page may read what needs no token.
    pub(super) fn any_page_reads(&self) -> bool {
        self.guarded || !self.bound_to_loopback
    }

    fn trusts(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.cors_origins.iter().any(|listed| listed.eq_ignore_ascii_case(origin)) || is_loopback_origin(origin)
    }
}

fn is_loopback_origin(origin: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.and_then(host_of).is_some_and(is_loopback)
}

/// The host of `host[:port]`, without the dot that ends a full name. `None` for anything that browsers and our own clients never send.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.find(']')) {
        // The bracket found is one further in the whole text, and belongs to the host.
        Some(end) => authority.split_at(end + 2),
        None => authority.split_at(memchr::memchr(b':', authority.as_bytes()).unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()),
        None => port.is_empty(),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    (port && !host.is_empty() && host.bytes().all(plain)).then_some(host)
}

/// `localhost` and the names under it never leave the machine ([RFC 6761 §6.3](https://www.rfc-editor.org/rfc/rfc6761#section-6.3)).
fn is_loopback(host: &str) -> bool {
    if matches!(host, "127.0.0.1" | "localhost") {
        return true;
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok_and(|ip| IpAddr::V6(ip).to_canonical().is_loopback());
    }
    let under = |host: &str| host.len() > 10 && host[host.len() - 10..].eq_ignore_ascii_case(".localhost");
    host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || host.eq_ignore_ascii_case("localhost")
        || under(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_loopback() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]:8080",
            "[::ffff:127.0.0.1]",
            "localhost.",
            "a.localhost:1",
        ] {
            assert!(host_of(host).is_some_and(is_loopback), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evillocalhost",
            "0.0.0.0:8080",
            "10.0.0.1",
            "[::]",
            "[::1",
            "::1",
            "[::1]x",
            "user@localhost",
            "localhost:8080@evil",
            "localhost:x",
            "localhost:123456",
            "127.1",
            "0x7f.0.0.1",
            "localhost/",
            "[fe80::1%lo]",
            "127.0.0.1, evil",
            "localhost\\",
            "loc\u{e4}lhost",
        ] {
            assert!(!host_of(host).is_some_and(is_loopback), "{host}");
        }
    }

    #[test]
    fn only_web_pages_of_loopback_are_loopback_origins() {
        for origin in ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:5173"] {
            assert!(is_loopback_origin(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "file://",
            "http://",
            "https://evil.example",
            "http://localhost.evil.example",
            "ftp://localhost",
            "localhost",
        ] {
            assert!(!is_loopback_origin(origin), "{origin}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = host_of(&text).is_some_and(is_loopback);
        }
    }
}
