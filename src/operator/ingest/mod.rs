//! Takes in what the Kubernetes API says, from the watch, from lists and from the answers to our own writes, and hands the store what is news.
//!
//! One task owns the [`Index`]; whatever is queued is taken together, in one batch of the store. Who waits for its own object hears when the
//! next read here shows it.

mod changed;
mod index;
mod observed;
mod rejected;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

pub mod mirror_age;

pub use changed::Changed;
pub(crate) use index::Scope;
pub use observed::ObservedObject;
pub use task::IngestTask;

use crate::model::name::{Namespace, ServiceKey};
use crate::model::ports::{AddressGate, Leadership, WriteError};
use crate::operator::crd::ServiceResource;
use crate::operator::read::raw::RawObject;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

/// Messages that wait at most; the watch then reads no further.
const QUEUE: usize = 512;

/// Every object by namespace and name.
pub type Objects = imbl::HashMap<ServiceKey, Arc<ObservedObject>>;

/// Why an object was not taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The process stops.
    #[error("the server is shutting down; try again")]
    Closed,
    /// What every object has is missing in it.
    #[error("the Kubernetes API's answer is no object: {0}")]
    Nameless(String),
    /// The mirror could not be written; it is tried again by itself.
    #[error(transparent)]
    Store(#[from] WriteError),
}

pub(super) type Reply = oneshot::Sender<Result<(), IngestError>>;

/// One piece of news.
pub(super) enum Message {
    Put(Box<RawObject>, Option<Reply>),
    Gone {
        key: ServiceKey,
        id: Uuid,
        revision: u64,
        reply: Option<Reply>,
    },
    Begin(Scope),
    /// With who waits until it is taken in.
    Page(Scope, Vec<RawObject>, Reply),
    End(Scope, u64),
    /// The watch told everything up to that revision.
    Heard(u64),
}

/// The handle on the task; cloning shares it.
#[derive(Debug, Clone)]
pub struct Ingest {
    messages: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

/// What others read of the task.
#[derive(Debug, Default)]
pub(super) struct Shared {
    objects: ArcSwap<Objects>,
    complete: AtomicBool,
    changed: Changed,
}

impl Ingest {
    /// The handle, and the task that does the work. `namespaces` are those that are watched, none for all.
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
        let task = IngestTask::new(queue, shared.clone(), scopes(namespaces), store, leadership, addresses, metrics);
        (Self { messages, shared }, task)
    }

    /// Takes in an object that a write or a read answered. Resolves when the next read here shows it, or something newer.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn put(&self, object: ServiceResource) -> Result<(), IngestError> {
        self.put_raw(object.into()).await
    }

    pub(crate) async fn put_raw(&self, seen: RawObject) -> Result<(), IngestError> {
        self.ask(|reply| Message::Put(Box::new(seen), Some(reply))).await
    }

    /// Takes in that the object of this uid was removed, at `revision` or a little later. Resolves when no read here shows it.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn gone(&self, key: ServiceKey, id: Uuid, revision: u64) -> Result<(), IngestError> {
        self.ask(|reply| Message::Gone { key, id, revision, reply: Some(reply) }).await
    }

    /// The object of that name, as the last news were.
    pub fn known(&self, key: &ServiceKey) -> Option<Arc<ObservedObject>> {
        self.shared.objects.load().get(key).cloned()
    }

    /// Whether a list of all that is watched was finished: before that, what is read here comes from the mirror's file.
    pub fn is_complete(&self) -> bool {
        self.shared.complete.load(Ordering::Acquire)
    }

    /// Every object; cheap.
    pub fn objects(&self) -> Arc<Objects> {
        self.shared.objects.load_full()
    }

    /// Which objects changed; the status writer takes from it.
    pub fn changed(&self) -> &Changed {
        &self.shared.changed
    }

    /// News of the watch, in order; waits while too much is queued.
    pub(super) async fn tell(&self, message: Message) -> Result<(), IngestError> {
        self.messages.send(message).await.map_err(|_| IngestError::Closed)
    }

    /// As [`Ingest::tell`], and waits until it is done.
    pub(super) async fn ask(&self, message: impl FnOnce(Reply) -> Message) -> Result<(), IngestError> {
        let (reply, answer) = oneshot::channel();
        self.tell(message(reply)).await?;
        answer.await.map_err(|_| IngestError::Closed)?
    }
}

/// One scope a namespace, or one for all.
pub(super) fn scopes(namespaces: &[Namespace]) -> Vec<Scope> {
    if namespaces.is_empty() { vec![None] } else { namespaces.iter().cloned().map(Some).collect() }
}
