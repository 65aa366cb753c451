//! What a head must say before its request is handled: its host, and where its body ends
//! ([RFC 9112](https://www.rfc-editor.org/rfc/rfc9112)).
//!
//! Where two parsers of one stream could disagree, the request is refused and the connection ends: what follows may be smuggled.

use std::net::Ipv6Addr;

use http::header::{CONNECTION, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::uri::Scheme;
use http::{Request, Uri, Version};

use crate::api::http::envelope::{ApiError, Code};

/// The answer to an ambiguous request; the connection closes after it.
pub(super) fn refusal<B: hyper::body::Body>(request: &Request<B>) -> Option<ApiError> {
    let checked = host(request.version(), request.headers())
        .and_then(|()| target(request.uri()))
        // hyper gives a request with a coding that it knows a body.
        .and_then(
            |()| if request.body().is_end_stream() { Ok(()) } else { coding(request.version(), request.headers()) },
        );
    checked.err().map(|error| error.header(CONNECTION, HeaderValue::from_static("close")))
}

fn bad(message: &'static str) -> ApiError {
    ApiError::new(Code::BadRequest, message)
}

/// An HTTP/1.1 request has one Host header (§3.2).
fn host(version: Version, headers: &HeaderMap) -> Result<(), ApiError> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Err(bad("the request has several Host headers; send one")),
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (Some(_), None) => Err(bad("the Host header is not a host with an optional port")),
        (None, _) if version < Version::HTTP_11 => Ok(()),
        (None, _) => Err(bad("the request has no Host header; HTTP/1.1 needs one")),
    }
}

/// A target in absolute form is for this server (§3.2.2), and names no user.
fn target(uri: &Uri) -> Result<(), ApiError> {
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(bad("this server is not a proxy: a target is a path, or an absolute http URL"));
    }
    match uri.authority() {
        Some(authority) if !is_host(authority.as_str().as_bytes()) => {
            Err(bad("the target's authority is not a host with an optional port"))
        }
        _ => Ok(()),
    }
}

/// A body is plain or chunked, and says so once (§6.1, §6.3). If it has both a length and a coding, hyper reads it by the coding and closes.
fn coding(version: Version, headers: &HeaderMap) -> Result<(), ApiError> {
    if !headers.contains_key(TRANSFER_ENCODING) {
        return Ok(());
    }
    if version < Version::HTTP_11 {
        return Err(bad("HTTP/1.0 has no Transfer-Encoding"));
    }
    let lines = headers.get_all(TRANSFER_ENCODING);
    let codings = || lines.iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    if !codings().all(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
        let message = "a body is read plain or chunked; send it without any other Transfer-Encoding";
        return Err(ApiError::new(Code::TransferCoding, message));
    }
    if codings().nth(1).is_some() {
        return Err(bad("the body is chunked more than once; send Transfer-Encoding: chunked once"));
    }
    Ok(())
}

/// `uri-host [":" port]`, where the host is not empty ([RFC 9110 §4.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-4.2.1)).
fn is_host(text: &[u8]) -> bool {
    let (host, port) = match text.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let literal = std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
            return literal.is_some() && is_port(&rest[end + 1..]);
        }
        None => text.split_at(memchr::memchr(b':', text).unwrap_or(text.len())),
    };
    !host.is_empty() && is_name(host) && is_port(port)
}

/// Nothing, or a colon and a number up to 65535, which may be left out.
fn is_port(text: &[u8]) -> bool {
    match text.strip_prefix(b":") {
        None => text.is_empty(),
        Some(digits) => {
            let number = digits.iter().try_fold(0_u32, |sum, digit| {
                let digit = u32::from(digit.wrapping_sub(b'0'));
                (digit < 10).then(|| sum * 10 + digit).filter(|sum| *sum <= 65_535)
            });
            number.is_some()
        }
    }
}

/// `reg-name` of [RFC 3986 §3.2.2](https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2), of which an IPv4 address is one.
fn is_name(text: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte);
    if text.iter().all(plain) {
        return true;
    }
    let mut escapes = text.split(|byte| *byte == b'%');
    let first = escapes.next().unwrap_or_default();
    first.iter().all(plain)
        && escapes
            .all(|rest| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit) && rest[2..].iter().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_are_hosts() {
        for host in [
            "a",
            "a:",
            "a:0",
            "a:65535",
            "A.example.",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8080",
            "[::ffff:1.2.3.4]",
            "x_y",
            "%41b",
            "a%2fb",
            "a,b",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for host in [
            "",
            ":80",
            "a:65536",
            "a:99999999999",
            "a:x",
            "a:1:2",
            "::1",
            "[::1",
            "[]",
            "[a]",
            "[::1]x",
            "[v1.a]",
            "[fe80::1%lo]",
            "u@a",
            "a/b",
            "a b",
            "a\tb",
            "%4",
            "%zz",
            "\u{e4}",
            "a?b",
            "a#b",
            "a\\b",
            "\"a\"",
        ] {
            assert!(!is_host(host.as_bytes()), "{host}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(0u8.., 0..40)) {
            let _ = is_host(&text);
        }
    }
}
