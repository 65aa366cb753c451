//! From a context to a stream into a ready pod.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod as Object;
use kube::api::{Api, ListParams, Portforwarder};
use tokio::io::DuplexStream;
use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::error::TunnelError;
use super::pods::{self, LABEL, Pod};
use crate::model::name::Namespace;
use crate::model::text::escape;
use crate::operator::kubernetes::client::Access;
use crate::operator::kubernetes::health::ApiHealth;
use crate::telemetry::metrics::Metrics;

/// Longest wait for an answer of the Kubernetes API, in seconds.
const ANSWER_SECONDS: u64 = 5;
/// Held while a client is built.
static BUILDING: Mutex<()> = Mutex::const_new(());
/// How long a list is valid: connections at the same time share it.
const LIST_LIFETIME: Duration = Duration::from_secs(1);
/// Most pods that one connection tries.
const MAX_TRIES: usize = 3;
/// How long to wait for the node's error that nothing listens. It comes with the stream, or after a local dial.
const ERROR_GRACE: Duration = Duration::from_millis(50);
/// Most pods that are listed; a Deployment of Portolan has two.
const MAX_PODS: u32 = 200;

/// Finds ready pods and opens streams to them; cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct PodForwarder(Arc<Inner>);

struct Inner {
    api: Api<Object>,
    namespace: Namespace,
    state: Mutex<State>,
    /// The names of the pods that are ready.
    ready: watch::Sender<Vec<String>>,
    error: ArcSwapOption<TunnelError>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodForwarder").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    pods: Vec<Pod>,
    listed: Option<Instant>,
    /// When each pod last failed.
    failed: HashMap<String, Instant>,
    /// The last pod that was tried.
    last: Option<String>,
}

/// A stream into a pod. Dropping it ends its connection.
pub(super) struct Forward {
    pub(super) pod: Pod,
    pub(super) stream: DuplexStream,
    /// The error of the pod's node; none when the stream ends without one.
    pub(super) error: BoxFuture<'static, Option<String>>,
    forwarder: Portforwarder,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.forwarder.abort();
    }
}

impl PodForwarder {
    /// Reads the kubeconfig file.
    ///
    /// # Errors
    /// [`TunnelError::NoAccess`].
    pub(super) async fn find(context: &str, namespace: &Namespace) -> Result<Self, TunnelError> {
        let access = Access::find(Some(context)).await.map_err(|error| TunnelError::no_access(&error))?;
        // A credential plugin of the kubeconfig may run here for as long as it likes, and this thread also handles signals. A caller that
        // gives up leaves it running, so the next one waits for its end.
        let building = BUILDING.lock().await;
        let client = move || {
            let _building = building;
            access.client(&ApiHealth::default(), &Metrics::default())
        };
        let client = spawn_blocking(client).await.map_err(|error| TunnelError::NoAccess(error.to_string()))?;
        let client = client.map_err(|error| TunnelError::no_access(&error))?;
        Ok(Self(Arc::new(Inner {
            api: Api::namespaced(client, namespace.as_str()),
            namespace: namespace.clone(),
            state: Mutex::default(),
            ready: watch::Sender::new(Vec::new()),
            error: ArcSwapOption::empty(),
        })))
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// Why the last connection broke.
    pub(super) fn error(&self) -> Option<TunnelError> {
        self.0.error.load().as_deref().cloned()
    }

    /// Clears the last error, since a pod answers.
    pub(super) fn clear_error(&self) {
        self.0.error.store(None);
    }

    /// Keeps the reason why a stream could not be opened, or ended.
    pub(super) fn set_error(&self, error: TunnelError) {
        self.0.error.store(Some(Arc::new(error)));
    }

    /// Whether there are streams.
    pub(super) fn is_used(&self) -> bool {
        self.0.ready.receiver_count() > 0
    }

    /// The names of the ready pods, as they change.
    pub(super) fn ready(&self) -> watch::Receiver<Vec<String>> {
        self.0.ready.subscribe()
    }

    /// Notes that a pod failed, so that another one is preferred.
    pub(super) async fn note_failure(&self, pod: &str) {
        let mut state = self.0.state.lock().await;
        state.failed.insert(pod.to_owned(), Instant::now());
        state.listed = None;
    }

    /// Lists the pods. A failure is ignored: it says nothing about the open streams, and the next refresh tries again.
    pub(super) async fn refresh(&self) {
        let mut state = self.0.state.lock().await;
        drop(self.list(&mut state).await);
    }

    /// Opens the first stream, to a pod that accepts it: a command that sends a single request cannot try again.
    ///
    /// # Errors
    /// [`TunnelError`], of the last pod that was tried.
    pub(super) async fn open_first(&self) -> Result<Forward, TunnelError> {
        let mut tried = 0;
        loop {
            let mut forward = self.connect().await?;
            let Ok(said) = timeout(ERROR_GRACE, &mut forward.error).await else { return Ok(forward) };
            self.note_failure(&forward.pod.name).await;
            tried += 1;
            if tried == MAX_TRIES {
                return Err(TunnelError::unanswered(&forward.pod, said));
            }
        }
    }

    /// Opens a stream to a ready pod, preferably not the one that just failed.
    ///
    /// # Errors
    /// [`TunnelError`], of the last pod that was tried.
    pub(super) async fn connect(&self) -> Result<Forward, TunnelError> {
        let mut tried = 0;
        loop {
            let pod = self.choose().await?;
            tried += 1;
            match self.forward(&pod).await {
                Ok(forward) => return Ok(forward),
                Err(error) if error.is_general() || tried == MAX_TRIES => return Err(error),
                Err(_) => self.note_failure(&pod.name).await,
            }
        }
    }

    /// Lists the pods unless that was done a moment ago, and chooses one.
    async fn choose(&self) -> Result<Pod, TunnelError> {
        let mut state = self.0.state.lock().await;
        if state.listed.is_none_or(|at| at.elapsed() > LIST_LIFETIME) {
            self.list(&mut state).await?;
        }
        let State { pods, failed, last, .. } = &*state;
        let Some(pod) = pods::choose(pods, failed, last.as_deref()).cloned() else {
            return Err(if pods.is_empty() { TunnelError::NoPod } else { TunnelError::NoneReady(pods.len()) });
        };
        state.last = Some(pod.name.clone());
        Ok(pod)
    }

    async fn list(&self, state: &mut State) -> Result<(), TunnelError> {
        let wanted = ListParams::default().labels(LABEL).limit(MAX_PODS);
        let listed = timeout(Duration::from_secs(ANSWER_SECONDS), self.0.api.list(&wanted)).await;
        let objects =
            listed.map_err(|_| TunnelError::silence(ANSWER_SECONDS))?.map_err(|error| TunnelError::of(&error, None))?;
        state.pods = objects.items.into_iter().filter_map(Pod::read).collect();
        state.failed.retain(|name, _| state.pods.iter().any(|pod| pod.name == *name));
        state.listed = Some(Instant::now());
        let ready = state.pods.iter().filter(|pod| pod.ready).map(|pod| pod.name.clone());
        self.0.ready.send_replace(ready.collect());
        Ok(())
    }

    async fn forward(&self, pod: &Pod) -> Result<Forward, TunnelError> {
        let opened = timeout(Duration::from_secs(ANSWER_SECONDS), self.0.api.portforward(&pod.name, &[pod.port])).await;
        let no_stream = |said: &str| TunnelError::NoStream { pod: escape(&pod.name, 63), said: said.to_owned() };
        let opened = opened.map_err(|_| no_stream(&format!("no answer within {ANSWER_SECONDS} s")))?;
        let mut forwarder = opened.map_err(|error| TunnelError::of(&error, Some(&pod.name)))?;
        let (stream, error) = (forwarder.take_stream(pod.port), forwarder.take_error(pod.port));
        let (Some(stream), Some(error)) = (stream, error) else {
            return Err(no_stream("it returned no stream"));
        };
        Ok(Forward { pod: pod.clone(), stream, error: error.boxed(), forwarder })
    }
}
