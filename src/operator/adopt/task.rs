//! The task: passes the news of endpoints on, and keeps the objects of labelled core Services.

use std::collections::HashSet;
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

use super::labels::Change;
use super::pending::{Next, Pending};
use super::watches::{Message, follow};
use super::write::{WriteOutcome, Writer};
use crate::model::name::{Namespace, ServiceKey};
use crate::model::ports::{Leadership, NamespacePolicies as _};
use crate::operator::crd::ServiceStatus;
use crate::operator::endpoints::{COMPONENT, EndpointNews};
use crate::operator::events::Events;
use crate::operator::events::bucket::Bucket;
use crate::operator::ingest::{Changed, Ingest, IngestError};
use crate::operator::kubernetes::follow::Followed;
use crate::operator::namespaces::Policies;
use crate::operator::replicas::installs::Installs;
use crate::operator::status::Notice;

/// News that wait; the watches then stop reading.
const QUEUE: usize = 256;
/// Time between two looks at the role; a write in progress ends at most this long after leadership did.
const TICK: Duration = Duration::from_millis(250);
/// Objects created or deleted per second, and at once.
const RATE: (u32, u32) = (20, 40);
/// Most writes at the same time.
const MAX_WRITES: usize = 4;

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
    /// The version of `policies` applied last.
    followed: u64,
    changed: Changed,
    pending: Pending,
    leads: bool,
    writes: FuturesUnordered<BoxFuture<'static, (ServiceKey, WriteOutcome)>>,
    busy: HashSet<ServiceKey>,
    bucket: Bucket,
    /// Whether it was said that a watch, that a write, and that the watch of namespaces is refused.
    warned: [bool; 3],
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
            changed: ingest.follow_changes(),
            ingest,
            installs,
            leadership,
            events,
            pending: Pending::new(watched.clone()),
            watched,
            policies: Policies::off(),
            followed: 0,
            leads: false,
            writes: FuturesUnordered::new(),
            busy: HashSet::new(),
            bucket: Bucket::new(RATE.0, RATE.1),
            warned: [false; 3],
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
        let mut followers = pin!(follow(&self.client, &self.watched, &sender, &stop));
        drop(sender);
        let changed = self.changed.clone();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(message) = news.recv() => tokio::select! {
                    // The ingest takes nothing while it does not know the policies, and ends only after this task.
                    () = stop.cancelled() => return Ok(()),
                    sent = self.on_news(message) => match sent {
                        Err(_) if stop.is_cancelled() => return Ok(()),
                        sent => sent?,
                    },
                },
                () = changed.marked() => self.pending.mark(&changed.take()),
                Some((key, outcome)) = self.writes.next() => self.finish(&key, outcome),
                _ = ticks.tick() => {}
                // They end only when they are stopped, or after this.
                _ = &mut followers => return Ok(()),
            }
            self.step(Instant::now());
        }
    }

    async fn on_news(&mut self, message: Message) -> Result<(), IngestError> {
        match message {
            Message::Endpoints(news) => {
                match &news {
                    EndpointNews::Services(Followed::News(news)) => self.pending.services(news),
                    EndpointNews::Slices(Followed::News(_) | Followed::NotServed)
                    | EndpointNews::Services(Followed::NotServed) => {}
                    EndpointNews::Slices(Followed::Forbidden(why))
                    | EndpointNews::Services(Followed::Forbidden(why)) => self.warn_of_watch(why),
                }
                return self.ingest.put_endpoints(news).await;
            }
            Message::Namespaces(Followed::News(news)) => self.pending.namespaces(news),
            Message::Namespaces(Followed::Forbidden(why)) if self.pending.namespaces_refused(Instant::now()) => {
                if !std::mem::replace(&mut self.warned[2], true) {
                    tracing::info!(
                        "this ServiceAccount may not list and watch namespaces, so only a label on a core Service itself has an effect: {why}"
                    );
                }
            }
            Message::Namespaces(Followed::Forbidden(why)) => self.warn_of_watch(&why),
            Message::Namespaces(Followed::NotServed) => {}
        }
        Ok(())
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
        let leads = self.leadership.leads();
        let was = std::mem::replace(&mut self.leads, leads);
        if !leads {
            // Dropping a write closes its connection.
            self.writes.clear();
            self.busy.clear();
            self.pending.clear();
            return;
        }
        if !was {
            self.pending.mark_all();
        }
        if !self.ingest.is_complete() {
            return;
        }
        let version = self.policies.version();
        if version != std::mem::replace(&mut self.followed, version) {
            self.pending.mark_all();
        }
        let objects = self.ingest.objects();
        while self.writes.len() < MAX_WRITES {
            match self.pending.next(&objects, now) {
                None => return,
                Some(Next::Taken(key)) if self.policies.watches(key.namespace()) => self.report_taken(&key),
                Some(Next::Write(change)) if self.policies.watches(change.key().namespace()) => {
                    let status = objects.get(change.key()).and_then(|known| known.status());
                    // One that is being written is compared again afterwards, and one of another install when that has ended.
                    if self.busy.contains(change.key()) || !self.may_make(&change, status) {
                        continue;
                    }
                    if !self.bucket.take(now) {
                        return self.pending.mark([change.key()]);
                    }
                    self.write(change);
                }
                // The labels of its namespace exclude it. Other labels are another version of the policies.
                Some(_) => {}
            }
        }
    }

    fn may_make(&self, change: &Change, status: Option<&ServiceStatus>) -> bool {
        // Before its status says so, two installs may both take an object for their own. It is compared again when that is written.
        let is_ours = matches!(change, Change::Create(..)) || self.installs.owns(status);
        is_ours && self.installs.may_write(status)
    }

    fn write(&mut self, change: Change) {
        self.busy.insert(change.key().clone());
        let writer = Writer {
            client: self.client.clone(),
            ingest: self.ingest.clone(),
            leadership: Arc::clone(&self.leadership),
        };
        self.writes.push(Box::pin(writer.write(change)));
    }

    fn finish(&mut self, key: &ServiceKey, outcome: WriteOutcome) {
        self.busy.remove(key);
        let line = match outcome {
            WriteOutcome::Done => {
                self.pending.written(key);
                self.warned[1] = false;
                return;
            }
            WriteOutcome::Behind => return self.pending.failed(key, Instant::now()),
            WriteOutcome::Forbidden(why) => format!(
                "this ServiceAccount may not create and delete services.portolan.dev for labelled core Services; apply {COMPONENT}; \
                 this is tried again: {why}"
            ),
            WriteOutcome::Failed(why) => {
                format!("the object {key} cannot be created or deleted now; this is tried again: {why}")
            }
        };
        self.pending.failed(key, Instant::now());
        if !std::mem::replace(&mut self.warned[1], true) {
            tracing::warn!("{line}");
        }
    }

    /// Says that the name of a core Service is taken.
    fn report_taken(&self, key: &ServiceKey) {
        let Some(known) = self.ingest.known(key) else { return };
        let note = "the core Service of this name is labelled portolan.dev/adopt, but this object is not Portolan's own, so it stays as it \
                    is; to adopt that one, too, add spec.from here or give this object another name";
        tracing::info!("{key} is not adopted by its label, because another object has its name");
        let (action, reason) = ("Adopt", "NameTaken");
        self.events.send(&known, Notice { action, reason, note: note.to_owned(), is_warning: true, instance: None });
    }
}
