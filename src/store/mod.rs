//! The store: one SQLite file, one thread that writes it, one that reads its history.
//!
//! Every change enters as a job on the writer's queue. The writer takes what is queued, applies it to a working copy of
//! the catalog's snapshot, writes the difference in one transaction, commits, publishes the snapshot, feeds what differs,
//! and only then answers the waiters: what was acknowledged is durable, and visible to the next read. A refused change
//! does not hurt its batch; a failed commit throws the working copy away and every waiter hears of it.
//!
//! A register call that repeats what is known is answered from the published snapshot, past the queue: that snapshot is
//! durable, and nobody who was answered can have seen a newer one. While a call about the same service is on its way it
//! queues up behind that one: a removal whose client gave up may yet be written.
//!
//! In cluster mode the file is a mirror of what the Kubernetes API holds: objects come in by [`Store::mirror`] and
//! [`Store::mirror_all`], no registration does, and a file that cannot be used is set aside and made anew.

mod error;
mod file;
mod history;
mod queue;
pub mod reader;
mod rules;
mod schema;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::catalog::{Catalog, Epoch};
use crate::model::mirror::{MirrorChange, Mirrored, VerdictsFrom};
use crate::model::ports::{Caller, Leadership, Registered, Registrar, Registration, Removal, ServiceRef, WriteError};
use crate::model::probe::{HealthChange, ProbeRow};
use crate::model::service::InstanceId;
use crate::model::time::{Clock, UnixMs};
use crate::telemetry::metrics::Metrics;

pub use error::{OpenError, StoreError};
pub use file::peek::MirrorFile;
pub use history::{HistoryEntry, HistoryEvent, HistoryPage, HistoryQuery, MAX_PAGE, Removals};
pub use writer::run::Writer;

use history::thread::Question;
use queue::job::{Job, List, Register, Remove, Reply};
use queue::pending::{Pending, Ticket};
use schema::quarantine::Quarantine;
use schema::write::{EncodedProbe, SpecColumns, Verdict};

/// Probe rows that one transaction takes at most, so that registrations come in between.
const PROBE_ROWS: usize = 256;

/// How the store is opened.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The file; its folder must be there.
    pub path: PathBuf,
    /// Most services registered over REST; 0 is unlimited.
    pub max_services: usize,
    /// Most instances of all services.
    pub max_instances: usize,
    /// Days that history is kept.
    pub history_days: u32,
    /// Most entries of history.
    pub history_rows: usize,
    /// Interval of a check that names none.
    pub default_interval: Duration,
    /// In cluster mode, where the file is a mirror: the line of revisions that it mirrors. A file of another line is made anew.
    pub epoch: Option<Epoch>,
    /// Whether a commit outlasts a power cut; a mirror's need not.
    pub durable: bool,
}

/// What may be lost at this start, because whoever starts the server said so. Neither is needed with a sound file, and then neither
/// does anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consent {
    /// A file that is damaged as a whole, or gone, is set aside, and the registry begins without services.
    pub start_empty: bool,
    /// What was committed last may be missing, as when an older copy of the file was put in its place.
    pub accept_loss: bool,
}

/// An open store.
pub struct Opened {
    /// The handle that everyone uses.
    pub store: Store,
    /// What does the work; nothing is answered before it runs.
    pub writer: Writer,
    /// The read model, at what the file holds.
    pub catalog: Arc<Catalog>,
    /// What probing left behind, of each instance's current generation.
    pub probes: HashMap<InstanceId, ProbeRow>,
}

/// The handle to the store; cloning shares it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    jobs: mpsc::Sender<Job>,
    questions: mpsc::Sender<Question>,
    catalog: Arc<Catalog>,
    pending: Pending,
    failure: Arc<ArcSwapOption<WriteError>>,
    complete: Arc<AtomicBool>,
    began: Option<UnixMs>,
    quarantine: Arc<Quarantine>,
    metrics: Metrics,
}

impl Store {
    /// Opens the file, or makes it. Blocks; called once, at the start.
    ///
    /// # Errors
    /// [`OpenError`] naming the file and the way out. A mirror that cannot be used is no error: it is set aside, and the log says where.
    /// Nor is a full or read-only disk where there is a file to read: then [`Store::failure`] says why nothing is written.
    pub fn open(settings: StoreSettings, clock: Clock, metrics: Metrics) -> Result<Opened, OpenError> {
        Self::open_with(settings, Consent::default(), clock, metrics)
    }

    /// As [`Store::open`], with what may be lost.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_with(
        settings: StoreSettings,
        consent: Consent,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Opened, OpenError> {
        writer::run::open(settings, consent, clock, metrics)
    }

    /// How many rows of the file could not be read and are kept aside, and a few of the newest in words, which may hold names.
    pub fn quarantined(&self) -> (u64, Vec<String>) {
        self.0.quarantine.read()
    }

    /// Why the newest transaction failed, for example on a full disk: reads go on, writes are refused until one succeeds. None while
    /// they succeed.
    pub fn failure(&self) -> Option<Arc<WriteError>> {
        self.0.failure.load_full()
    }

    /// Whether the writer's or the reader's thread has ended: history cannot be told any more.
    pub fn is_closed(&self) -> bool {
        self.0.jobs.is_closed() || self.0.questions.is_closed()
    }

    /// The read model.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.0.catalog
    }

    /// Whether it holds all that there is: a mirror does once a finished list was taken in, by this process or an earlier one.
    pub fn is_complete(&self) -> bool {
        self.0.complete.load(Ordering::Acquire)
    }

    /// In cluster mode, where each replica has a history of its own: since when.
    pub fn history_since(&self) -> Option<UnixMs> {
        self.0.began
    }

    /// Takes in what objects say; what is older than what is known of its object is dropped. Waits for a place in the queue, and
    /// resolves once it is visible to the next read.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was written.
    pub fn mirror(
        &self,
        changes: Vec<MirrorChange>,
        verdicts: VerdictsFrom,
    ) -> BoxFuture<'static, Result<(), WriteError>> {
        self.wait(|reply| Job::Mirror(changes, verdicts, reply))
    }

    /// Takes in a finished list, at once for readers: what it lacks is gone. `revision` is the list's own resourceVersion, and what is
    /// known at a later one stays. Otherwise as [`Store::mirror`].
    ///
    /// # Errors
    /// [`WriteError`] when nothing was written.
    pub fn mirror_all(
        &self,
        all: Vec<Mirrored>,
        revision: u64,
        verdicts: VerdictsFrom,
    ) -> BoxFuture<'static, Result<(), WriteError>> {
        let list = Box::new(List { all, revision, verdicts });
        self.wait(|reply| Job::MirrorAll(list, reply))
    }

    /// Commits changes of health together, while this process probes. Resolves once they are durable and visible; tells of each
    /// whether it applied: false when its generation is stale or its instance gone.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was written; [`WriteError::Busy`] also where another process probes.
    pub async fn commit_health(
        &self,
        changes: Vec<HealthChange>,
        leadership: Arc<dyn Leadership>,
    ) -> Result<Vec<bool>, WriteError> {
        let verdicts = changes.into_iter().map(Verdict::from).collect();
        self.ask(|reply| Job::Health(verdicts, leadership, reply)).await
    }

    /// Keeps what probing left behind; rows of a stale generation are dropped. Moves no revision.
    ///
    /// # Errors
    /// [`WriteError`] when some rows were not written.
    pub async fn record_probes(&self, rows: Vec<ProbeRow>) -> Result<(), WriteError> {
        for chunk in rows.chunks(PROBE_ROWS) {
            let rows = chunk.iter().map(EncodedProbe::from).collect();
            self.ask(|reply| Job::Probes(rows, reply)).await?;
        }
        Ok(())
    }

    /// A page of a service's history, newest first; also of one that was removed.
    ///
    /// # Errors
    /// [`StoreError::ServiceNotFound`], [`StoreError::Busy`], [`StoreError::Closed`] or SQLite's.
    pub async fn history(&self, query: HistoryQuery) -> Result<HistoryPage, StoreError> {
        let known = {
            let snapshot = self.0.catalog.read();
            let entry = match &query.service {
                ServiceRef::Id(id) => snapshot.by_id(id),
                ServiceRef::Key(key) => snapshot.get(key.as_str()),
            };
            entry.map(|entry| (entry.service().id, entry.service().key.clone()))
        };
        self.question(|reply| Question::Page(query, known, reply)).await
    }

    /// The services that were removed after that revision; none where that is no longer known, or too many.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Closed`] or SQLite's.
    pub async fn removed_since(&self, revision: u64) -> Result<Option<Removals>, StoreError> {
        self.question(|reply| Question::Removed(revision, reply)).await
    }

    async fn question<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Question,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        match self.0.questions.try_send(question(reply)) {
            Ok(()) => answer.await.map_err(|_| StoreError::Closed)?,
            Err(TrySendError::Closed(_)) => Err(StoreError::Closed),
            Err(TrySendError::Full(_)) => {
                self.0.metrics.reject("history_queue_full");
                Err(StoreError::Busy)
            }
        }
    }

    /// None where the id is nobody's: an id is known only once its service is published.
    fn ticket(&self, service: &ServiceRef) -> Option<Ticket> {
        match service {
            ServiceRef::Key(key) => Some(self.0.pending.enter(key)),
            ServiceRef::Id(id) => {
                let snapshot = self.0.catalog.read();
                snapshot.by_id(id).map(|entry| self.0.pending.enter(&entry.service().key))
            }
        }
    }

    /// As [`Store::ask`], but it waits while the queue is full.
    fn wait(&self, job: impl FnOnce(Reply<()>) -> Job) -> BoxFuture<'static, Result<(), WriteError>> {
        let (reply, answer) = oneshot::channel();
        let (jobs, job) = (self.0.jobs.clone(), job(reply));
        Box::pin(async move {
            jobs.send(job).await.map_err(|_| WriteError::Closed)?;
            answer.await.map_err(|_| WriteError::Closed)?
        })
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, WriteError> {
        let (reply, answer) = oneshot::channel();
        match self.0.jobs.try_send(job(reply)) {
            Ok(()) => answer.await.map_err(|_| WriteError::Closed)?,
            Err(TrySendError::Closed(_)) => Err(WriteError::Closed),
            Err(TrySendError::Full(_)) => {
                self.0.metrics.reject("queue_full");
                Err(WriteError::Busy)
            }
        }
    }
}

impl Registrar for Store {
    fn register(
        &self,
        registration: Registration,
        caller: Caller,
    ) -> BoxFuture<'static, Result<Registered, WriteError>> {
        if let Some(renewed) = self.renewed(&registration, &caller) {
            return futures::future::ready(Ok(renewed)).boxed();
        }
        let store = self.clone();
        Box::pin(async move {
            let columns = SpecColumns::of(&registration.spec);
            let ticket = store.0.pending.enter(&registration.key());
            let call = Box::new(Register { registration, caller, columns });
            store.ask(|reply| Job::Register(call, ticket, reply)).await
        })
    }

    fn renewed(&self, registration: &Registration, caller: &Caller) -> Option<Registered> {
        let settled = self.0.pending.is_settled(&registration.key());
        settled.then(|| rules::register::renewal(&self.0.catalog.read(), registration, caller)).flatten()
    }

    fn deregister(&self, removal: Removal, caller: Caller) -> BoxFuture<'static, Result<(), WriteError>> {
        let store = self.clone();
        Box::pin(async move {
            let ticket = store.ticket(&removal.service);
            let call = Box::new(Remove { removal, caller });
            store.ask(|reply| Job::Remove(call, ticket, reply)).await
        })
    }
}
