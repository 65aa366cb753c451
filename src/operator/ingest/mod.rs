//! Keeps the newest version of every object, from the watch, from lists and from the answers to our own writes, and hands changes to the store.
//!
//! In: objects in any order. Out: changes for the store, batched, and the objects for the status writer and the
//! registrar. A caller that waits for its own object is answered when the next read here shows it.
//!
//! 1. This file: the [`Ingest`] handle and its messages. [`task`]: the task that owns the [`Index`](index::Index).
//! 2. [`index`]: which news counts. [`observed`]: what is kept of an object.
//! 3. [`progress`]: how far the watches have come. [`changed`]: keys for the status writer. [`mirror_age`]: how old the mirror may be.
//!    [`rejected`]: a metric.

mod changed;
mod index;
mod observed;
mod progress;
mod rejected;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

pub mod mirror_age;

pub use changed::Changed;
pub(crate) use index::Scope;
pub use observed::ObservedObject;
pub use task::IngestTask;

use crate::model::name::{Namespace, ServiceKey};
use crate::model::ports::{AddressGate, EmptyServices, Leadership, WriteError};
use crate::operator::crd::ServiceResource;
use crate::operator::endpoints::EndpointNews;
use crate::operator::read::ParsedService;
use crate::operator::read::raw::RawObject;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

/// Most messages that wait; the watch then stops reading.
const QUEUE: usize = 512;

/// Objects by namespace and name.
pub type Objects = imbl::HashMap<ServiceKey, Arc<ObservedObject>>;

/// Why an object was not ingested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The process stops.
    #[error("the server is shutting down; try again")]
    Closed,
    /// It lacks what every object has.
    #[error("the Kubernetes API's answer is not an object: {0}")]
    Nameless(String),
    /// The mirror could not be written; the task tries again.
    #[error(transparent)]
    Store(#[from] WriteError),
}

pub(super) type Reply = oneshot::Sender<Result<(), IngestError>>;

/// A message to the task.
pub(super) enum Message {
    Put(Box<RawObject>, Option<Reply>),
    Removed {
        key: ServiceKey,
        id: Uuid,
        revision: u64,
        reply: Option<Reply>,
    },
    Begin(Scope),
    /// The sender waits until the page is processed.
    Page(Scope, Vec<RawObject>, Reply),
    End(Scope, u64),
    /// Endpoints that objects may adopt.
    Endpoints(Box<EndpointNews>),
    /// The scope's watch has delivered everything up to that revision.
    Progress(Scope, u64),
    /// The scope's watch is open again.
    Opened(Scope),
    /// The scope's watch broke, or could not be opened.
    Broke(Scope),
}

/// The handle on the task; cloning shares it.
#[derive(Clone)]
pub struct Ingest {
    messages: mpsc::Sender<Message>,
    shared: Arc<Shared>,
    addresses: Arc<dyn AddressGate>,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// What others read of the task's state.
#[derive(Debug, Default)]
pub(super) struct Shared {
    objects: ArcSwap<Objects>,
    /// What `objects` will be once the store has written it: while it does, the catalog shows either.
    written_next: ArcSwap<Objects>,
    aside: ArcSwap<Objects>,
    complete: AtomicBool,
    /// Grows when the reason why a service has no instance may have changed.
    reasons: watch::Sender<u64>,
    changed: Changed,
    /// One for each other task that asked for it, so that nothing piles up.
    followers: ArcSwap<Vec<Changed>>,
}

impl Shared {
    fn mark(&self, keys: &[ServiceKey]) {
        for changed in std::iter::once(&self.changed).chain(self.followers.load().iter()) {
            changed.mark(keys.iter().cloned());
        }
    }

    fn why_empty(&self, key: &ServiceKey) -> Option<String> {
        why_empty(&self.objects.load(), key).or_else(|| why_empty(&self.written_next.load(), key))
    }
}

impl Ingest {
    /// The handle, and the task that does the work. `namespaces` are the watched ones, none for all.
    pub fn new(
        namespaces: &[Namespace],
        store: Store,
        leadership: Arc<dyn Leadership>,
        addresses: Arc<dyn AddressGate>,
        metrics: Metrics,
    ) -> (Self, IngestTask) {
        let (messages, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared::default());
        metrics.collect_with(Box::new(rejected::Rejected(Arc::clone(&shared))));
        let scopes = scopes(namespaces);
        let task = IngestTask::new(queue, shared.clone(), scopes, store, leadership, Arc::clone(&addresses), metrics);
        (Self { messages, shared, addresses }, task)
    }

    /// Ingests an object from the answer to a write or a read. Resolves when the next read here shows it, or something newer.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn put(&self, object: ServiceResource) -> Result<(), IngestError> {
        self.put_raw(object.into()).await
    }

    pub(crate) async fn put_raw(&self, raw: RawObject) -> Result<(), IngestError> {
        self.ask(|reply| Message::Put(Box::new(raw), Some(reply))).await
    }

    /// The object in the model's terms, without ingesting it; none if it lacks something that every object has.
    pub(crate) fn parse(&self, raw: RawObject) -> Option<ParsedService> {
        ObservedObject::new(raw, &*self.addresses).ok().map(|observed| observed.parsed)
    }

    /// Ingests the removal of the object with that uid, at `revision` or soon after. Resolves when no read here shows it.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn remove(&self, key: ServiceKey, id: Uuid, revision: u64) -> Result<(), IngestError> {
        self.ask(|reply| Message::Removed { key, id, revision, reply: Some(reply) }).await
    }

    /// Ingests news of the endpoints that objects adopt.
    pub(in crate::operator) async fn put_endpoints(&self, news: EndpointNews) -> Result<(), IngestError> {
        self.send(Message::Endpoints(Box::new(news))).await
    }

    /// The newest known object with that key, if its namespace is watched.
    pub fn known(&self, key: &ServiceKey) -> Option<Arc<ObservedObject>> {
        self.shared.objects.load().get(key).cloned()
    }

    /// The newest object with that key in a namespace that is not watched now.
    pub fn known_aside(&self, key: &ServiceKey) -> Option<Arc<ObservedObject>> {
        self.shared.aside.load().get(key).cloned()
    }

    /// Every object of a namespace that is not watched now; cheap.
    pub fn aside(&self) -> Arc<Objects> {
        self.shared.aside.load_full()
    }

    /// Whether every watched scope was listed; before that, reads here come from the mirror's file.
    pub fn is_complete(&self) -> bool {
        self.shared.complete.load(Ordering::Acquire)
    }

    /// Every watched object; cheap.
    pub fn objects(&self) -> Arc<Objects> {
        self.shared.objects.load_full()
    }

    /// Which objects changed, for the status writer.
    pub fn changed(&self) -> &Changed {
        &self.shared.changed
    }

    /// The same again, for one more task; it has to take what is marked from then on.
    pub fn follow_changes(&self) -> Changed {
        let changed = Changed::default();
        self.shared.followers.rcu(|before| before.iter().chain([&changed]).cloned().collect::<Vec<_>>());
        changed
    }

    /// Has every reader look at these objects again, although they are as they were.
    pub(in crate::operator) fn mark(&self, keys: &[ServiceKey]) {
        self.shared.mark(keys);
    }

    /// Sends a message; waits while the queue is full.
    pub(super) async fn send(&self, message: Message) -> Result<(), IngestError> {
        self.messages.send(message).await.map_err(|_| IngestError::Closed)
    }

    /// As [`Ingest::send`], and waits for the result.
    pub(super) async fn ask(&self, message: impl FnOnce(Reply) -> Message) -> Result<(), IngestError> {
        let (reply, answer) = oneshot::channel();
        self.send(message(reply)).await?;
        answer.await.map_err(|_| IngestError::Closed)?
    }
}

impl EmptyServices for Ingest {
    fn why_empty(&self, key: &ServiceKey) -> Option<String> {
        self.shared.why_empty(key)
    }

    fn reason_changed(&self, key: &ServiceKey) -> BoxFuture<'static, ()> {
        let (mut reasons, shared, key) = (self.shared.reasons.subscribe(), Arc::clone(&self.shared), key.clone());
        let before = shared.why_empty(&key);
        Box::pin(async move { while shared.why_empty(&key) == before && reasons.changed().await.is_ok() {} })
    }
}

fn why_empty(objects: &Objects, key: &ServiceKey) -> Option<String> {
    objects.get(key)?.parsed.why_empty()
}

/// Whether the reason why one of these services has no instance changed, came or went.
pub(super) fn reasons_differ(before: &Objects, now: &Objects, keys: &[ServiceKey]) -> bool {
    keys.iter().any(|key| why_empty(before, key) != why_empty(now, key))
}

/// A scope for each namespace, or one for all.
pub(super) fn scopes(namespaces: &[Namespace]) -> Vec<Scope> {
    if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() }
}
