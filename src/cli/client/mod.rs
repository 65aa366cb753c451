//! A client of the REST API.
//!
//! In: a path, a query, a body. Out: a [`Reply`], or a [`Failure`] that says what to do. In order: this file, [`server`] (which server, and
//! whether it gets the token), `tls` (which servers are trusted), [`error`] (from an answer to the exit code).

pub(super) mod error;
mod server;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::args::ServerArgs;
use super::exit::{Exit, Failure};
use super::tunnel::Tunnel;
use crate::console::source::api::read::{ReadError, size, whole};
use crate::crypto::http_client;
use crate::model::ports::PROBED_ELSEWHERE;
use crate::model::text::escape;
use crate::model::time::UnixMs;
use crate::model::value_error::json_sentence;
use crate::wire::Refusal;
use error::Head;
use server::Server;
use server::token_hint::TokenNeed;
use tls::TlsFiles;

/// Largest answer that is read, in bytes: one service of 256 instances with all that they may carry stays below.
const MAX_ANSWER: usize = 24 << 20;

/// Longest wait when a refusal is requested again for its details.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an idle connection through a tunnel is kept. The server closes its own after 75 s, which the tunnel cannot distinguish from the
/// death of a pod.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// A successful answer.
// Not a wire type: it keeps data and checks byte for byte, for `-o json`, and reads them on demand. A test compares it with the wire types.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Reply {
    /// What was asked for, byte for byte.
    #[serde(default)]
    pub(in crate::cli) data: Option<Box<RawValue>>,
    /// Warnings about a request that succeeded.
    #[serde(default)]
    pub(in crate::cli) warnings: Vec<String>,
    /// Whether the service is still registered; histories only.
    #[serde(default)]
    pub(in crate::cli) registered: Option<bool>,
    /// Where the next page begins.
    #[serde(default)]
    pub(in crate::cli) next_cursor: Option<String>,
    /// In a cluster, since when the replica that answers has kept this history.
    #[serde(default)]
    pub(in crate::cli) history_since: Option<UnixMs>,
    /// Whether the replica does not probe, and so does not know when a service was last checked.
    #[serde(skip)]
    pub(in crate::cli) probed_elsewhere: bool,
    /// Where else to look.
    #[serde(default)]
    hint: Option<String>,
    /// What an on-demand check gave.
    #[serde(default)]
    pub(in crate::cli) checks: Option<Box<RawValue>>,
}

impl Reply {
    /// The data as the server wrote it; `null` when there is none.
    pub(in crate::cli) fn raw(&self) -> &str {
        self.data.as_deref().map_or("null", RawValue::get)
    }

    /// The checks as the server wrote them.
    pub(in crate::cli) fn raw_checks(&self) -> &str {
        self.checks.as_deref().map_or("[]", RawValue::get)
    }

    /// Where else to look, with flags in place of query parameters.
    pub(in crate::cli) fn hint(&self) -> Option<String> {
        self.hint.as_deref().map(error::with_flags)
    }

    /// The data, read.
    ///
    /// # Errors
    /// No data, or a form that this version does not know.
    pub(in crate::cli) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        if self.data.is_none() {
            return Err(Failure::new(Exit::Unreachable, "the server's answer holds no data")
                .hint("is --server or PORTOLAN_SERVER the registry's own address?"));
        }
        read(self.raw())
    }
}

/// Reads a piece of an answer.
///
/// # Errors
/// A form that this version does not know.
pub(in crate::cli) fn read<T: DeserializeOwned>(json: &str) -> Result<T, Failure> {
    serde_json::from_str(json).map_err(|error| {
        Failure::new(
            Exit::Unreachable,
            format!("the server's answer could not be understood ({})", escape(&json_sentence(&error), 300)),
        )
        .hint("is the server of another version? -o json shows the answer as it is")
    })
}

/// Asks one server.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Client {
    server: Server,
    http: reqwest::Client,
    /// The tunnel to a server inside a cluster.
    tunnel: Option<Arc<Tunnel>>,
}

impl Client {
    /// A client by flags and environment, with a tunnel where a context is named.
    ///
    /// # Errors
    /// See [`Failure`]: a bad address or token, or no tunnel into the cluster.
    pub(in crate::cli) async fn new(args: &ServerArgs) -> Result<Self, Failure> {
        let server = Server::new(args, |name| std::env::var_os(name))?;
        let tls = TlsFiles::new(args, |name| std::env::var_os(name));
        let tunnel = match &args.context {
            Some(context) => Some(Arc::new(Tunnel::open(context, &args.context_namespace, args.timeout).await?)),
            None => None,
        };
        Self::of(server, args.timeout, tunnel, &tls)
    }

    /// Whether flags and environment name a server, a token and certificates that can be used, without opening a tunnel.
    ///
    /// # Errors
    /// See [`Failure`]: a bad address, token or certificate.
    pub(in crate::cli) fn check(args: &ServerArgs) -> Result<(), Failure> {
        TlsFiles::new(args, |name| std::env::var_os(name)).config()?;
        Server::new(args, |name| std::env::var_os(name)).map(|_| ())
    }

    /// A client of the server at `url` that sends no token.
    ///
    /// # Errors
    /// See [`Failure`]: a bad address.
    pub(in crate::cli) fn plain(url: &str) -> Result<Self, Failure> {
        Self::of(Server::plain(url)?, Duration::from_secs(10), None, &TlsFiles::default())
    }

    fn of(server: Server, timeout: Duration, tunnel: Option<Arc<Tunnel>>, tls: &TlsFiles) -> Result<Self, Failure> {
        let builder = match &tunnel {
            Some(tunnel) => http_client().unix_socket(tunnel.path()).pool_idle_timeout(IDLE_TIMEOUT),
            None => http_client(),
        };
        let builder = match tls.config()? {
            Some(tls) => builder.tls_backend_preconfigured(tls),
            // The system's CAs are not read in vain, and may be missing.
            None if server.url.scheme() == "http" => builder.tls_certs_only([]),
            None => builder,
        };
        let http = builder
            .user_agent(concat!("portolan/", env!("CARGO_PKG_VERSION")))
            // A redirect could carry the token to another host.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(timeout)
            .build()
            .map_err(|error| Failure::new(Exit::Unreachable, format!("TLS could not be set up: {error}")))?;
        Ok(Self { server, http, tunnel })
    }

    /// GET `api/v1/` + `path`.
    pub(in crate::cli) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Reply, Failure> {
        self.send(self.request(Method::GET, path, query)?, asked_namespace(query)).await
    }

    /// The refusal of a GET; none where the server grants it or does not answer.
    pub(in crate::cli) async fn refusal(&self, path: &[&str], query: &[(&str, &str)]) -> Option<Failure> {
        let request = self.request(Method::GET, path, query).ok()?.timeout(REFUSAL_TIMEOUT);
        let response = request.send().await.ok()?;
        let head = head(&response, asked_namespace(query));
        if head.status.is_success() {
            return None;
        }
        self.judge(&head, &whole(response, MAX_ANSWER).await.ok()?).err()
    }

    /// POST `api/v1/` + `path`.
    pub(in crate::cli) async fn post(&self, path: &[&str], body: Option<String>) -> Result<Reply, Failure> {
        let namespace = body.as_deref().and_then(named_namespace);
        self.send(with_body(self.request(Method::POST, path, &[])?, body), namespace).await
    }

    /// POST `api/v1/` + `path` without a body.
    pub(in crate::cli) async fn post_query(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Reply, Failure> {
        self.send(self.request(Method::POST, path, query)?, None).await
    }

    /// PUT `api/v1/` + `path`.
    pub(in crate::cli) async fn put(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Reply, Failure> {
        self.send(with_body(self.request(Method::PUT, path, query)?, body), None).await
    }

    /// DELETE `api/v1/` + `path`.
    pub(in crate::cli) async fn delete(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Reply, Failure> {
        self.send(self.request(Method::DELETE, path, query)?, asked_namespace(query)).await
    }

    /// DELETE `api/v1/` + `path`, an instance, if it still has that generation.
    pub(in crate::cli) async fn delete_generation(&self, path: &[&str], generation: u64) -> Result<Reply, Failure> {
        let request = self.request(Method::DELETE, path, &[])?;
        self.send(request.header(reqwest::header::IF_MATCH, generation.to_string()), None).await
    }

    /// PUT `api/v1/` + `path`, a heartbeat of an instance, if it still has that generation.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(in crate::cli) async fn put_generation(&self, path: &[&str], generation: u64) -> Result<Reply, Failure> {
        let request = self.request(Method::PUT, path, &[])?;
        self.send(request.header(reqwest::header::IF_MATCH, generation.to_string()), None).await
    }

    /// The server's name or address, and its port; none behind a tunnel.
    pub(in crate::cli) fn host_and_port(&self) -> Option<(String, u16)> {
        self.server.host_and_port()
    }

    /// Whether a person named the server, by flag or environment.
    pub(in crate::cli) fn named(&self) -> bool {
        self.server.named
    }

    /// Where the server is, for people: `server http://127.0.0.1:8080`, `cluster prod`.
    pub(in crate::cli) fn location(&self) -> String {
        self.server.location()
    }

    /// Why a connection through the tunnel broke.
    pub(in crate::cli) fn connection_error(&self) -> Option<Failure> {
        self.tunnel.as_ref()?.error()
    }

    /// Why a request got no answer, where the tunnel or TLS says more than `error`.
    pub(in crate::cli) fn known_failure(&self, error: &reqwest::Error) -> Option<Failure> {
        let tunnel = if error.is_timeout() { None } else { self.connection_error() };
        tunnel.or_else(|| tls::failure(&self.server, error))
    }

    /// A request of `api/v1/` + `path` with the token, for callers who send it themselves.
    ///
    /// # Errors
    /// See [`Failure`]: a token that cannot be read.
    pub(in crate::cli) fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<RequestBuilder, Failure> {
        let mut url = self.server.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        Ok(match self.server.token()? {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        })
    }

    /// `namespace` is the one that the request names, if any.
    async fn send(&self, request: RequestBuilder, namespace: Option<String>) -> Result<Reply, Failure> {
        let unreachable = |error: reqwest::Error| {
            self.known_failure(&error).unwrap_or_else(|| error::unreachable(&self.server, &error))
        };
        let response = request.send().await.map_err(unreachable)?;
        let probed_elsewhere = response.headers().contains_key(&PROBED_ELSEWHERE);
        let head = head(&response, namespace);
        let body = whole(response, MAX_ANSWER).await.map_err(|error| match error {
            ReadError::Broken(error) => unreachable(error),
            ReadError::TooLarge(most) => error::too_large(&self.server, &format!("it is over {}", size(most))),
            ReadError::TooManyObjects => error::too_large(&self.server, "it has more objects than any service"),
        })?;
        let reply = self.judge(&head, &body)?;
        Ok(Reply { probed_elsewhere, ..reply })
    }

    fn judge(&self, head: &Head, body: &[u8]) -> Result<Reply, Failure> {
        let status = head.status;
        if status.is_success() {
            // serde would read an array as the fields in their order.
            let envelope = body.trim_ascii_start().starts_with(b"{");
            let reply = if envelope { serde_json::from_slice(body).ok() } else { None };
            return reply.ok_or_else(|| error::foreign(&self.server, status));
        }
        match serde_json::from_slice::<Refusal>(body) {
            // A proxy's error has neither.
            Ok(refusal) if !refusal.error.is_empty() && !refusal.code.is_empty() => {
                Err(error::refused(&self.server, head, &refusal))
            }
            _ => Err(error::foreign(&self.server, status)),
        }
    }
}

fn with_body(request: RequestBuilder, body: Option<String>) -> RequestBuilder {
    match body {
        Some(json) => request.header(reqwest::header::CONTENT_TYPE, "application/json").body(json),
        None => request,
    }
}

fn head(response: &reqwest::Response, namespace: Option<String>) -> Head {
    let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let retry_after = text("retry-after").and_then(|seconds| seconds.parse().ok());
    Head { status: response.status(), retry_after, need: TokenNeed::of(text("www-authenticate"), namespace) }
}

/// The namespace of a query, unless it is all of them.
fn asked_namespace(query: &[(&str, &str)]) -> Option<String> {
    let (_, namespace) = query.iter().find(|(name, value)| *name == "namespace" && *value != "*")?;
    Some((*namespace).to_owned())
}

/// The namespace of a registration.
fn named_namespace(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        namespace: Option<String>,
    }
    serde_json::from_str::<Named>(json).ok()?.namespace
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn written(value: &impl serde::Serialize) -> Reply {
        serde_json::from_str(&serde_json::to_string(value).expect("JSON")).expect("a reply")
    }

    #[test]
    fn a_reply_reads_what_the_wire_types_write() {
        let service = wire::Service { name: "a".into(), ..wire::Service::default() };
        let one = written(&wire::OneService {
            success: true,
            message: "m".into(),
            data: service.clone(),
            warnings: Some(vec!["w".to_owned()]),
            checks: Some(vec![wire::Checked { held: true, ..wire::Checked::default() }]),
        });
        assert_eq!(one.read::<wire::Service>().expect("a service"), service);
        assert_eq!(one.warnings, ["w"]);
        assert!(read::<Vec<wire::Checked>>(one.raw_checks()).expect("checks")[0].held);
        let many = written(&wire::ManyServices {
            success: true,
            message: "m".into(),
            data: vec![service],
            next_cursor: Some("c".to_owned()),
            hint: Some("add namespace=x".to_owned()),
        });
        assert_eq!(many.read::<Vec<wire::Service>>().expect("a list").len(), 1);
        assert_eq!((many.next_cursor.as_deref(), many.hint().as_deref()), (Some("c"), Some("add -n x")));
        let history = written(&wire::History {
            success: true,
            message: "m".into(),
            data: vec![wire::HistoryEntry::default()],
            id: uuid::Uuid::nil(),
            registered: false,
            next_cursor: None,
            history_since: Some(UnixMs(1)),
        });
        assert_eq!((history.registered, history.history_since), (Some(false), Some(UnixMs(1))));
    }
}
