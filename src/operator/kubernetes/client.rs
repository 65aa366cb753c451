//! The client of the Kubernetes API: its address, its credentials, and what counts and observes every request.
//!
//! It never retries: kube's own retries would hold up a renewal of the Lease for minutes. Each caller sets its own timeout.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode};
use kube::client::{Body, ClientBuilder};
use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::Service;
use tower::layer::layer_fn;

use crate::crypto::provider;
use crate::model::name::{NameError, Namespace};
use crate::operator::kubernetes::health::ApiHealth;
use crate::telemetry::metrics::{KubeRequestLabels, Metrics, method_label};

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// The name in the API server's log.
const USER_AGENT: &str = concat!("portolan/", env!("CARGO_PKG_VERSION"));

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Neither in a pod nor with a kubeconfig file.
    #[error(
        "no Kubernetes API to talk to: {}; outside a cluster set KUBECONFIG to a file that kubectl works with, in a pod mount a ServiceAccount's token",
        causes(.0)
    )]
    Nowhere(#[source] InferConfigError),
    /// The kubeconfig file has no such context, or cannot be read.
    #[error(
        "the context {context} of the kubeconfig file cannot be used: {}; `kubectl config get-contexts` lists them",
        causes(.why)
    )]
    Context {
        /// Its name.
        context: String,
        /// What is wrong.
        #[source]
        why: KubeconfigError,
    },
    /// The namespace is not a valid name.
    #[error("the namespace {name:?} of the kubeconfig's context cannot be used: {why}; set POD_NAMESPACE")]
    Namespace {
        /// Its name.
        name: String,
        /// What is wrong.
        #[source]
        why: NameError,
    },
    /// Certificates or keys that cannot be used.
    #[error("the client of the Kubernetes API cannot be built: {}", causes(.0))]
    Build(#[source] kube::Error),
}

/// An error with its causes, in one line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// The context that kubectl uses: the current one of `KUBECONFIG` or `~/.kube/config`. None where there is none, or the file cannot be read.
pub fn current_context() -> Option<String> {
    Kubeconfig::read().ok()?.current_context.filter(|name| !name.is_empty())
}

/// The address and credentials of the Kubernetes API.
#[derive(Debug, Clone)]
pub struct Access {
    config: Config,
}

impl Access {
    /// Finds the API as kubectl does: by `KUBECONFIG` or `~/.kube/config`, with `context` or the current one; else by the pod's
    /// ServiceAccount.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn find(context: Option<&str>) -> Result<Self, ClientError> {
        let found = match context {
            None => Config::infer().await.map_err(ClientError::Nowhere)?,
            Some(name) => {
                let options = KubeConfigOptions { context: Some(name.to_owned()), ..KubeConfigOptions::default() };
                let found = Config::from_kubeconfig(&options).await;
                found.map_err(|why| ClientError::Context { context: name.to_owned(), why })?
            }
        };
        Ok(Self { config: found })
    }

    /// The namespace of the ServiceAccount or of the context.
    ///
    /// # Errors
    /// [`ClientError::Namespace`] when it is not a valid name.
    pub fn namespace(&self) -> Result<Namespace, ClientError> {
        let name = &self.config.default_namespace;
        name.parse().map_err(|why| ClientError::Namespace { name: name.clone(), why })
    }

    /// The API server's addresses as far as they are known now: the one in its URL, or those that its name resolves to.
    pub async fn server_addresses(&self) -> Vec<IpAddr> {
        let host = self.config.cluster_url.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        match tokio::time::timeout(CONNECT, tokio::net::lookup_host((host, 0))).await {
            Ok(Ok(found)) => found.map(|address| address.ip().to_canonical()).collect(),
            _ => Vec::new(),
        }
    }

    /// The client. Each answer updates `api_health`, and every request is counted.
    ///
    /// # Errors
    /// [`ClientError::Build`].
    pub fn client(mut self, api_health: &ApiHealth, metrics: &Metrics) -> Result<Client, ClientError> {
        let _installed = provider();
        self.config.connect_timeout = Some(CONNECT);
        self.config.default_retry = false;
        self.config.headers.push((http::header::USER_AGENT, HeaderValue::from_static(USER_AGENT)));
        let host: Arc<str> = self.config.cluster_url.authority().map_or("", http::uri::Authority::as_str).into();
        let noted = Noted { api_health: api_health.clone(), metrics: metrics.clone(), host };
        let builder = ClientBuilder::try_from(self.config).map_err(ClientError::Build)?;
        Ok(builder.with_layer(&layer_fn(move |inner| Counted { inner, noted: noted.clone() })).build())
    }
}

/// Observes each request.
#[derive(Debug, Clone)]
struct Noted {
    api_health: ApiHealth,
    metrics: Metrics,
    host: Arc<str>,
}

impl Noted {
    fn note(&self, method: &'static str, status: Option<StatusCode>) {
        // A proxy in between answers 502, 503 or 504 if the API server does not answer.
        if status.is_some_and(|status| !status.is_server_error()) {
            self.api_health.touch();
        }
        let code = status.map_or(Cow::Borrowed("<error>"), |status| status.as_str().to_owned().into());
        let labels = KubeRequestLabels { code, method, host: self.host.clone() };
        self.metrics.kube_requests.get_or_create(&labels).inc();
    }
}

#[derive(Debug, Clone)]
struct Counted<S> {
    inner: S,
    noted: Noted,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (noted, method) = (self.noted.clone(), method_label(request.method()));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            noted.note(method, answer.as_ref().ok().map(Response::status));
            answer
        })
    }
}
