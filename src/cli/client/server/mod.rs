//! Which server requests go to, and whether they carry the token.
//!
//! In: flags and environment variables. Out: a [`Server`]. In order: this file, [`token_hint`] (the command that makes a sufficient token).

pub(super) mod token_hint;

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::cli::args::{DEFAULT_SERVER, ServerArgs};
use crate::cli::exit::Failure;
use crate::cli::plugin::program;
use crate::model::text::escape;

/// Longest token file that is read, in bytes.
const MAX_TOKEN_FILE: u64 = 64 * 1024;

/// The URL of a server behind a tunnel, unless a CA file says that it speaks HTTPS. Every server accepts a loopback name as its own; the TLS of
/// the Kubernetes API protects the connection.
const TUNNEL_URL: &str = "http://localhost";

/// Where the token comes from.
#[derive(Debug, Clone)]
pub(super) enum TokenSource {
    /// No token was given.
    None,
    /// `PORTOLAN_TOKEN`.
    Inline(SecretString),
    /// `PORTOLAN_TOKEN_FILE` or `--token-file`.
    File(PathBuf),
}

/// A server and how to reach it.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Its address, with a path that ends in `/`; behind a tunnel a name that it accepts as its own.
    pub(super) url: Url,
    /// The kubeconfig context through which it is reached.
    context: Option<String>,
    /// Whether the user named it; the token goes only to a named server.
    pub(super) named: bool,
    token: TokenSource,
    minting: Minting,
}

/// What the command that makes a token needs from this environment.
#[derive(Debug, Clone, Default)]
pub(super) struct Minting {
    /// The user's name.
    pub(super) user: Option<String>,
    /// The namespace of Portolan's pods, if the server is in a cluster.
    pub(super) pods_namespace: String,
}

impl Minting {
    fn new(args: &ServerArgs, env: impl Fn(&str) -> Option<OsString>) -> Self {
        Self {
            user: env("USER").or_else(|| env("LOGNAME")).and_then(|name| name.into_string().ok()),
            pods_namespace: args.context_namespace.to_string(),
        }
    }
}

impl Server {
    /// The server that flags and environment variables name.
    ///
    /// # Errors
    /// A [`Failure`] of usage: a bad URL, two tokens, or a token that would travel in the clear.
    pub(super) fn new(args: &ServerArgs, env: impl Fn(&str) -> Option<OsString>) -> Result<Self, Failure> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        // Not the variable: that may be about PORTOLAN_SERVER.
        let tls = args.ca_file.is_some();
        let (origin, given) = match (&args.context, &args.server, env("PORTOLAN_SERVER")) {
            // A pod that speaks HTTPS has the name of its Service in its certificate.
            (Some(_), _, _) if tls => ("--context", Some(format!("https://portolan.{}.svc", args.context_namespace))),
            (Some(_), _, _) => ("--context", Some(TUNNEL_URL.to_owned())),
            (None, Some(url), _) => ("--server", Some(url.clone())),
            (None, None, from_env) => ("PORTOLAN_SERVER", from_env.map(|v| v.to_string_lossy().into_owned())),
        };
        let url = parse_url(origin, given.as_deref().unwrap_or(DEFAULT_SERVER))?;
        let named = given.is_some();
        let (minting, token) = (Minting::new(args, env), token_source(args, env)?);
        let server = Self { url, context: args.context.clone(), named, token, minting };
        server.refuse_clear_text(args.insecure)?;
        Ok(server)
    }

    /// The server at `url`, without a token.
    ///
    /// # Errors
    /// A [`Failure`] of usage: a bad URL.
    pub(super) fn plain(url: &str) -> Result<Self, Failure> {
        Ok(Self {
            url: parse_url("the address", url)?,
            context: None,
            named: true,
            token: TokenSource::None,
            minting: Minting::default(),
        })
    }

    /// Its address, for messages.
    pub(super) fn at(&self) -> String {
        if self.is_in_a_cluster() { self.location() } else { self.url.to_string() }
    }

    /// Its name or address, and its port; none behind a tunnel.
    pub(super) fn host_and_port(&self) -> Option<(String, u16)> {
        let host = match self.url.host().filter(|_| !self.is_in_a_cluster())? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        Some((host, self.url.port_or_known_default()?))
    }

    /// The kubeconfig context through which it is reached.
    pub(super) fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }

    /// The file that holds the token, where one was named.
    pub(super) fn token_file(&self) -> Option<&Path> {
        if let TokenSource::File(path) = &self.token { Some(path) } else { None }
    }

    /// What the command that makes a token needs from this environment.
    pub(super) fn minting(&self) -> &Minting {
        &self.minting
    }

    /// Whether it is behind a tunnel.
    pub(super) fn is_in_a_cluster(&self) -> bool {
        self.context.is_some()
    }

    /// Its location: `server http://127.0.0.1:8080`, `cluster prod`.
    pub(super) fn location(&self) -> String {
        match &self.context {
            Some(context) => format!("cluster {}", escape(context, 200)),
            None => format!("server {}", self.url.as_str().trim_end_matches('/')),
        }
    }

    /// The token to send; a file is read each time.
    ///
    /// # Errors
    /// A file that cannot be read, or text that no header can hold.
    pub(super) fn token(&self) -> Result<Option<SecretString>, Failure> {
        if !self.named {
            return Ok(None);
        }
        match &self.token {
            TokenSource::None => Ok(None),
            TokenSource::Inline(token) => clean("PORTOLAN_TOKEN", token.expose_secret()).map(Some),
            TokenSource::File(path) => {
                let name = escape(&path.to_string_lossy(), 300);
                let text = read_small(path).map_err(|error| {
                    Failure::usage(format!("the token file {name} cannot be read: {error}"))
                        .hint("this command writes one, if JWT_SECRET or JWT_SECRET_FILE is set to the server's value:")
                        .hint(token_hint::command_into(self, path))
                })?;
                clean(&name, &text).map(Some)
            }
        }
    }

    /// Whether a token was given but is not sent because the user did not name the server.
    pub(super) fn withholds_token(&self) -> bool {
        !self.named && !matches!(self.token, TokenSource::None)
    }

    fn refuse_clear_text(&self, insecure: bool) -> Result<(), Failure> {
        let sent = self.named && !matches!(self.token, TokenSource::None);
        if !sent || insecure || self.url.scheme() == "https" || is_loopback(&self.url) {
            return Ok(());
        }
        Err(Failure::usage(format!("the token would travel unencrypted to {}", self.url))
            .hint("use https, or add --insecure where every hop on the path is trusted"))
    }
}

fn token_source(args: &ServerArgs, env: impl Fn(&str) -> Option<OsString>) -> Result<TokenSource, Failure> {
    if let Some(path) = &args.token_file {
        return Ok(TokenSource::File(path.clone()));
    }
    match (env("PORTOLAN_TOKEN"), env("PORTOLAN_TOKEN_FILE")) {
        (Some(_), Some(_)) => {
            Err(Failure::usage("PORTOLAN_TOKEN and PORTOLAN_TOKEN_FILE are both set; give one of them"))
        }
        (Some(token), None) => match token.into_string() {
            Ok(token) => Ok(TokenSource::Inline(token.into())),
            Err(_) => Err(Failure::usage("PORTOLAN_TOKEN is not UTF-8 text")),
        },
        (None, Some(path)) => Ok(TokenSource::File(path.into())),
        (None, None) => Ok(TokenSource::None),
    }
}

fn parse_url(origin: &str, text: &str) -> Result<Url, Failure> {
    let shown = escape(text, 200);
    let wrong = |what: &str| Failure::usage(format!("{origin} is \"{shown}\"; {what}"));
    let expected = "expected an address such as http://127.0.0.1:8080";
    let mut url = Url::parse(text).map_err(|_| wrong(expected))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong(expected));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("give the address without user name and password, and the token in PORTOLAN_TOKEN"));
    }
    url.set_query(None);
    url.set_fragment(None);
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).to_canonical().is_loopback(),
        None => false,
    }
}

fn read_small(path: &PathBuf) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_TOKEN_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// The token without surrounding white space; text that no header can hold is refused without being shown.
fn clean(origin: &str, text: &str) -> Result<SecretString, Failure> {
    // A file may begin with a byte order mark.
    let token = text.trim_start_matches('\u{feff}').trim();
    if token.is_empty() || token.bytes().any(|b| !b.is_ascii_graphic()) {
        return Err(Failure::usage(format!("{origin} holds no token"))
            .hint(format!("a token is one line without spaces, as `{} token` prints it", program())));
    }
    Ok(token.to_owned().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(flags: &[&str], env: &[(&str, &str)]) -> Result<Server, Failure> {
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            server: ServerArgs,
        }
        let flags = <Flags as clap::Parser>::parse_from(["x"].iter().chain(flags));
        Server::new(&flags.server, |name| env.iter().find(|(k, _)| *k == name).map(|(_, v)| v.into()))
    }

    fn sent(flags: &[&str], env: &[(&str, &str)]) -> Option<String> {
        let token = server(flags, env).expect("a server").token().expect("a token or none");
        token.map(|t| t.expose_secret().to_owned())
    }

    #[test]
    fn a_token_goes_only_to_a_server_that_was_named() {
        assert_eq!(sent(&[], &[("PORTOLAN_TOKEN", "secret")]), None);
        let held = server(&[], &[("PORTOLAN_TOKEN", "secret")]).expect("a server");
        assert!(held.withholds_token());
        let env = [("PORTOLAN_TOKEN", "secret\n"), ("PORTOLAN_SERVER", "https://registry.example.com")];
        assert_eq!(sent(&[], &env).as_deref(), Some("secret"));
        assert_eq!(sent(&["--server", DEFAULT_SERVER], &env[..1]).as_deref(), Some("secret"));
        assert_eq!(sent(&[], &[("PORTOLAN_TOKEN", "secret"), ("PORTOLAN_SERVER", "")]), None);
    }

    #[test]
    fn a_context_is_a_name_and_comes_before_the_environment() {
        let env = [("PORTOLAN_TOKEN", "secret"), ("PORTOLAN_SERVER", "http://registry.example.com")];
        assert_eq!(sent(&["--context", "prod"], &env).as_deref(), Some("secret"));
        let behind = server(&["--context", "prod\u{1b}"], &env).expect("a server");
        assert_eq!((behind.url.as_str(), behind.location().as_str()), ("http://localhost/", "cluster prod\\u{1b}"));
        assert_eq!(server(&[], &[]).expect("a server").location(), "server http://127.0.0.1:8080");
        let flags = ["--context", "prod", "--context-namespace", "registry", "--ca-file", "ca.crt"];
        assert_eq!(server(&flags, &[]).expect("a server").url.as_str(), "https://portolan.registry.svc/");
    }

    #[test]
    fn a_token_travels_in_the_clear_only_on_this_machine_or_when_told() {
        let token = [("PORTOLAN_TOKEN", "secret")];
        for local in ["http://127.0.0.2:1", "http://localhost:1", "http://[::1]:1", "https://10.0.0.1"] {
            assert_eq!(sent(&["--server", local], &token).as_deref(), Some("secret"), "{local}");
        }
        for remote in ["http://10.0.0.1:1", "http://localhost.example.com", "http://[::ffff:10.0.0.1]:1"] {
            let refused = server(&["--server", remote], &token).expect_err(remote);
            assert!(refused.hints[0].contains("--insecure"), "{refused:?}");
            assert!(server(&["--server", remote], &[]).is_ok(), "without a token there is nothing to lose");
            assert_eq!(sent(&["--server", remote, "--insecure"], &token).as_deref(), Some("secret"));
        }
    }

    #[test]
    fn a_bad_address_is_named_with_its_origin() {
        for bad in ["localhost:8080", "ftp://h", "8080", "http://user:pw@h"] {
            let error = server(&[], &[("PORTOLAN_SERVER", bad)]).expect_err(bad);
            assert!(error.message.starts_with("PORTOLAN_SERVER is"), "{error}");
        }
        assert_eq!(server(&["--server", "http://h/x?y"], &[]).expect("valid").url.as_str(), "http://h/x/");
    }

    #[test]
    fn a_token_that_is_none_is_refused_unseen() {
        let error =
            server(&["--server", "http://[::1]"], &[("PORTOLAN_TOKEN", "two words")]).expect("a server").token();
        let error = error.expect_err("no token holds a space");
        assert!(!error.message.contains("two words"), "{error}");
        let both = [("PORTOLAN_TOKEN", "a"), ("PORTOLAN_TOKEN_FILE", "/x")];
        assert!(server(&[], &both).is_err());
    }
}
