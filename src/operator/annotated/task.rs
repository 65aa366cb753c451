//! The task that writes annotated objects.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, try_join_all};
use futures::stream::FuturesUnordered;
use kube::Client;
use kube::api::{Api, DynamicObject};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, sleep_until};
use tokio_util::sync::CancellationToken;

use super::absences::Absences;
use super::find::Target;
use super::kind::Kind;
use super::object::{ObjectRef, Seen};
use super::plan;
use super::states::{KindState, KindStates};
use super::view::View;
use super::write::{WriteOutcome, Writer};
use crate::catalog::Catalog;
use crate::model::backoff::Backoff;
use crate::model::name::{Namespace, ServiceKey};
use crate::model::ports::{Leadership, NamespacePolicies as _};
use crate::model::time::UnixMs;
use crate::operator::catalog_changes::{CatalogChange, CatalogChanges, CatalogEnded};
use crate::operator::events::bucket::Bucket;
use crate::operator::ingest::{Changed, Ingest};
use crate::operator::kubernetes::follow::{Closed, Followed, Follower};
use crate::operator::namespaces::Policies;
use crate::operator::queue::PausingQueue;
use crate::operator::replicas::installs::Installs;
use crate::telemetry::metrics::Metrics;

/// Time between two checks of the role; a write in progress ends at most this long after leadership did.
const TICK: Duration = Duration::from_millis(100);
/// News that wait; the watches then stop reading.
const QUEUE: usize = 256;
/// Objects that one tick looks at.
const CHUNK: usize = 128;
/// Writes per second, and at once.
const RATE: (u32, u32) = (50, 100);
/// Most writes at the same time.
const MAX_WRITES: usize = 8;
/// Pauses of all writes while the Kubernetes API accepts none.
const OUTAGE_PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
/// Writing it again would change nothing.
const ALTERED: &str = "it keeps nothing of what is written: its definition is of another version than Portolan knows";
/// The object is there, so its status cannot be.
const NO_STATUS: &str = "its definition has no status subresource, so nothing can be written there";

type Message = (Kind, Followed<Seen>);

/// What is written, and where.
#[derive(Debug, Clone)]
pub struct AnnotatedSettings {
    /// The kinds that are switched on.
    pub kinds: Vec<Kind>,
    /// The watched namespaces, none for all: objects elsewhere are left alone.
    pub namespaces: Vec<Namespace>,
    /// Which of them are selected by their labels; objects elsewhere are left alone, too.
    pub policies: Policies,
}

/// The task.
pub struct AnnotatedTask {
    client: Client,
    settings: AnnotatedSettings,
    leadership: Arc<dyn Leadership>,
    ingest: Ingest,
    catalog: Arc<Catalog>,
    installs: Installs,
    metrics: Metrics,
    states: KindStates,
    changed: Changed,
    view: View,
    queue: PausingQueue<ObjectRef>,
    absences: Absences,
    writes: FuturesUnordered<BoxFuture<'static, (ObjectRef, WriteOutcome)>>,
    /// What is being written, by the revision that it is based on.
    busy: HashMap<ObjectRef, u64>,
    bucket: Bucket,
    pauses: Backoff,
    paused_until: Option<Instant>,
    leads: bool,
    /// The version of the policies applied last.
    followed: u64,
}

impl AnnotatedTask {
    /// Writes what `ingest` and `catalog` report, except about services that `installs` assigns to others. The second value says whether
    /// that works.
    pub fn new(
        client: Client,
        ingest: Ingest,
        catalog: Arc<Catalog>,
        installs: Installs,
        leadership: Arc<dyn Leadership>,
        settings: AnnotatedSettings,
        metrics: Metrics,
    ) -> (Self, KindStates) {
        let states = KindStates::new(&settings.kinds);
        let task = Self {
            client,
            settings,
            leadership,
            changed: ingest.follow_changes(),
            ingest,
            catalog,
            installs,
            metrics,
            states: states.clone(),
            view: View::default(),
            queue: PausingQueue::default(),
            absences: Absences::default(),
            writes: FuturesUnordered::new(),
            busy: HashMap::new(),
            bucket: Bucket::new(RATE.0, RATE.1),
            pauses: OUTAGE_PAUSES,
            paused_until: None,
            leads: false,
            followed: 0,
        };
        (task, states)
    }

    /// Writes until `stop`. A write in progress is aborted; the next leader writes what still differs.
    ///
    /// # Errors
    /// [`CatalogEnded`] when the store ends first.
    pub async fn run(self, stop: CancellationToken) -> Result<(), CatalogEnded> {
        let (sender, news) = mpsc::channel(QUEUE);
        let followers =
            try_join_all(self.settings.kinds.iter().map(|kind| follow(*kind, &self.client, &sender, stop.clone())));
        drop(sender);
        tokio::select! {
            ended = self.work(news, stop.clone()) => ended,
            // They end only when they are stopped, or after the task.
            _ = followers => Ok(()),
        }
    }

    async fn work(mut self, mut news: mpsc::Receiver<Message>, stop: CancellationToken) -> Result<(), CatalogEnded> {
        let changed = self.changed.clone();
        let mut feed = CatalogChanges::of(&self.catalog);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.due(Instant::now());
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some((object, outcome)) = self.writes.next() => self.finish(&object, outcome),
                batch = feed.next() => batch?.into_iter().for_each(|change| self.on_change(change)),
                () = changed.marked() => changed.take().iter().for_each(|key| self.mark(key, false)),
                Some((kind, news)) = news.recv() => self.on_news(kind, news),
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
                _ = ticks.tick() => {}
            }
            self.step(Instant::now());
        }
    }

    fn on_change(&mut self, change: CatalogChange) {
        match change {
            CatalogChange::Service { key, urgent } => self.mark(&key, urgent),
            CatalogChange::Any => self.mark_all(),
        }
    }

    fn on_news(&mut self, kind: Kind, news: Followed<Seen>) {
        match news {
            Followed::News(news) => {
                let concerned = self.view.take(kind, news);
                if !self.states.is_listed(kind) {
                    self.states.set(kind, KindState::Good);
                }
                if self.leads {
                    for object in &concerned {
                        self.queue.push(object, false);
                    }
                }
            }
            Followed::NotServed => {
                self.view.clear(kind);
                self.states.set(kind, KindState::NotServed);
            }
            // What was listed once stands until it is listed again.
            Followed::Forbidden(why) => self.states.set(kind, KindState::MayNotWatch(why)),
        }
    }

    /// Looks at the objects that name the service.
    fn mark(&mut self, key: &ServiceKey, urgent: bool) {
        if self.leads {
            self.view.naming(key).for_each(|object| self.queue.push(object, urgent));
        }
    }

    fn mark_all(&mut self) {
        if self.leads {
            self.view.all().for_each(|object| self.queue.push(object, false));
        }
    }

    fn step(&mut self, now: Instant) {
        let leads = self.leadership.leads();
        let was = std::mem::replace(&mut self.leads, leads);
        if leads && !was {
            self.mark_all();
        } else if was && !leads {
            self.rest();
        }
        let version = self.settings.policies.version();
        if version != std::mem::replace(&mut self.followed, version) {
            self.mark_all();
        }
        if leads && self.ingest.is_complete() {
            while let Some(object) = self.absences.pop(now) {
                self.queue.push(&object, false);
            }
            self.start(now);
        }
    }

    /// Drops what only a leader does.
    fn rest(&mut self) {
        // Dropping a write closes its connection.
        self.writes.clear();
        self.busy.clear();
        self.queue.clear();
        self.absences.clear();
        self.paused_until = None;
        for kind in self.settings.kinds.clone().into_iter().filter(|kind| self.states.is_listed(*kind)) {
            self.states.set(kind, KindState::Good);
        }
    }

    fn start(&mut self, now: Instant) {
        for _ in 0..CHUNK {
            if !self.may_start(now) {
                return;
            }
            let Some(object) = self.queue.pop(now) else { return };
            // It is looked at again when its write ends.
            if self.busy.contains_key(&object) {
                continue;
            }
            match self.patch(&object, now) {
                Some(patch) => self.send(object, patch, now),
                None => self.settled(&object),
            }
        }
    }

    fn send(&mut self, object: ObjectRef, patch: Vec<Value>, now: Instant) {
        self.bucket.take(now);
        let revision = self.view.get(&object).map(|held| held.revision).unwrap_or_default();
        self.busy.insert(object.clone(), revision);
        let writer = Writer { client: self.client.clone(), leadership: Arc::clone(&self.leadership) };
        self.writes.push(writer.write(object, patch).boxed());
    }

    /// The object is as it should be, or nobody's to write.
    fn settled(&mut self, object: &ObjectRef) {
        self.queue.succeeded(object);
        let kind = object.kind;
        if self.states.is_listed(kind) && !self.queue.is_any_failing(|failing| failing.kind == kind) {
            self.states.set(kind, KindState::Good);
        }
    }

    fn may_start(&self, now: Instant) -> bool {
        self.start_at(now).is_some_and(|at| at <= now)
    }

    /// When another write may start; none before one has ended.
    fn start_at(&self, now: Instant) -> Option<Instant> {
        let paused = self.paused_until.unwrap_or(now);
        (self.writes.len() < MAX_WRITES).then(|| paused.max(now + self.bucket.wait(now)))
    }

    /// When there is something to do that no event announces.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let first = if self.queue.is_ready(now) { Some(now) } else { self.queue.next_due() };
        let first = first.filter(|_| self.leads && self.ingest.is_complete())?;
        Some(first.max(self.start_at(now)?))
    }

    /// What has to be written; none if nothing, if that is another install's to do, or if what is known is about to change.
    fn patch(&mut self, object: &ObjectRef, now: Instant) -> Option<Vec<Value>> {
        let Some(service) = self.missing(object) else {
            self.absences.forget(object);
            return self.planned(object);
        };
        let patch = self.planned(object);
        self.absences.may_write(object, &service, patch.is_some(), now).then_some(patch)?
    }

    /// The service that it names, if that is missing and the object says anything of one.
    fn missing(&self, object: &ObjectRef) -> Option<ServiceKey> {
        let held = self.view.get(object).filter(|held| plan::says_anything(object.kind, held))?;
        let key = held.service.as_ref().ok()?;
        (self.watches(&object.namespace) && self.is_missing(key)).then(|| key.clone())
    }

    /// What is set aside is there, but its namespace is not watched, or comes back soon.
    fn is_missing(&self, key: &ServiceKey) -> bool {
        self.ingest.known(key).is_none() && self.ingest.known_aside(key).is_none()
    }

    fn planned(&self, object: &ObjectRef) -> Option<Vec<Value>> {
        let held = self.view.get(object).filter(|_| self.watches(&object.namespace))?;
        let now = UnixMs::wall();
        let plan = |target: Target<'_>| plan::patch(object.kind, held, target, now);
        let Ok(key) = &held.service else { return plan(Target::Missing) };
        let Some(observed) = self.ingest.known(key) else {
            return self.is_missing(key).then(|| plan(Target::Missing))?;
        };
        // Before its status says so, two installs may both take a service for their own.
        if !self.installs.owns(observed.status()) || observed.parsed.is_awaiting() {
            return None;
        }
        if observed.parsed.mirrored.is_none() {
            return plan(Target::Unusable);
        }
        let entry = self.catalog.read().get(key.as_str()).cloned()?;
        // Otherwise both are about to match, and the object is marked again then.
        observed.is_shown_as(entry.service()).then(|| plan(Target::Found(entry.service())))?
    }

    fn watches(&self, namespace: &str) -> bool {
        let watched = &self.settings.namespaces;
        let listed = watched.is_empty() || watched.iter().any(|watched| watched.as_str() == namespace);
        listed && self.settings.policies.watches(namespace)
    }

    fn finish(&mut self, object: &ObjectRef, outcome: WriteOutcome) {
        let based_on = self.busy.remove(object).unwrap_or_default();
        if let Some(result) = outcome.label() {
            self.metrics.cluster.annotated_written(result);
        }
        let now = Instant::now();
        match outcome {
            WriteOutcome::Written(seen) => self.written(*seen, based_on),
            // The newer version is here, or the watch delivers it, and then the object is looked at again.
            WriteOutcome::Conflict if self.view.get(object).is_some_and(|held| held.revision == based_on) => return,
            WriteOutcome::NotLeading | WriteOutcome::Conflict => {}
            WriteOutcome::NotFound => {
                // Once, it may be an object whose end the watch has not delivered yet.
                let again = self.queue.is_failing(object) && self.view.get(object).is_some();
                self.queue.failed(object, now);
                if again {
                    self.states.set(object.kind, refused(object, NO_STATUS));
                }
            }
            WriteOutcome::Forbidden(why) => self.failed(object, KindState::MayNotWrite(why), now),
            WriteOutcome::Refused(why) => self.failed(object, refused(object, &why), now),
            WriteOutcome::Unanswered(why) => {
                tracing::debug!("a write of {}/{} is tried again: {why}", object.namespace, object.name);
                self.queue.unanswered(object, now);
            }
            WriteOutcome::Unavailable(why) => {
                tracing::debug!("a write of {}/{} is tried again: {why}", object.namespace, object.name);
                self.paused_until = Some(now + self.pauses.next());
            }
        }
        self.queue.push(object, false);
    }

    fn written(&mut self, seen: Seen, based_on: u64) {
        self.pauses.reset();
        if seen.revision == based_on {
            self.failed(&seen.object, refused(&seen.object, ALTERED), Instant::now());
        } else {
            self.absences.written(&seen.object, Instant::now());
            self.view.put_answer(seen);
        }
    }

    fn failed(&mut self, object: &ObjectRef, state: KindState, now: Instant) {
        self.queue.failed(object, now);
        self.states.set(object.kind, state);
    }
}

fn refused(object: &ObjectRef, why: &str) -> KindState {
    KindState::Refused(format!("{}/{}: {why}", object.namespace, object.name))
}

/// Follows a kind; each object is reduced to what matters.
fn follow(
    kind: Kind,
    client: &Client,
    sender: &mpsc::Sender<Message>,
    stop: CancellationToken,
) -> impl Future<Output = Result<(), Closed>> + use<> {
    type Keep = fn(DynamicObject) -> Seen;
    type Wrap = fn(Followed<Seen>) -> Message;
    let (keep, wrap): (Keep, Wrap) = match kind {
        Kind::WorkloadEntry => {
            (|object| Seen::of(Kind::WorkloadEntry, &object), |followed| (Kind::WorkloadEntry, followed))
        }
        Kind::ExternalWorkload => {
            (|object| Seen::of(Kind::ExternalWorkload, &object), |followed| (Kind::ExternalWorkload, followed))
        }
        Kind::DnsEndpoint => (|object| Seen::of(Kind::DnsEndpoint, &object), |followed| (Kind::DnsEndpoint, followed)),
    };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind.resource());
    Follower::new(api, "", keep, wrap, sender.clone()).run(stop)
}
