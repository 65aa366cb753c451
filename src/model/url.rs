//! The URLs of a registration.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use super::name::MAX_LABEL;

/// Longest URL, in bytes.
pub const MAX_URL: usize = 512;

/// Why a text is not an endpoint URL. Each message says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL with a host.
    #[error("is not a URL with a host; write scheme://host[:port][/path], such as http://10.0.0.5:8080")]
    Malformed,
    /// A number that no port has.
    #[error("has the port {0}; write one from 1 to 65535")]
    PortTooLarge(String),
    /// Longer than [`MAX_URL`].
    #[error("is longer than {MAX_URL} bytes")]
    TooLong,
    /// Contains a character that moves a cursor or hides text.
    #[error("contains U+{0:04X}; control, bidirectional and invisible characters are refused")]
    Hostile(u32),
    /// Surrounded by white space.
    #[error("starts or ends with white space; leave it out")]
    Padded,
    /// A character that a URL contains only in its escaped form.
    #[error(transparent)]
    Unescaped(#[from] Unescaped),
    /// A character that no host contains.
    #[error("has {} in its host, which no name or address contains; write scheme://host[:port][/path]", named(*.0))]
    NotInHost(char),
    /// Credentials in a URL would be stored and shown.
    #[error("user names and passwords in URLs are refused; give the address alone")]
    UserInfo,
    /// A scheme without a well-known port needs one.
    #[error("scheme {0} needs an explicit port from 1 to 65535")]
    NoPort(String),
    /// A scheme that a probe cannot speak.
    #[error("a health URL's scheme is http, https, tcp, grpc or grpcs, not {0}")]
    NotProbeable(String),
    /// A fragment never reaches a server.
    #[error("a fragment (#…) never reaches the server; leave it out")]
    Fragment,
}

/// An unescaped character that a URL contains only in its escaped form
/// ([RFC 3986 §2.1](https://www.rfc-editor.org/rfc/rfc3986#section-2.1)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub struct Unescaped {
    /// The character.
    pub character: char,
    /// Its position in characters; the first is 1.
    pub at: usize,
}

impl fmt::Display for Unescaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { character, at } = *self;
        write!(f, "contains {} unescaped (character {at}); write it as ", named(character))?;
        character.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| write!(f, "%{byte:02X}"))
    }
}

/// The character's name in a sentence.
fn named(character: char) -> String {
    match character {
        ' ' => "a space".to_owned(),
        c if c.is_control() || c.is_whitespace() => format!("U+{:04X}", u32::from(c)),
        c => format!("'{c}'"),
    }
}

/// The protocol of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP/1.1, by default on port 80.
    Http,
    /// HTTP/1.1 over TLS, by default on port 443.
    Https,
    /// A TCP port with an unknown protocol.
    Tcp,
    /// gRPC over plain HTTP/2.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
    /// Any other (`postgres`, `amqp`, …): discoverable, and checked only by tcp.
    Other(String),
}

impl Scheme {
    fn parse(text: &str) -> Self {
        match text {
            "http" => Self::Http,
            "https" => Self::Https,
            "tcp" => Self::Tcp,
            "grpc" => Self::Grpc,
            "grpcs" => Self::Grpcs,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The part before `://`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Grpc => "grpc",
            Self::Grpcs => "grpcs",
            Self::Other(other) => other,
        }
    }

    fn default_port(&self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            _ => None,
        }
    }
}

/// A host: a name to resolve, or an address. Hex, octal, decimal and short spellings of IPv4 are decoded to [`Host::Ip`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name, lower case, IDNA-encoded.
    Name(String),
    /// An address literal.
    Ip(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// A valid URL: the original text and its parts. Two are equal if their texts are.
///
/// ```
/// use portolan::model::url::{EndpointUrl, UrlError};
///
/// let url = EndpointUrl::health("http://10.0.0.5:8080/healthz?key=x")?;
/// assert_eq!((url.port(), url.target()), (8080, "/healthz?key=x"));
/// assert_eq!(url.redacted().to_string(), "http://10.0.0.5:8080/healthz?…");
///
/// // Every spelling of an address is decoded.
/// assert_eq!(EndpointUrl::base("http://0x7f.1/")?.host().to_string(), "127.0.0.1");
/// // Any scheme can be discovered, but only some can be probed, and all except http and https need a port.
/// assert!(EndpointUrl::base("postgres://db.corp:5432").is_ok());
/// assert_eq!(EndpointUrl::base("postgres://db.corp"), Err(UrlError::NoPort("postgres".to_owned())));
/// assert!(EndpointUrl::health("postgres://db.corp:5432").is_err());
/// # Ok::<(), UrlError>(())
/// ```
#[derive(Debug, Clone)]
pub struct EndpointUrl {
    text: String,
    scheme: Scheme,
    host: Host,
    port: u16,
    target: String,
}

impl PartialEq for EndpointUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for EndpointUrl {}

impl EndpointUrl {
    /// Parses a base URL: any scheme, with an explicit port unless the scheme is http or https.
    ///
    /// # Errors
    /// [`UrlError`], which says what to write instead.
    pub fn base(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL {
            return Err(UrlError::TooLong);
        }
        readable(text)?;
        let url = url::Url::parse(text).map_err(|_| malformed(text))?;
        if !is_plain(text) {
            return Err(malformed(text));
        }
        if !url.username().is_empty() || url.password().is_some() || authority(text).contains('@') {
            return Err(UrlError::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        let host = url.host_str().and_then(parse_host).ok_or_else(|| malformed(text))?;
        let scheme = Scheme::parse(url.scheme());
        let port = url.port().or_else(|| written_port(text)).or(scheme.default_port()).filter(|port| *port > 0);
        let port = port.ok_or_else(|| UrlError::NoPort(scheme.as_str().to_owned()))?;
        let path = if url.path().is_empty() { "/" } else { url.path() };
        let target = url.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        Ok(Self { text: text.to_owned(), scheme, host, port, target })
    }

    /// Parses a health URL: its scheme must be one that a probe speaks.
    ///
    /// # Errors
    /// [`UrlError`], which says what to write instead.
    pub fn health(text: &str) -> Result<Self, UrlError> {
        let url = Self::base(text)?;
        match url.scheme {
            Scheme::Other(scheme) => Err(UrlError::NotProbeable(scheme)),
            _ => Ok(url),
        }
    }

    /// The original text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The protocol.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The name or address.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The text for messages: without its query, which may contain a key.
    pub fn redacted(&self) -> Redacted<'_> {
        Redacted(&self.text)
    }

    /// The port, 1 to 65535.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The request target: path and query, starting with `/`. Fragments are refused, so it is complete.
    pub fn target(&self) -> &str {
        &self.target
    }
}

/// Refuses characters that no URL contains unescaped.
fn readable(text: &str) -> Result<(), UrlError> {
    if text.trim() != text {
        return Err(UrlError::Padded);
    }
    if let Some(c) = text.chars().find(|c| super::text::is_hostile(*c) || super::text::is_joiner(*c)) {
        return Err(UrlError::Hostile(c.into()));
    }
    let Some((character, at)) = text.chars().zip(1..).find(|(c, _)| c.is_whitespace()) else { return Ok(()) };
    match authority(text) {
        "" => Err(UrlError::Malformed),
        host if host.contains(character) => Err(UrlError::NotInHost(character)),
        _ => Err(Unescaped { character, at }.into()),
    }
}

/// Why a text is not a URL: its port if that is too large, or the offending character of its host, if it is one that people write on
/// purpose, as in `<host>`.
fn malformed(text: &str) -> UrlError {
    let is_host = |host: &str| !host.is_empty() && (host.ends_with(']') || !host.contains([':', '@']));
    if let Some((host, port)) = authority(text).rsplit_once(':')
        && is_host(host)
        && !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_err()
    {
        return UrlError::PortTooLarge(port.to_owned());
    }
    let spoils = authority(text).chars().find(|c| "<>\"`^{|}".contains(*c));
    spoils.map_or(UrlError::Malformed, UrlError::NotInHost)
}

/// Whether every URL parser finds the same host in it. The WHATWG parser behind [`url::Url`] forgives backslashes, missing slashes and
/// escapes. A reader of the registry may split the text differently and connect to a host that was never probed.
fn is_plain(text: &str) -> bool {
    let authority = authority(text);
    !text.contains('\\') && !authority.is_empty() && !authority.contains('%')
}

/// Whether DNS can contain the name: labels of 1 to 63 letters, digits, dashes and underscores, 253 bytes in total, with an optional final dot.
fn is_hostname(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn authority(text: &str) -> &str {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    rest.split(['/', '?', '#', '\\']).next().unwrap_or("")
}

/// The port as written. `Url` hides a scheme's default port, even for schemes that need an explicit one here (`ws`, `ftp`).
fn written_port(text: &str) -> Option<u16> {
    authority(text).rsplit_once(':')?.1.parse().ok()
}

/// `Url` does not parse hosts of non-special schemes, so every host goes through the WHATWG host parser, which decodes all spellings of
/// IPv4.
fn parse_host(text: &str) -> Option<Host> {
    match url::Host::parse(text).ok()? {
        url::Host::Domain(name) => is_hostname(&name).then_some(Host::Name(name)),
        url::Host::Ipv4(ip) => Some(Host::Ip(ip.into())),
        url::Host::Ipv6(ip) => Some(Host::Ip(ip.into())),
    }
}

/// A URL or a request target, displayed without its query, which may contain a key.
#[derive(Debug, Clone, Copy)]
pub struct Redacted<'a>(pub &'a str);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_once('?') {
            Some((before, _)) => write!(f, "{before}?…"),
            None => f.write_str(self.0),
        }
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for EndpointUrl {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_address_is_decoded() {
        for text in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "tcp://0x7f000001:9",
            "grpc://127.1:9",
        ] {
            let url = EndpointUrl::base(text).expect(text);
            assert_eq!(url.host(), &Host::Ip("127.0.0.1".parse().expect("an address")), "{text}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        assert_eq!(EndpointUrl::base("/relative"), Err(UrlError::Malformed));
        assert_eq!(EndpointUrl::base("http://user:pw@h/"), Err(UrlError::UserInfo));
        assert_eq!(EndpointUrl::base("http://@h/"), Err(UrlError::UserInfo));
        assert_eq!(EndpointUrl::base("postgres://db.corp"), Err(UrlError::NoPort("postgres".into())));
        assert_eq!(EndpointUrl::health("postgres://db.corp:5432"), Err(UrlError::NotProbeable("postgres".into())));
        assert_eq!(EndpointUrl::base("http://h/\u{202e}"), Err(UrlError::Hostile(0x202e)));
        assert_eq!(EndpointUrl::base("file:///etc/passwd"), Err(UrlError::Malformed));
    }

    #[test]
    fn a_port_out_of_range_is_named() {
        for text in ["http://h:99999/x", "tcp://h:99999", "https://[::1]:99999"] {
            let message = EndpointUrl::base(text).expect_err(text).to_string();
            assert_eq!(message, "has the port 99999; write one from 1 to 65535", "{text}");
        }
        for text in ["http://h:99999x/", "http://:99999/", "http://a:99999@/"] {
            let error = EndpointUrl::base(text).expect_err(text);
            assert!(!matches!(error, UrlError::PortTooLarge(_)), "{text}");
        }
    }

    #[test]
    fn an_invalid_character_is_named() {
        for (text, message) in [
            ("http://h/a b", "contains a space unescaped (character 11); write it as %20"),
            ("http://h/\u{e4}\u{a0}", "starts or ends with white space; leave it out"),
            ("http://h/\u{e4}\u{a0}b", "contains U+00A0 unescaped (character 11); write it as %C2%A0"),
            (
                "http://h :80/",
                "has a space in its host, which no name or address contains; write scheme://host[:port][/path]",
            ),
            ("h 80", "is not a URL with a host; write scheme://host[:port][/path], such as http://10.0.0.5:8080"),
            (" http://h", "starts or ends with white space; leave it out"),
            ("http://h/a\nb", "contains U+000A; control, bidirectional and invisible characters are refused"),
            (
                "http://<host>:80/",
                "has '<' in its host, which no name or address contains; write scheme://host[:port][/path]",
            ),
            (
                "http://{host}/",
                "has '{' in its host, which no name or address contains; write scheme://host[:port][/path]",
            ),
            (
                "http://\"h\"/",
                "has '\"' in its host, which no name or address contains; write scheme://host[:port][/path]",
            ),
        ] {
            assert_eq!(EndpointUrl::base(text).expect_err(text).to_string(), message, "{text}");
        }
    }

    #[test]
    fn urls_that_parsers_read_differently_are_refused() {
        for text in [
            "http://localhost:81\\@evil.example:82",
            "http:\\\\localhost/",
            "http:///localhost:81",
            "http:/localhost",
            "http://ex%61mple/",
            "http://a..b/",
            "http://-a.b/",
            "tcp://a_b-.c:1",
        ] {
            assert_eq!(EndpointUrl::base(text), Err(UrlError::Malformed), "{text}");
        }
        assert!(EndpointUrl::base(&format!("http://{}.b/", "a".repeat(64))).is_err());
        for text in ["http://a_b.c./x", "http://münchen.example/", "http://[::1]:81/", "http://h/a%20b?q=%5C"] {
            assert!(EndpointUrl::base(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_explicit_port_counts_even_if_it_is_the_schemes_default() {
        for (text, port) in [
            ("ws://h:80", 80),
            ("wss://h:443/socket", 443),
            ("ftp://[::1]:21/", 21),
            ("http://h:80", 80),
            ("https://h", 443),
            ("http://h:443", 443),
        ] {
            assert_eq!(EndpointUrl::base(text).expect(text).port(), port, "{text}");
        }
        for text in ["ws://h", "ws://h:", "ftp://[::1]/", "ws://h:0"] {
            let scheme = text.split_once(':').expect("a scheme").0;
            assert_eq!(EndpointUrl::base(text), Err(UrlError::NoPort(scheme.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_query_is_probed() {
        let url = EndpointUrl::health("http://h:1/x?key=1").expect("valid");
        assert_eq!(url.target(), "/x?key=1");
    }
}
