//! The request of an http check, if a manifest needs more than a plain GET.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most headers of a check.
pub const MAX_HEADERS: usize = 8;
/// Longest header name, in bytes.
pub const MAX_HEADER_NAME: usize = 64;
/// Longest header value, in bytes.
pub const MAX_HEADER_VALUE: usize = 256;
/// Longest Host header, in bytes.
pub const MAX_HOST: usize = 255;

/// Parts of a header's name that indicate a credential, or a header by which a cloud's metadata service or a secret store recognises its
/// clients. A writer of manifests decides what this program requests, so the request must not carry any authority.
pub const FORBIDDEN_PARTS: &[&str] = &[
    "api-key",
    "apikey",
    "auth",
    "cookie",
    "credential",
    "jwt",
    "metadata",
    "passw",
    "secret",
    "session",
    "signature",
    "token",
    "vault",
];

/// Headers that frame the request; a check must not override them.
pub const FRAMING: &[&str] =
    &["connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// The method of an http check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// The default.
    #[default]
    Get,
    /// Requests only the head.
    Head,
}

impl Method {
    /// Its name in the request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }
}

/// What a manifest can set in the request. A REST registration cannot set any of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RequestOptions {
    /// The method.
    pub method: Method,
    /// The Host header, instead of the URL's host and port.
    pub host: Option<String>,
    /// Additional headers with lower-case names; at most [`MAX_HEADERS`].
    pub headers: BTreeMap<String, String>,
}

impl RequestOptions {
    /// Whether it is a plain GET without options.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Checks host and headers.
    ///
    /// # Errors
    /// A sentence that names the field and its valid values.
    pub(super) fn accept(&self) -> Result<(), String> {
        let host = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        if self.host.as_ref().is_some_and(|h| h.is_empty() || h.len() > MAX_HOST || !h.bytes().all(host)) {
            return Err("http.host must be a name or an address, with a port if one is needed".to_owned());
        }
        if self.headers.len() > MAX_HEADERS {
            return Err(format!("http.headers may contain at most {MAX_HEADERS} headers"));
        }
        self.headers.iter().try_for_each(|(name, value)| accept_header(name, value))
    }
}

fn accept_header(name: &str, value: &str) -> Result<(), String> {
    let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    if name.is_empty() || name.len() > MAX_HEADER_NAME || !name.bytes().all(token) {
        return Err(format!(
            "http.headers: a name consists of 1 to {MAX_HEADER_NAME} of a-z, 0-9, '-', '_' and '.', unlike {}",
            super::text::escape(name, MAX_HEADER_NAME)
        ));
    }
    if FRAMING.contains(&name) {
        return Err(format!("http.headers: {name} belongs to the request itself; to set the Host, use http.host"));
    }
    if let Some(part) = FORBIDDEN_PARTS.iter().find(|part| name.contains(*part)) {
        return Err(format!(
            "http.headers: {name} is refused, because headers with \"{part}\" in their name carry credentials; probe a path that needs none"
        ));
    }
    if value.len() > MAX_HEADER_VALUE || !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Err(format!(
            "http.headers: the value of {name} must be at most {MAX_HEADER_VALUE} visible ASCII characters"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> RequestOptions {
        RequestOptions { headers: [(name.to_owned(), value.to_owned())].into(), ..RequestOptions::default() }
    }

    #[test]
    fn headers_that_carry_authority_or_break_the_request_are_refused() {
        for name in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "x-api-key",
            "x-aws-ec2-metadata-token",
            "x-aws-ec2-metadata-token-ttl-seconds",
            "metadata-flavor",
            "metadata",
            "x-google-metadata-request",
            "x-vault-request",
            "host",
            "transfer-encoding",
            "Accept",
            "a b",
            "",
        ] {
            assert!(with(name, "x").accept().is_err(), "{name}");
        }
        assert_eq!(with("x-probe", "portolan / 1").accept(), Ok(()));
        assert!(with("x-probe", "a\r\nb: c").accept().is_err());
    }

    #[test]
    fn a_host_is_a_name_with_or_without_port() {
        for (host, fits) in [("a.example", true), ("[::1]:8080", true), ("", false), ("a b", false), ("a\r\n", false)] {
            let request_options = RequestOptions { host: Some(host.to_owned()), ..RequestOptions::default() };
            assert_eq!(request_options.accept().is_ok(), fits, "{host:?}");
        }
    }
}
