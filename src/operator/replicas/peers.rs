//! Watches the endpoints of Portolan's own Service, so that nobody can make the prober probe the other replicas.
//!
//! The prober checks an address at each probe, and the status that follows makes [`ingest`](crate::operator::ingest) read the object again.
//! An instance without a check is checked whenever its object is read.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::TryStreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, WatchEvent};
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::model::backoff::Backoff;
use crate::model::name::Namespace;
use crate::model::text;
use crate::operator::kubernetes::list_watch::{self, ApiError, ListWatch, WatchLength};

/// The slices of the Service that `deploy/` makes. The controller of slices copies the Service's labels, and an overlay with a prefix or a
/// suffix changes its name but not this label; slices that Portolan publishes do not have it.
const OURS: &str = "app.kubernetes.io/name=portolan";
/// Most addresses that are kept: far more than there are replicas.
const MAX_ADDRESSES: usize = 256;
/// Time for a list, and for a watch to open.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses after an error.
const ERROR_PAUSES: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// Why a round ended early.
pub(in crate::operator) enum PeersError {
    /// Refused by the Kubernetes API.
    Refused(String),
    /// Anything else; the watch of services reports when the Kubernetes API does not answer.
    Other(String),
}

impl From<ApiError> for PeersError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Failed(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
                Self::Refused(status.message.clone())
            }
            error => Self::Other(error.to_string()),
        }
    }
}

/// The task that follows them.
pub struct Peers {
    slices: Api<EndpointSlice>,
    namespace: Namespace,
    addresses: Arc<ArcSwap<Vec<IpAddr>>>,
    known: HashMap<String, Vec<IpAddr>>,
    /// The resourceVersion to resume from; none before a list.
    from: Option<String>,
    backoff: Backoff,
    warned: bool,
    full: bool,
}

impl Peers {
    /// Follows the replicas in `namespace`, and keeps their addresses in `addresses`, as last known while the Kubernetes API does not answer.
    pub fn new(client: Client, namespace: &Namespace, addresses: Arc<ArcSwap<Vec<IpAddr>>>) -> Self {
        Self {
            slices: Api::namespaced(client, namespace.as_str()),
            namespace: namespace.clone(),
            addresses,
            known: HashMap::new(),
            from: None,
            backoff: ERROR_PAUSES,
            warned: false,
            full: false,
        }
    }

    /// Follows them until `stop`, whatever happens to the Kubernetes API.
    ///
    /// # Errors
    /// Never fails; failures are retried.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        list_watch::run(self, stop).await
    }

    async fn list(&mut self) -> Result<String, PeersError> {
        let list = list_watch::answer(ANSWER_TIMEOUT, self.slices.list(&ListParams::default().labels(OURS))).await?;
        self.known = list.items.iter().map(|slice| (slice.name_any(), addresses(slice))).collect();
        self.publish();
        let from = list.metadata.resource_version.unwrap_or_default();
        self.from = Some(from.clone());
        Ok(from)
    }

    fn event(&mut self, event: WatchEvent<EndpointSlice>) -> Result<(), PeersError> {
        self.from = match event {
            WatchEvent::Added(slice) | WatchEvent::Modified(slice) => {
                self.known.insert(slice.name_any(), addresses(&slice));
                slice.resource_version()
            }
            WatchEvent::Deleted(slice) => {
                self.known.remove(&slice.name_any());
                slice.resource_version()
            }
            WatchEvent::Bookmark(mark) => Some(mark.metadata.resource_version),
            WatchEvent::Error(status) => return Err(PeersError::Other(status.message.clone())),
        };
        self.publish();
        Ok(())
    }

    fn publish(&mut self) {
        let mut all: Vec<IpAddr> = self.known.values().flatten().copied().collect();
        all.sort_unstable();
        all.dedup();
        if all.len() > MAX_ADDRESSES && !std::mem::replace(&mut self.full, true) {
            tracing::warn!(
                "the Services with {OURS} in {} have {} endpoints, of which {MAX_ADDRESSES} are kept from being probed; are they all Portolan's?",
                self.namespace,
                all.len()
            );
        }
        all.truncate(MAX_ADDRESSES);
        if **self.addresses.load() != all {
            tracing::debug!(?all, "replicas, which are not probed by default");
            self.addresses.store(Arc::new(all));
        }
    }
}

impl ListWatch for Peers {
    type Error = PeersError;
    type Fatal = Infallible;

    async fn round(&mut self) -> Result<(), PeersError> {
        let from = match self.from.clone() {
            Some(from) => from,
            None => self.list().await?,
        };
        let length = WatchLength::random();
        let slices = self.slices.clone();
        let events = list_watch::answer(ANSWER_TIMEOUT, slices.watch(&length.params().labels(OURS), &from)).await?;
        self.warned = false;
        self.backoff.reset();
        let mut events = pin!(length.with_timeout(events));
        while let Some(event) = events.try_next().await? {
            self.event(event)?;
        }
        Ok(())
    }

    /// Keeps what is known; the next round lists again.
    fn failed(&mut self, error: PeersError) -> Result<(), Infallible> {
        self.from = None;
        let why = match error {
            PeersError::Refused(why) => text::escape(&why, 300),
            PeersError::Other(why) => {
                tracing::debug!("the replicas are listed again: {}", text::escape(&why, 300));
                return Ok(());
            }
        };
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                "the other replicas' addresses are unknown, so a Service may have them probed: this ServiceAccount needs the \
                 verbs list and watch on endpointslices.discovery.k8s.io in namespace {} (the Role in deploy/); this is tried again: {why}",
                self.namespace
            );
        }
        Ok(())
    }

    fn pause(&mut self) -> Duration {
        self.backoff.next()
    }
}

/// All addresses: a replica that is not ready or is terminating counts too.
fn addresses(slice: &EndpointSlice) -> Vec<IpAddr> {
    let all = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    all.filter_map(|text| text.parse::<IpAddr>().ok()).map(|ip| ip.to_canonical()).take(MAX_ADDRESSES + 1).collect()
}
