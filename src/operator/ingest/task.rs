//! The task that owns the index.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::index::{Index, Scope};
use super::observed::ObservedObject;
use super::{IngestError, Message, Reply, Shared};
use crate::model::mirror::{MirrorChange, VerdictsFrom};
use crate::model::name::ServiceKey;
use crate::model::ports::{AddressGate, Leadership, WriteError};
use crate::model::text;
use crate::operator::read::ObjectId;
use crate::operator::read::raw::RawObject;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

/// Messages that one batch takes at most.
const BATCH: usize = 256;
/// How often the role is looked at, and a failed write tried again.
const LOOK: Duration = Duration::from_millis(200);
/// Pause before the mirror is written anew after it failed.
const RETRY: Duration = Duration::from_secs(1);

/// What does the work of [`Ingest`](super::Ingest).
pub struct IngestTask {
    queue: mpsc::Receiver<Message>,
    shared: Arc<Shared>,
    index: Index,
    store: Store,
    leadership: Arc<dyn Leadership>,
    addresses: Arc<dyn AddressGate>,
    metrics: Metrics,
    probed: bool,
    /// The newest revision that lists and watches told: the answers to our own writes may be ahead of it.
    heard: u64,
    /// When the whole mirror is to be written anew.
    anew: Option<Instant>,
}

/// What a batch came to.
#[derive(Default)]
struct Batch {
    changes: Vec<MirrorChange>,
    touched: Vec<ServiceKey>,
    waiting: Vec<Reply>,
    /// A list ended: the whole mirror is handed over.
    whole: bool,
}

impl IngestTask {
    pub(super) fn new(
        queue: mpsc::Receiver<Message>,
        shared: Arc<Shared>,
        scopes: Vec<Scope>,
        store: Store,
        leadership: Arc<dyn Leadership>,
        addresses: Arc<dyn AddressGate>,
        metrics: Metrics,
    ) -> Self {
        let probed = leadership.probes();
        Self {
            queue,
            shared,
            index: Index::new(scopes),
            store,
            leadership,
            addresses,
            metrics,
            probed,
            heard: 0,
            anew: None,
        }
    }

    /// Works until `stop`.
    ///
    /// # Errors
    /// [`IngestError::Closed`] when the store ends first.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), IngestError> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut messages = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = self.queue.recv_many(&mut messages, BATCH) => {}
                _ = look.tick() => self.look(),
            }
            let mut batch = Batch::default();
            for message in messages.drain(..) {
                self.take(message, &mut batch);
            }
            let closed = self.hand_over(batch).await == Err(WriteError::Closed);
            if closed && !stop.is_cancelled() {
                return Err(IngestError::Closed);
            }
        }
    }

    /// Who stops probing takes the leader's word from now on, also where nothing changes any more.
    fn look(&mut self) {
        let probes = self.leadership.probes();
        if self.probed && !probes {
            self.anew = Some(Instant::now());
        }
        self.probed = probes;
    }

    fn take(&mut self, message: Message, batch: &mut Batch) {
        match message {
            Message::Put(seen, reply) => self.put(*seen, reply, batch),
            Message::Heard(revision) => self.heard = self.heard.max(revision),
            Message::Gone { key, id, revision, reply } => {
                if reply.is_none() {
                    self.heard = self.heard.max(revision);
                }
                let change = self.index.remove(&key, id, revision);
                self.note(change, key, "removed", batch);
                batch.waiting.extend(reply);
            }
            Message::Begin(scope) => self.index.begin(scope),
            Message::Page(scope, page, reply) => {
                for seen in page {
                    self.listed(&scope, seen);
                }
                // Who stopped waiting was stopped.
                let _ = reply.send(Ok(()));
            }
            Message::End(scope, revision) => {
                self.index.end(&scope, revision);
                // Less than before where the Kubernetes API's history went back.
                self.heard = self.heard.min(self.index.highest()).max(revision);
                batch.whole = true;
            }
        }
    }

    fn put(&mut self, seen: RawObject, reply: Option<Reply>, batch: &mut Batch) {
        match self.understand(seen) {
            Ok(known) => {
                if reply.is_none() {
                    self.heard = self.heard.max(known.revision());
                }
                let (key, result) = (known.key().clone(), result_of(&known));
                let change = self.index.put(Arc::new(known));
                self.note(change, key, result, batch);
                batch.waiting.extend(reply);
            }
            Err(error) => {
                let answer = Err(IngestError::Nameless(error));
                // Who gave up waiting needs no answer.
                drop(reply.map(|reply| reply.send(answer)));
            }
        }
    }

    fn listed(&mut self, scope: &Scope, seen: RawObject) {
        if let Ok(place) = ObjectId::of(seen.metadata())
            && self.index.is_listed_as_known(scope, &place)
        {
            return self.metrics.cluster.reconciled("unchanged");
        }
        if let Ok(known) = self.understand(seen) {
            self.metrics.cluster.reconciled(result_of(&known));
            self.index.listed(scope, Arc::new(known));
        }
    }

    fn understand(&self, seen: RawObject) -> Result<ObservedObject, String> {
        let metadata = seen.metadata();
        let name = format!(
            "{}/{}",
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default()
        );
        let mut known = ObservedObject::new(seen, &*self.addresses).inspect_err(|error| {
            self.metrics.cluster.reconcile_errors.inc();
            tracing::warn!("an object called {} is passed over: {error}", text::escape(&name, 128));
        })?;
        if let Some(shown) = self.store.catalog().read().get(known.key().as_str()) {
            known.share(shown.service());
        }
        Ok(known)
    }

    fn note(&self, change: Option<MirrorChange>, key: ServiceKey, result: &'static str, batch: &mut Batch) {
        let Some(change) = change else { return self.metrics.cluster.reconciled("unchanged") };
        self.metrics.cluster.reconciled(result);
        batch.changes.push(change);
        batch.touched.push(key);
    }

    async fn hand_over(&mut self, batch: Batch) -> Result<(), WriteError> {
        let due = self.anew.is_some_and(|at| at <= Instant::now());
        let whole = (batch.whole || due) && self.index.is_complete();
        if !whole && batch.changes.is_empty() {
            batch.waiting.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
            self.say_how_far();
            return Ok(());
        }
        let verdicts = if self.leadership.probes() { VerdictsFrom::Here } else { VerdictsFrom::Status };
        let written =
            if whole { self.write_all(verdicts).await } else { self.store.mirror(batch.changes, verdicts).await };
        self.settle(whole, &written);
        if written.is_ok() {
            self.say_how_far();
        }
        self.publish(whole, batch.touched);
        let answer = written.clone().map_err(IngestError::Store);
        batch.waiting.into_iter().for_each(|reply| drop(reply.send(answer.clone())));
        written
    }

    /// All that was heard is shown. Of what a write failed to take in, only a whole mirror is.
    fn say_how_far(&self) {
        if self.index.is_complete() && self.anew.is_none() {
            self.store.catalog().hear(self.heard);
        }
    }

    /// The whole mirror: first what is there, in pieces, so that no transaction of the store is large; then, with the last, what is gone.
    async fn write_all(&self, verdicts: VerdictsFrom) -> Result<(), WriteError> {
        let all = self.index.mirrored();
        for piece in all.chunks(BATCH) {
            self.store.mirror(piece.iter().cloned().map(MirrorChange::Put).collect(), verdicts).await?;
        }
        self.store.mirror_all(all, self.index.highest(), verdicts).await
    }

    /// What was not written is written with the next whole.
    fn settle(&mut self, whole: bool, written: &Result<(), WriteError>) {
        match written {
            Ok(()) if whole => self.anew = None,
            Ok(()) => {}
            Err(error) => {
                self.metrics.cluster.reconcile_errors.inc();
                tracing::error!("the mirror could not be written, it is tried again: {error}");
                self.anew = Some(Instant::now() + RETRY);
            }
        }
    }

    fn publish(&self, whole: bool, touched: Vec<ServiceKey>) {
        let known = self.index.known();
        self.metrics.cluster.mirror_objects.set(i64::try_from(known.len()).unwrap_or(i64::MAX));
        let everything: Vec<_> = if whole { known.keys().cloned().collect() } else { Vec::new() };
        self.shared.objects.store(Arc::new(known));
        self.shared.complete.store(self.index.is_complete(), Ordering::Release);
        self.shared.changed.mark(everything.into_iter().chain(touched));
    }
}

fn result_of(known: &ObservedObject) -> &'static str {
    match &known.understood {
        understood if understood.deleting => "deleting",
        understood if understood.mirrored.is_none() => "invalid",
        _ => "applied",
    }
}
