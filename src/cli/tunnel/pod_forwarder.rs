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
use tokio::time::timeout;

use super::error::TunnelError;
use super::pods::{self, LABEL, Pod};
use crate::model::name::Namespace;
use crate::model::text::escape;
use crate::operator::kubernetes::client::Access;
use crate::operator::kubernetes::health::ApiHealth;
use crate::telemetry::metrics::Metrics;

/// Seconds that the Kubernetes API has for one answer.
const ANSWER: u64 = 5;
/// How long a list is valid: connections at the same time share it.
const FRESH: Duration = Duration::from_secs(1);
/// Most pods that one connection tries.
const TRIES: usize = 3;
/// How long to wait for the node's error that nothing listens. It comes with the stream, or after a local dial.
const ERROR_GRACE: Duration = Duration::from_millis(50);
/// Most pods that are listed; a Deployment of Portolan has two.
const PODS: u32 = 200;

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
    /// When the pods that failed last did so.
    failed: HashMap<String, Instant>,
    /// The last pod that was tried.
    last: Option<String>,
}

/// A stream into a pod. Its end ends what carries it.
pub(super) struct Forward {
    pub(super) pod: Pod,
    pub(super) stream: DuplexStream,
    /// The error of the pod's node; none once there is nothing left to wait for.
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
        let client = access.client(&ApiHealth::default(), &Metrics::default());
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

    /// A pod answers.
    pub(super) fn works(&self) {
        self.0.error.store(None);
    }

    /// A stream could not be opened, or ended for that reason.
    pub(super) fn breaks(&self, error: TunnelError) {
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

    /// From now on another pod is preferred.
    pub(super) async fn failed(&self, pod: &str) {
        let mut state = self.0.state.lock().await;
        state.failed.insert(pod.to_owned(), Instant::now());
        state.listed = None;
    }

    /// Lists the pods. What cannot be known now is asked again, and tells nothing of the streams that there are.
    pub(super) async fn refresh(&self) {
        let mut state = self.0.state.lock().await;
        drop(self.list(&mut state).await);
    }

    /// The first stream, to a pod that takes it: a command that asks once has no second chance.
    ///
    /// # Errors
    /// [`TunnelError`], of the last pod that was tried.
    pub(super) async fn first(&self) -> Result<Forward, TunnelError> {
        let mut tried = 0;
        loop {
            let mut forward = self.connect().await?;
            let Ok(said) = timeout(ERROR_GRACE, &mut forward.error).await else { return Ok(forward) };
            self.failed(&forward.pod.name).await;
            tried += 1;
            if tried == TRIES {
                return Err(TunnelError::unanswered(&forward.pod, said));
            }
        }
    }

    /// A stream to a ready pod, to another than the one that just failed if there is one.
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
                Err(error) if error.is_general() || tried == TRIES => return Err(error),
                Err(_) => self.failed(&pod.name).await,
            }
        }
    }

    /// Lists the pods unless that was done a moment ago, and chooses one.
    async fn choose(&self) -> Result<Pod, TunnelError> {
        let mut state = self.0.state.lock().await;
        if state.listed.is_none_or(|at| at.elapsed() > FRESH) {
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
        let wanted = ListParams::default().labels(LABEL).limit(PODS);
        let listed = timeout(Duration::from_secs(ANSWER), self.0.api.list(&wanted)).await;
        let objects =
            listed.map_err(|_| TunnelError::silence(ANSWER))?.map_err(|error| TunnelError::of(&error, None))?;
        state.pods = objects.items.into_iter().filter_map(Pod::read).collect();
        state.failed.retain(|name, _| state.pods.iter().any(|pod| pod.name == *name));
        state.listed = Some(Instant::now());
        let ready = state.pods.iter().filter(|pod| pod.ready).map(|pod| pod.name.clone());
        self.0.ready.send_replace(ready.collect());
        Ok(())
    }

    async fn forward(&self, pod: &Pod) -> Result<Forward, TunnelError> {
        let opened = timeout(Duration::from_secs(ANSWER), self.0.api.portforward(&pod.name, &[pod.port])).await;
        let none = |said: &str| TunnelError::NoWay { pod: escape(&pod.name, 63), said: said.to_owned() };
        let opened = opened.map_err(|_| none(&format!("no answer within {ANSWER} s")))?;
        let mut forwarder = opened.map_err(|error| TunnelError::of(&error, Some(&pod.name)))?;
        let (stream, error) = (forwarder.take_stream(pod.port), forwarder.take_error(pod.port));
        let (Some(stream), Some(error)) = (stream, error) else {
            return Err(none("it gives no stream"));
        };
        Ok(Forward { pod: pod.clone(), stream, error: error.boxed(), forwarder })
    }
}
