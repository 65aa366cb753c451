//! The task that owns the index.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::index::{Index, Scope};
use super::observed::ObservedObject;
use super::progress::Progress;
use super::{IngestError, Message, Reply, Shared, reasons_differ};
use crate::model::mirror::{MirrorChange, VerdictsFrom};
use crate::model::name::ServiceKey;
use crate::model::ports::{AddressGate, Leadership, WriteError};
use crate::model::text;
use crate::operator::endpoints::{EndpointNews, Endpoints, Touched};
use crate::operator::namespaces::{Policies, View};
use crate::operator::read::ObjectId;
use crate::operator::read::raw::RawObject;
use crate::store::Store;
use crate::telemetry::metrics::Metrics;

/// Messages that one batch takes at most.
const BATCH: usize = 256;
/// Time between two checks of the role, and two attempts after a failed write.
const TICK: Duration = Duration::from_millis(200);
/// Pause before the whole mirror is written again after a failure.
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
    scopes: Vec<Scope>,
    endpoints: Endpoints,
    policies: Policies,
    /// Resolves when something else applies to a namespace.
    policy_changes: watch::Receiver<u64>,
    /// What the objects follow.
    namespaces: Arc<View>,
    was_probing: bool,
    progress: Progress,
    /// When to write the whole mirror again.
    rewrite_at: Option<Instant>,
}

/// What a batch of messages changed.
#[derive(Default)]
struct Batch {
    changes: Vec<MirrorChange>,
    touched: Vec<ServiceKey>,
    waiting: Vec<Reply>,
    /// A list ended: the whole mirror is written.
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
        let was_probing = leadership.probes();
        let policies = Policies::off();
        Self {
            queue,
            shared,
            index: Index::new(scopes.iter().cloned()),
            progress: Progress::new(&scopes),
            scopes,
            store,
            leadership,
            addresses,
            metrics,
            endpoints: Endpoints::off(),
            policy_changes: policies.changes(),
            namespaces: policies.view(),
            policies,
            was_probing,
            rewrite_at: None,
        }
    }

    /// For an install that adopts endpoints: of an object that adopts, the catalog keeps what it has until they are known.
    #[must_use]
    pub fn with_endpoints(mut self) -> Self {
        self.endpoints = Endpoints::on(&self.scopes);
        self
    }

    /// For an install with policies or a selector of namespaces: nothing is taken in before they are known.
    #[must_use]
    pub fn with_policies(mut self, policies: Policies) -> Self {
        self.policy_changes = policies.changes();
        self.namespaces = policies.view();
        self.policies = policies;
        self
    }

    /// Works until `stop`.
    ///
    /// # Errors
    /// [`IngestError::Closed`] when the store ends first.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), IngestError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut messages = Vec::with_capacity(BATCH);
        loop {
            let mut batch = Batch::default();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Ok(()) = self.policy_changes.changed() => {}
                _ = self.queue.recv_many(&mut messages, BATCH), if self.policies.is_known() => {}
                _ = ticks.tick() => self.tick(&mut batch),
            }
            self.govern_again(&mut batch);
            for message in messages.drain(..) {
                self.take(message, &mut batch);
            }
            let closed = self.write(batch).await == Err(WriteError::Closed);
            if closed && !stop.is_cancelled() {
                return Err(IngestError::Closed);
            }
        }
    }

    /// When this replica stops probing, status counts from now on, even for objects that do not change any more. Then forgets what core Services
    /// were some seconds ago.
    fn tick(&mut self, batch: &mut Batch) {
        let probes = self.leadership.probes();
        if self.was_probing && !probes {
            self.rewrite_at = Some(Instant::now());
        }
        self.was_probing = probes;
        for service in self.endpoints.expire(Instant::now().into_std()) {
            self.adopt_again(&Touched::Service(service), batch);
        }
    }

    fn take(&mut self, message: Message, batch: &mut Batch) {
        match message {
            Message::Put(raw, reply) => self.put(*raw, reply, batch),
            Message::Progress(scope, revision) => self.progress.passed(&scope, revision),
            Message::Opened(scope) => self.progress.opened(&scope, Instant::now()),
            Message::Broke(scope) => self.progress.broke(&scope),
            Message::Removed { key, id, revision, reply } => {
                if reply.is_none() {
                    self.progress.passed_object(&key, revision);
                }
                let change = self.index.remove(&key, id, revision);
                self.note(change, key, "removed", batch);
                batch.waiting.extend(reply);
            }
            Message::Begin(scope) => self.index.begin(scope),
            Message::Page(scope, page, reply) => {
                for raw in page {
                    self.listed(&scope, raw);
                }
                // Nobody waits any more only if the process is stopping.
                let _ = reply.send(Ok(()));
            }
            Message::End(scope, revision) => {
                batch.touched.extend(self.index.end(&scope, revision));
                self.progress.listed(&scope, revision, self.index.highest());
                batch.whole = true;
                // Endpoints may have come while the list did.
                self.adopt_again(&Touched::Everyone, batch);
            }
            Message::Endpoints(news) => self.take_endpoints(*news, batch),
        }
    }

    /// Follows what applies to namespaces now.
    fn govern_again(&mut self, batch: &mut Batch) {
        let now = self.policies.view();
        if Arc::ptr_eq(&now, &self.namespaces) {
            return;
        }
        let before = std::mem::replace(&mut self.namespaces, now);
        for key in self.index.of_namespaces(&self.namespaces.changed_since(&before)) {
            let Some(before) = self.index.get(&key).cloned() else { continue };
            let mut observed = ObservedObject::clone(&before);
            // The endpoints of one that was set aside were not followed meanwhile.
            self.adopt(&mut observed);
            if observed.parsed != before.parsed || observed.is_watched() != before.is_watched() {
                self.replace(observed, batch);
            }
        }
    }

    /// Replaces what is known of an object by the same under other circumstances.
    fn replace(&mut self, observed: ObservedObject, batch: &mut Batch) {
        let (key, result) = (observed.key().clone(), result_of(&observed));
        let change = self.index.replace(Arc::new(observed));
        batch.touched.push(key.clone());
        self.note(change, key, result, batch);
    }

    fn take_endpoints(&mut self, news: EndpointNews, batch: &mut Batch) {
        let touched = self.endpoints.take(news, Instant::now().into_std());
        self.adopt_again(&touched, batch);
    }

    /// Gives the objects that adopt the endpoints as they are now.
    fn adopt_again(&mut self, touched: &Touched, batch: &mut Batch) {
        let keys = match touched {
            Touched::Nobody => return,
            Touched::Service(name) => self.index.adopters(Some(name)),
            Touched::Everyone => self.index.adopters(None),
        };
        for key in keys {
            let Some(before) = self.index.get(&key).cloned() else { continue };
            let mut observed = ObservedObject::clone(&before);
            self.adopt(&mut observed);
            if observed.parsed != before.parsed {
                self.replace(observed, batch);
            }
        }
    }

    fn adopt(&self, observed: &mut ObservedObject) {
        observed.adopt(&self.endpoints, &*self.addresses);
        observed.govern(&self.namespaces);
        self.order(observed);
    }

    /// Orders it after what is known of it, here and in the catalog.
    fn order(&self, observed: &mut ObservedObject) {
        let shown = self.store.catalog().read().get(observed.key().as_str()).cloned();
        let before = self.index.get(observed.key()).map(|before| &**before);
        observed.order_after(before, shown.as_ref().map(|shown| &**shown.service()), &self.namespaces);
        if let Some(shown) = shown {
            observed.share(shown.service());
        }
    }

    fn put(&mut self, raw: RawObject, reply: Option<Reply>, batch: &mut Batch) {
        match self.observe(raw) {
            Ok(observed) => {
                if reply.is_none() {
                    self.progress.passed_object(observed.key(), observed.revision());
                }
                let (key, result) = (observed.key().clone(), result_of(&observed));
                if observed.parsed.is_awaiting() || !observed.is_watched() {
                    // The store is not concerned, but others read the object.
                    batch.touched.push(key.clone());
                }
                let change = self.index.put(Arc::new(observed));
                self.note(change, key, result, batch);
                batch.waiting.extend(reply);
            }
            Err(error) => {
                let answer = Err(IngestError::Nameless(error));
                // A caller that gave up needs no answer.
                drop(reply.map(|reply| reply.send(answer)));
            }
        }
    }

    fn listed(&mut self, scope: &Scope, raw: RawObject) {
        if let Ok(id) = ObjectId::of(raw.metadata())
            && self.index.is_listed_as_known(scope, &id)
        {
            return self.metrics.cluster.reconciled("unchanged");
        }
        if let Ok(observed) = self.observe(raw) {
            self.metrics.cluster.reconciled(result_of(&observed));
            self.index.listed(scope, Arc::new(observed));
        }
    }

    fn observe(&self, raw: RawObject) -> Result<ObservedObject, String> {
        let metadata = raw.metadata();
        let name = format!(
            "{}/{}",
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default()
        );
        let mut observed = ObservedObject::new(raw, &*self.addresses).inspect_err(|error| {
            self.metrics.cluster.reconcile_errors.inc();
            tracing::warn!("the object {} is skipped: {error}", text::escape(&name, 128));
        })?;
        self.adopt(&mut observed);
        Ok(observed)
    }

    fn note(&self, change: Option<MirrorChange>, key: ServiceKey, result: &'static str, batch: &mut Batch) {
        let Some(change) = change else { return self.metrics.cluster.reconciled("unchanged") };
        self.metrics.cluster.reconciled(result);
        batch.changes.push(change);
        batch.touched.push(key);
    }

    async fn write(&mut self, batch: Batch) -> Result<(), WriteError> {
        let due = self.rewrite_at.is_some_and(|at| at <= Instant::now());
        let whole = (batch.whole || due) && self.index.is_complete();
        self.shared.written_next.store(Arc::new(self.index.objects()));
        if !whole && batch.changes.is_empty() {
            if !batch.touched.is_empty() {
                self.publish(false, batch.touched);
            }
            batch.waiting.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
            self.publish_progress();
            return Ok(());
        }
        let verdicts = if self.leadership.probes() { VerdictsFrom::Here } else { VerdictsFrom::Status };
        let written = if whole {
            self.write_all(verdicts).await
        } else if batch.changes.is_empty() {
            Ok(())
        } else {
            self.store.mirror(batch.changes, verdicts).await
        };
        self.note_result(whole, &written);
        if written.is_ok() {
            self.publish_progress();
        }
        self.publish(whole, batch.touched);
        let answer = written.clone().map_err(IngestError::Store);
        batch.waiting.into_iter().for_each(|reply| drop(reply.send(answer.clone())));
        written
    }

    /// Announces how far the catalog has come. After a failed write, only the whole mirror counts.
    fn publish_progress(&self) {
        if self.index.is_complete() && self.rewrite_at.is_none() {
            self.store.catalog().advance_watch(self.progress.known(Instant::now()));
        }
    }

    /// Writes the whole mirror: first what exists, in chunks, so that no transaction of the store is large; then, with the last, what was removed.
    async fn write_all(&self, verdicts: VerdictsFrom) -> Result<(), WriteError> {
        let all = self.index.mirrored();
        for piece in all.chunks(BATCH) {
            self.store.mirror(piece.iter().cloned().map(MirrorChange::Put).collect(), verdicts).await?;
        }
        self.store.mirror_all_but(all, self.index.awaiting(), self.index.highest(), verdicts).await
    }

    /// What could not be written is written with the next whole mirror.
    fn note_result(&mut self, whole: bool, written: &Result<(), WriteError>) {
        match written {
            Ok(()) if whole => self.rewrite_at = None,
            Ok(()) => {}
            Err(error) => {
                self.metrics.cluster.reconcile_errors.inc();
                tracing::error!("the mirror could not be written; this is tried again: {error}");
                self.rewrite_at = Some(Instant::now() + RETRY);
            }
        }
    }

    fn publish(&self, whole: bool, touched: Vec<ServiceKey>) {
        let objects = self.index.objects();
        self.metrics.cluster.mirror_objects.set(i64::try_from(objects.len()).unwrap_or(i64::MAX));
        let aside = self.index.aside();
        let everything: Vec<_> = if whole { objects.keys().chain(aside.keys()).cloned().collect() } else { Vec::new() };
        let keys: Vec<ServiceKey> = everything.into_iter().chain(touched).collect();
        let objects = Arc::new(objects);
        let before = self.shared.objects.swap(Arc::clone(&objects));
        self.shared.aside.store(Arc::new(aside));
        let complete = self.index.is_complete();
        let completed = self.shared.complete.swap(complete, Ordering::AcqRel) != complete;
        // What a list brought before all scopes were listed is not in `keys`.
        if completed || reasons_differ(&before, &objects, &keys) {
            self.shared.reasons.send_modify(|changes| *changes += 1);
        }
        self.shared.mark(&keys);
    }
}

fn result_of(observed: &ObservedObject) -> &'static str {
    match &observed.parsed {
        parsed if parsed.deleting => "deleting",
        parsed if parsed.is_awaiting() => "unchanged",
        parsed if parsed.mirrored.is_none() && parsed.adoption.is_none() => "invalid",
        _ => "applied",
    }
}
