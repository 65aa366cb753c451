//! The store: one SQLite file, one thread that writes it, one that reads its history.
//!
//! In: registrations, changes of health, objects of the Kubernetes API. Out: commits, the next snapshot of the
//! [`catalog`](crate::catalog), and its feed.
//!
//! A registration goes through the folders in this order:
//!
//! 1. [`queue`]: every change enters as a job on the writer's queue.
//! 2. [`rules`]: the writer applies what is queued to a copy of the state.
//! 3. [`writer`]: it commits the difference in one transaction, publishes the snapshot in the catalog, sends the feed, and only then
//!    answers. What was acknowledged is durable and visible to the next read. A refused change does not affect its batch; if the commit
//!    fails, the copy is thrown away and every caller of the batch gets the error.
//! 4. [`schema`]: the tables and their rows. [`mod@file`]: opening, locking and checking the file.
//! 5. [`history`]: queries about the past. [`reader`]: reading the file from another process. [`error`]: what can go wrong.
//! 6. [`backup`]: a copy of the file while a server writes it. [`import`]: many registrations at once, while none does.
//!    [`gateway`]: the legacy gateway's file.
//! 7. [`timed_ends`]: the end of drains and acknowledgements whose time is up.
//!
//! A register call that repeats what is registered is answered from the published snapshot, past the queue: that snapshot is durable,
//! and no client has seen a newer one. While another call about the same service is on its way, it queues up behind that one, because
//! a removal may still be written after its client gave up.
//!
//! In cluster mode the file is a mirror of the Kubernetes API: objects come in through [`Store::mirror`] and [`Store::mirror_all`], no
//! registration does, and a file that cannot be used is set aside and created again.

pub mod backup;
mod error;
mod file;
pub mod gateway;
mod history;
pub mod import;
mod queue;
pub mod reader;
mod rules;
mod schema;
mod timed_ends;
mod writer;

use std::collections::{HashMap, HashSet};
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
use crate::model::availability::{Availability, Window};
use crate::model::mirror::{MirrorChange, Mirrored, VerdictsFrom};
use crate::model::name::{CheckName, InstanceName, ServiceKey};
use crate::model::ports::{
    AcknowledgementChange, Caller, DrainChange, InstanceRef, Leadership, Registered, Registrar, Registration, Removal,
    ServiceRef, WriteError,
};
use crate::model::probe::{HealthChange, ProbeRow};
use crate::model::registration;
use crate::model::service::{InstanceId, Service};
use crate::model::time::{Clock, UnixMs};
use crate::telemetry::metrics::Metrics;

pub use error::{OpenError, StoreError};
pub use file::peek::MirrorFile;
pub use history::availability::{AvailabilityQuery, NamespaceTest, OutagePage, OutageQuery};
pub use history::{HistoryEntry, HistoryEvent, HistoryPage, HistoryQuery, MAX_PAGE, Removals};
pub use queue::job::Origin;
pub use timed_ends::TimedEnds;
pub use writer::run::Writer;

use history::thread::Question;
use queue::job::{AcknowledgeCall, DrainCall, Job, List, Register, Remove, Reply};
use queue::pending::{Pending, Ticket};
use schema::quarantine::Quarantine;
use schema::write::{EncodedProbe, SpecColumns, Verdict};

/// Most probe rows of one transaction, so that registrations come in between.
const PROBE_ROWS: usize = 256;

/// How to open the store.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// The file; its folder must exist.
    pub path: PathBuf,
    /// Most services registered over REST; 0 means no limit.
    pub max_services: usize,
    /// Most instances of all services together.
    pub max_instances: usize,
    /// Days for which history is kept.
    pub history_days: u32,
    /// Most entries of history.
    pub history_rows: usize,
    /// Interval of a check without one.
    pub default_interval: Duration,
    /// In cluster mode: the line of revisions that the file mirrors. A file of another line is created again.
    pub epoch: Option<Epoch>,
    /// Whether a commit survives a power cut; a mirror's need not.
    pub durable: bool,
}

#[cfg(test)]
impl StoreSettings {
    /// For a unit test: a file in that folder, which keeps little.
    pub(crate) fn sample(folder: &std::path::Path) -> Self {
        Self {
            path: folder.join("p.db"),
            max_services: 0,
            max_instances: 10,
            history_days: 1,
            history_rows: 100,
            default_interval: Duration::from_secs(30),
            epoch: None,
            durable: false,
        }
    }
}

/// Losses that the operator accepts at this start. With a sound file neither is needed, and neither has an effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consent {
    /// A file that is damaged as a whole, or missing, is set aside, and the registry starts without services.
    pub start_empty: bool,
    /// The last commits may be missing, as after restoring an older copy of the file.
    pub accept_loss: bool,
}

/// An open store.
pub struct Opened {
    /// The handle.
    pub store: Store,
    /// The work; nothing is answered before it runs.
    pub writer: Writer,
    /// The read model, with what the file holds.
    pub catalog: Arc<Catalog>,
    /// The probe rows of each instance's current generation, by check.
    pub probes: HashMap<(InstanceId, CheckName), ProbeRow>,
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
    clock: Clock,
}

impl Store {
    /// Opens the file, or creates it. Blocks; call it once, at the start.
    ///
    /// # Errors
    /// [`OpenError`], with the file and the remedy. A mirror that cannot be used is not an error: it is set aside, and the log says where.
    /// Neither is a full or read-only disk if there is a file to read; [`Store::failure`] then says why nothing is written.
    pub fn open(settings: StoreSettings, clock: Clock, metrics: Metrics) -> Result<Opened, OpenError> {
        Self::open_with(settings, Consent::default(), clock, metrics)
    }

    /// As [`Store::open`], with accepted losses.
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

    /// How many rows are in quarantine, and a few of the newest in words, which may contain names.
    pub fn quarantined(&self) -> (u64, Vec<String>) {
        self.0.quarantine.read()
    }

    /// Why the last transaction failed, for example because the disk is full. Reads go on; writes fail until one succeeds. None while they
    /// succeed.
    pub fn failure(&self) -> Option<Arc<WriteError>> {
        self.0.failure.load_full()
    }

    /// Whether the writer's or the reader's thread has ended.
    pub fn is_closed(&self) -> bool {
        self.0.jobs.is_closed() || self.0.questions.is_closed()
    }

    /// The read model.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.0.catalog
    }

    /// Whether it holds everything: a mirror does once any run has applied a finished list.
    pub fn is_complete(&self) -> bool {
        self.0.complete.load(Ordering::Acquire)
    }

    /// In cluster mode, where each replica has its own history: since when.
    pub fn history_since(&self) -> Option<UnixMs> {
        self.0.began
    }

    /// Applies changed objects; what is older than what is known of its object is dropped. Waits for room in the queue, and resolves once the
    /// next read shows it.
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

    /// Applies a finished list, as one change for readers: what it lacks is removed. `revision` is the list's resourceVersion; what is known
    /// at a later one stays. Otherwise as [`Store::mirror`].
    ///
    /// # Errors
    /// [`WriteError`] when nothing was written.
    pub fn mirror_all(
        &self,
        all: Vec<Mirrored>,
        revision: u64,
        verdicts: VerdictsFrom,
    ) -> BoxFuture<'static, Result<(), WriteError>> {
        self.mirror_all_but(all, HashSet::new(), revision, verdicts)
    }

    /// The same, and what the catalog has of the services `kept` stays, too.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was written.
    pub fn mirror_all_but(
        &self,
        all: Vec<Mirrored>,
        kept: HashSet<ServiceKey>,
        revision: u64,
        verdicts: VerdictsFrom,
    ) -> BoxFuture<'static, Result<(), WriteError>> {
        let list = Box::new(List { all, kept, revision, verdicts });
        self.wait(|reply| Job::MirrorAll(list, reply))
    }

    /// Commits changes of health together, while this process probes. Resolves once they are durable and visible, and returns for each
    /// whether it applied: not if its generation is stale or its instance is removed.
    ///
    /// # Errors
    /// [`WriteError`] when nothing was written; [`WriteError::Busy`] also if another process probes.
    pub async fn commit_health(
        &self,
        changes: Vec<HealthChange>,
        leadership: Arc<dyn Leadership>,
    ) -> Result<Vec<bool>, WriteError> {
        let verdicts = changes.into_iter().map(Verdict::from).collect();
        self.ask(|reply| Job::Health(verdicts, leadership, reply)).await
    }

    /// Writes probe rows; rows of a stale generation are dropped. Changes no revision.
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

    /// A page of a service's history, newest first. The service may have been removed.
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

    /// What `window` means now: from, until.
    pub fn window(&self, window: Window) -> (UnixMs, UnixMs) {
        window.ending(self.0.clock.now().wall)
    }

    /// How long services or instances were proved up or down, in the order of the query's subjects.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Closed`] or SQLite's.
    pub async fn availability(&self, query: AvailabilityQuery) -> Result<Vec<Availability>, StoreError> {
        self.question(|reply| Question::Availability(query, reply)).await
    }

    /// A page of all services' outages, newest first.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Closed`] or SQLite's.
    pub async fn outages(&self, query: OutageQuery) -> Result<OutagePage, StoreError> {
        self.question(|reply| Question::Outages(query, reply)).await
    }

    /// The services that were removed after a revision; none if some are forgotten, or there are too many.
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

    /// None if no service has the id: an id is known only after its service is published.
    fn ticket(&self, service: &ServiceRef) -> Option<Ticket> {
        match service {
            ServiceRef::Key(key) => Some(self.0.pending.enter(key)),
            ServiceRef::Id(id) => {
                let snapshot = self.0.catalog.read();
                snapshot.by_id(id).map(|entry| self.0.pending.enter(&entry.service().key))
            }
        }
    }

    /// As [`Store::ask`], but waits while the queue is full.
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
            let call = Box::new(Register { registration, caller, columns, origin: Origin::default() });
            store.ask(|reply| Job::Register(call, ticket, reply)).await
        })
    }

    fn renewed(&self, registration: &Registration, caller: &Caller) -> Option<Registered> {
        let settled = self.0.pending.is_settled(&registration.key());
        if !settled {
            return None;
        }
        let snapshot = self.0.catalog.read();
        let entry = snapshot.find(registration.namespace.as_str(), registration.service.as_str())?;
        registration::renewal(entry.service(), registration, caller)
    }

    fn deregister(&self, removal: Removal, caller: Caller) -> BoxFuture<'static, Result<(), WriteError>> {
        let store = self.clone();
        Box::pin(async move {
            let ticket = store.ticket(&removal.service);
            let call = Box::new(Remove { removal, caller });
            store.ask(|reply| Job::Remove(call, ticket, reply)).await
        })
    }

    fn drain(
        &self,
        instance: InstanceRef,
        change: DrainChange,
        caller: Caller,
    ) -> BoxFuture<'static, Result<Arc<Service>, WriteError>> {
        let store = self.clone();
        Box::pin(async move {
            let ticket = store.ticket(&instance.service);
            let call = Box::new(DrainCall { instance, change, caller });
            store.ask(|reply| Job::Drain(call, ticket, reply)).await
        })
    }

    fn acknowledge(
        &self,
        service: ServiceRef,
        instance: Option<InstanceName>,
        change: AcknowledgementChange,
        caller: Caller,
    ) -> BoxFuture<'static, Result<Arc<Service>, WriteError>> {
        let store = self.clone();
        Box::pin(async move {
            let ticket = store.ticket(&service);
            let call = Box::new(AcknowledgeCall { service, instance, change, caller });
            store.ask(|reply| Job::Acknowledge(call, ticket, reply)).await
        })
    }
}
