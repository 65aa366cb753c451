//! The task: passes the news of endpoints on, and keeps the objects of labelled core Services.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kube::Client;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::labels::{Change, Difference, Labels};
use super::watches::{Message, follow};
use super::write::{WriteOutcome, Writer};
use crate::model::backoff::Backoff;
use crate::model::name::{Namespace, ServiceKey};
use crate::model::ports::{Leadership, NamespacePolicies as _};
use crate::operator::endpoints::{COMPONENT, EndpointNews};
use crate::operator::events::Events;
use crate::operator::events::bucket::Bucket;
use crate::operator::ingest::{Ingest, IngestError, Objects};
use crate::operator::kubernetes::follow::Followed;
use crate::operator::namespaces::Policies;
use crate::operator::replicas::installs::Installs;
use crate::operator::status::Notice;

/// News that wait; the watches then stop reading.
const QUEUE: usize = 256;
/// Time between two looks at the objects and at the role.
const TICK: Duration = Duration::from_millis(250);
/// Objects created or deleted per second, and at once.
const RATE: (u32, u32) = (20, 40);
/// Most writes at the same time.
const MAX_WRITES: usize = 4;
/// Pauses for one object after failed writes.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_mins(1));

/// The ingest is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct AdoptError(#[from] IngestError);

/// The task.
pub struct Adopter {
    client: Client,
    ingest: Ingest,
    installs: Installs,
    leadership: Arc<dyn Leadership>,
    events: Events,
    watched: Vec<Namespace>,
    policies: Policies,
    /// The version of `policies` that was heeded last.
    followed: u64,
    labels: Labels,
    /// The objects as they were when they last were what the labels ask for.
    settled: Option<Arc<Objects>>,
    /// Core Services whose name another object has, as it was last reported.
    taken: HashSet<ServiceKey>,
    writes: FuturesUnordered<BoxFuture<'static, (ServiceKey, WriteOutcome)>>,
    busy: HashSet<ServiceKey>,
    bucket: Bucket,
    /// Objects whose last write failed, until they may be tried again.
    failing: HashMap<ServiceKey, (Instant, Backoff)>,
    /// Whether a watch, and whether a write, was last refused.
    warned: [bool; 2],
}

impl Adopter {
    /// Sends the endpoints to `ingest`, and keeps objects for what is labelled in the `watched` namespaces, none for all.
    pub fn new(
        client: Client,
        ingest: Ingest,
        installs: Installs,
        leadership: Arc<dyn Leadership>,
        events: Events,
        watched: Vec<Namespace>,
    ) -> Self {
        Self {
            client,
            ingest,
            installs,
            leadership,
            events,
            watched,
            policies: Policies::off(),
            followed: 0,
            labels: Labels::default(),
            settled: None,
            taken: HashSet::new(),
            writes: FuturesUnordered::new(),
            busy: HashSet::new(),
            bucket: Bucket::new(RATE.0, RATE.1),
            failing: HashMap::new(),
            warned: [false; 2],
        }
    }

    /// For an install that selects namespaces by label: what is labelled elsewhere is left alone.
    #[must_use]
    pub fn with_policies(self, policies: Policies) -> Self {
        Self { policies, ..self }
    }

    /// Works until `stop`.
    ///
    /// # Errors
    /// [`AdoptError`] when the ingest ends first.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), AdoptError> {
        let (sender, mut news) = mpsc::channel(QUEUE);
        let mut followers = pin!(follow(&self.client, &sender, &stop));
        drop(sender);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(message) = news.recv() => match self.on_news(message).await {
                    Err(_) if stop.is_cancelled() => return Ok(()),
                    sent => sent?,
                },
                Some((key, outcome)) = self.writes.next() => self.finish(&key, outcome),
                _ = ticks.tick() => {}
                // They end only when they are told to, or after this.
                _ = &mut followers => return Ok(()),
            }
            self.step(Instant::now());
        }
    }

    async fn on_news(&mut self, message: Message) -> Result<(), IngestError> {
        match &message {
            Message::Endpoints(EndpointNews::Services(Followed::News(news))) => self.labels.services(news),
            Message::Endpoints(EndpointNews::Slices(Followed::News(_) | Followed::NotServed))
            | Message::Endpoints(EndpointNews::Services(Followed::NotServed))
            | Message::Namespaces(Followed::News(_) | Followed::NotServed) => {}
            Message::Endpoints(
                EndpointNews::Slices(Followed::Forbidden(why)) | EndpointNews::Services(Followed::Forbidden(why)),
            )
            | Message::Namespaces(Followed::Forbidden(why)) => self.warn_of_watch(why),
        }
        match message {
            Message::Endpoints(news) => {
                if matches!(news, EndpointNews::Services(_)) {
                    self.settled = None;
                }
                self.ingest.put_endpoints(news).await
            }
            Message::Namespaces(Followed::News(news)) => {
                self.settled = None;
                self.labels.namespaces(news);
                Ok(())
            }
            Message::Namespaces(Followed::Forbidden(_) | Followed::NotServed) => Ok(()),
        }
    }

    fn warn_of_watch(&mut self, why: &str) {
        if !std::mem::replace(&mut self.warned[0], true) {
            tracing::warn!(
                "this ServiceAccount may not list and watch core Services, EndpointSlices and namespaces, so nothing is adopted; apply \
                 {COMPONENT}; this is tried again: {why}"
            );
        }
    }

    fn step(&mut self, now: Instant) {
        if !self.leadership.leads() {
            // Dropping a write closes its connection.
            self.writes.clear();
            self.busy.clear();
            self.failing.clear();
            self.settled = None;
            return;
        }
        if !self.labels.is_complete() || !self.ingest.is_complete() {
            return;
        }
        let version = self.policies.version();
        if version != std::mem::replace(&mut self.followed, version) {
            self.settled = None;
        }
        let objects = self.ingest.objects();
        if self.settled.as_ref().is_some_and(|settled| Arc::ptr_eq(settled, &objects)) {
            return;
        }
        let Difference { mut changes, mut taken } = self.labels.difference(&objects, &self.watched);
        changes.retain(|change| self.policies.watches(change.key().namespace()));
        taken.retain(|key| self.policies.watches(key.namespace()));
        self.report_taken(taken);
        let mut left = !self.busy.is_empty();
        let wanted: HashSet<&ServiceKey> = changes.iter().map(Change::key).collect();
        self.failing.retain(|key, _| wanted.contains(key));
        for change in changes {
            let status = objects.get(change.key()).and_then(|known| known.status());
            if self.busy.contains(change.key()) || !self.installs.may_write(status) {
                continue;
            }
            left = true;
            if self.failing.get(change.key()).is_some_and(|(until, _)| *until > now) {
                continue;
            }
            if self.writes.len() >= MAX_WRITES || !self.bucket.take(now) {
                break;
            }
            self.busy.insert(change.key().clone());
            let writer = Writer {
                client: self.client.clone(),
                ingest: self.ingest.clone(),
                leadership: Arc::clone(&self.leadership),
            };
            self.writes.push(Box::pin(writer.write(change)));
        }
        self.settled = (!left).then_some(objects);
    }

    fn finish(&mut self, key: &ServiceKey, outcome: WriteOutcome) {
        self.busy.remove(key);
        let line = match outcome {
            WriteOutcome::Done => {
                self.failing.remove(key);
                self.warned[1] = false;
                return;
            }
            WriteOutcome::Forbidden(why) => format!(
                "this ServiceAccount may not create and delete services.portolan.dev for labelled core Services; apply {COMPONENT}; \
                 this is tried again: {why}"
            ),
            WriteOutcome::Failed(why) => {
                format!("{key} cannot be adopted, or given up, now; this is tried again: {why}")
            }
        };
        let (_, mut pauses) = self.failing.remove(key).unwrap_or((Instant::now(), PAUSES));
        self.failing.insert(key.clone(), (Instant::now() + pauses.next(), pauses));
        if !std::mem::replace(&mut self.warned[1], true) {
            tracing::warn!("{line}");
        }
    }

    /// Says once of each that its name is taken.
    fn report_taken(&mut self, taken: HashSet<ServiceKey>) {
        for key in taken.difference(&self.taken) {
            let Some(known) = self.ingest.known(key) else { continue };
            let note = "the core Service of this name is labelled portolan.dev/adopt, but this object is not Portolan's own, so it stays as it \
                        is; to adopt that one, too, add spec.from here or give this object another name";
            tracing::info!("{key} is not adopted by its label, because another object has its name");
            let notice = Notice {
                action: "Adopt",
                reason: "NameTaken",
                note: note.to_owned(),
                is_warning: true,
                instance: None,
            };
            self.events.send(&known, notice);
        }
        self.taken = taken;
    }
}
