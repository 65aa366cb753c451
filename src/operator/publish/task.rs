//! The task that keeps slices.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, sleep_until};
use tokio_util::sync::CancellationToken;

use super::apply::{Request, WriteError, Written};
use super::jobs::{Finished, Jobs, Subject};
use super::names::Names;
use super::networks::Networks;
use super::object::{Content, Owner};
use super::pack::pack;
use super::plan::{Lookup, PlanInput, plan};
use super::proofs::Proofs;
use super::publications::{NO_RIGHT, Publications, forbidden};
use super::requests;
use super::settings::PublishSettings;
use super::tracked::Tracked;
use super::view::{Concerned, ObjectName, Owned, View};
use super::watches::{Message, follow};
use crate::catalog::Catalog;
use crate::model::name::{InstanceName, ServiceKey};
use crate::model::ports::Leadership;
use crate::model::service::Service;
use crate::operator::catalog_changes::{CatalogChange, CatalogChanges, CatalogEnded};
use crate::operator::crd::PublishSpec;
use crate::operator::ingest::{Changed, Ingest, ObservedObject};
use crate::operator::kubernetes::follow::Followed;
use crate::operator::queue::PausingQueue;
use crate::operator::replicas::installs::Installs;
use crate::operator::status::Publication;
use crate::telemetry::metrics::Metrics;

/// Objects that one tick looks at.
const CHUNK: usize = 128;
/// Time between two checks of the role; a write in progress ends at most this long after leadership did.
const TICK: Duration = Duration::from_millis(100);
/// News that wait; the watches then stop reading.
const QUEUE: usize = 256;

/// The task.
pub struct Publisher {
    client: Client,
    leadership: Arc<dyn Leadership>,
    ingest: Ingest,
    catalog: Arc<Catalog>,
    installs: Installs,
    settings: PublishSettings,
    metrics: Metrics,
    publications: Publications,
    changed: Changed,
    view: View,
    networks: Networks,
    tracked: Tracked,
    proofs: Proofs,
    queue: PausingQueue,
    /// Slices without an owner, which are being removed.
    ownerless: PausingQueue<ObjectName>,
    jobs: Jobs,
    /// Why nothing can be seen, in the Kubernetes API's words.
    forbidden: Option<String>,
    /// What was last logged.
    warned: Option<&'static str>,
    leads: bool,
}

impl Publisher {
    /// Publishes what `ingest` and `catalog` report, except for objects that `installs` assigns to others. The second value tells the status
    /// writer what became of it.
    pub fn new(
        client: Client,
        ingest: Ingest,
        catalog: Arc<Catalog>,
        installs: Installs,
        leadership: Arc<dyn Leadership>,
        settings: PublishSettings,
        metrics: Metrics,
    ) -> (Self, Publications) {
        let publications = Publications::on();
        let publisher = Self {
            jobs: Jobs::new(client.clone(), Arc::clone(&leadership)),
            client,
            leadership,
            changed: ingest.follow_changes(),
            ingest,
            catalog,
            installs,
            tracked: Tracked::new(Names::new(Arc::clone(&settings.names))),
            proofs: Proofs::new(Arc::clone(&settings.on_demand)),
            settings,
            metrics,
            publications: publications.clone(),
            view: View::default(),
            networks: Networks::default(),
            queue: PausingQueue::default(),
            ownerless: PausingQueue::default(),
            forbidden: None,
            warned: None,
            leads: false,
        };
        (publisher, publications)
    }

    /// Publishes until `stop`. A write in progress is aborted; the next leader writes what still differs.
    ///
    /// # Errors
    /// [`CatalogEnded`] when the store ends first.
    pub async fn run(self, stop: CancellationToken) -> Result<(), CatalogEnded> {
        let (sender, news) = mpsc::channel(QUEUE);
        let followers = follow(&self.client, &sender, &stop);
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
                Some(finished) = self.jobs.next() => self.finish(finished),
                batch = feed.next() => batch?.into_iter().for_each(|change| self.on_change(change)),
                () = changed.marked() => changed.take().iter().for_each(|key| self.mark(key, false)),
                Some(message) = news.recv() => self.on_news(message),
                Some(key) = self.proofs.changed() => self.queue.push(&key, false),
                Some(keys) = self.tracked.resolved() => keys.iter().for_each(|key| self.queue.push(key, false)),
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

    fn on_news(&mut self, message: Message) {
        let concerned = match message {
            Message::Slices(Followed::News(news)) => self.view.slices(news),
            Message::Services(Followed::News(news)) => self.view.services(news),
            Message::Namespaces(Followed::News(news)) => self.view.namespaces(news),
            Message::ServiceNetworks(followed) => {
                let changed = self.networks.services(followed);
                return self.learn(changed);
            }
            Message::NodeNetworks(followed) => {
                let changed = self.networks.nodes(followed);
                return self.learn(changed);
            }
            Message::Slices(Followed::NotServed)
            | Message::Services(Followed::NotServed)
            | Message::Namespaces(Followed::NotServed) => return,
            Message::Slices(Followed::Forbidden(why))
            | Message::Services(Followed::Forbidden(why))
            | Message::Namespaces(Followed::Forbidden(why)) => {
                if !self.view.is_complete() {
                    self.forbid(why);
                    self.mark_all();
                }
                return;
            }
        };
        if self.view.is_complete() && self.forbidden.take().is_some() {
            tracing::info!("endpoints can be published now");
        }
        self.mark_concerned(&concerned);
    }

    fn learn(&mut self, changed: bool) {
        if changed {
            self.settings.gate.learn(self.networks.learned());
            self.mark_all();
        }
    }

    fn mark_concerned(&mut self, concerned: &Concerned) {
        if !self.leads {
            return;
        }
        match concerned {
            Concerned::Nobody => {}
            Concerned::Everyone => self.mark_all(),
            Concerned::Slice(owner, service) => {
                let publishers = self.tracked.publishing_for(service);
                owner.iter().chain(publishers).for_each(|key| self.queue.push(key, false));
            }
            Concerned::Service(service) => {
                self.tracked.publishing_for(service).for_each(|key| self.queue.push(key, false));
            }
            Concerned::Namespace(namespace) => {
                let here = self.tracked.keys().filter(|key| key.namespace() == namespace);
                here.for_each(|key| self.queue.push(key, false));
            }
        }
    }

    /// Looks at the object, if it has to do with publishing.
    fn mark(&mut self, key: &ServiceKey, urgent: bool) {
        let asks = || self.ingest.known(key).is_some_and(|observed| observed.parsed.publish.is_some());
        if self.leads && (self.tracked.contains(key) || self.view.owns_any(key) || asks()) {
            self.queue.push(key, urgent);
        }
    }

    fn mark_all(&mut self) {
        if !self.leads {
            return;
        }
        let objects = self.ingest.objects();
        let asking = objects.iter().filter(|(_, observed)| observed.parsed.publish.is_some()).map(|(key, _)| key);
        asking.chain(self.tracked.keys()).chain(self.view.owners()).for_each(|key| self.queue.push(key, false));
    }

    fn step(&mut self, now: Instant) {
        let leads = self.leadership.leads();
        let was = std::mem::replace(&mut self.leads, leads);
        if leads && !was {
            self.mark_all();
        } else if was && !leads {
            self.rest(now);
        }
        self.tracked.start_lookups(now);
        if leads && self.is_ready() {
            self.start(now);
            self.remove_ownerless(now);
        }
    }

    /// Whether everything is known that a plan needs, or why it cannot be.
    fn is_ready(&self) -> bool {
        let seen = self.view.is_complete() && self.networks.is_answered();
        self.ingest.is_complete() && (seen || self.forbidden.is_some())
    }

    /// Drops what only a leader does.
    fn rest(&mut self, now: Instant) {
        self.jobs.clear();
        self.queue.clear();
        self.ownerless.clear();
        self.publications.clear();
        self.proofs.clear();
        for key in self.tracked.keys().cloned().collect::<Vec<_>>() {
            self.tracked.remove(&key, now);
        }
    }

    fn start(&mut self, now: Instant) {
        for _ in 0..CHUNK {
            if !self.jobs.may_start(now) {
                return;
            }
            let Some(key) = self.queue.pop(now) else { return };
            let subject = Subject::Object(key.clone());
            // One with a job is looked at again afterwards.
            if self.jobs.is_busy(&subject) {
                continue;
            }
            let requests = self.requests(&key, now);
            if requests.is_empty() {
                self.queue.succeeded(&key);
            } else {
                self.jobs.start(subject, requests, now);
            }
        }
    }

    fn remove_ownerless(&mut self, now: Instant) {
        let left: Vec<ObjectName> = self.view.ownerless().filter(|name| self.watches(&name.0)).cloned().collect();
        for name in &left {
            self.ownerless.push(name, false);
        }
        while self.jobs.may_start(now) {
            let Some(name) = self.ownerless.pop(now) else { return };
            let subject = Subject::Ownerless(name.clone());
            if self.jobs.is_busy(&subject) {
                continue;
            }
            match self.removal(&name) {
                Some(request) => self.jobs.start(subject, vec![request], now),
                None => self.ownerless.succeeded(&name),
            }
        }
    }

    /// Removes the slice, if it is still there and without an owner.
    fn removal(&self, name: &ObjectName) -> Option<Request> {
        let held = self.view.held(&name.0, &name.1).filter(|_| self.watches(&name.0))?;
        let is_ownerless = matches!(held.content, Content::Ours { owner: None, .. });
        is_ownerless.then(|| Request::Delete(name.1.clone(), held.uid.clone()))
    }

    fn watches(&self, namespace: &str) -> bool {
        let watched = &self.settings.namespaces;
        let listed = watched.is_empty() || watched.iter().any(|watched| watched.as_str() == namespace);
        listed && self.settings.policies.watches(namespace)
    }

    /// When there is something to do that no event announces.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let waiting = if self.queue.is_ready(now) { Some(now) } else { self.queue.next_due() };
        let first = waiting.filter(|_| self.leads && self.is_ready());
        let write = first.and_then(|first| Some(first.max(self.jobs.start_at(now)?)));
        write.into_iter().chain(self.tracked.next_lookup()).min()
    }

    /// What has to be written for the object. Notes for its status what became of it, unless something has to be written first.
    fn requests(&mut self, key: &ServiceKey, now: Instant) -> Vec<Request> {
        let observed = self.ingest.known(key);
        let is_ours = observed.as_ref().is_none_or(|observed| self.installs.may_write(observed.status()));
        let asking = observed.as_ref().filter(|_| is_ours).and_then(|o| Some((o, o.parsed.publish.as_ref()?)));
        let Some((observed, publish)) = asking else {
            self.tracked.remove(key, now);
            self.proofs.forget(key);
            self.publications.forget(key);
            let removes = is_ours && self.view.is_complete() && self.watches(key.namespace());
            let owned = if removes { self.view.owned(key) } else { Vec::new() };
            return match observed {
                Some(_) => requests::deletions(&self.view, key, &owned),
                None => requests::orphans(&self.view, key, &owned),
            };
        };
        self.publications.begin(observed);
        // Before its status says so, two installs may both take an object for their own.
        if !self.installs.owns(observed.status()) {
            return Vec::new();
        }
        if let Some(why) = &self.forbidden
            && !self.view.is_complete()
        {
            let publication = forbidden(why);
            self.note(key, publication);
            return Vec::new();
        }
        if let Some(message) = self.networks.missing().filter(|_| self.settings.must_learn) {
            self.note(key, Publication { published: false, reason: "NetworksUnknown", message });
            return Vec::new();
        }
        let entry = self.catalog.read().get(key.as_str()).cloned();
        let service = match (&observed.parsed.mirrored, &entry) {
            // What it adopts is not known yet, so what is published stays.
            (None, _) if observed.parsed.is_awaiting() => return Vec::new(),
            (None, _) => None,
            (Some(_), Some(entry)) if observed.is_shown_as(entry.service()) => Some(&**entry.service()),
            // Both are about to match, and the object is marked again then.
            (Some(_), _) => return Vec::new(),
        };
        self.tracked.set(key, &publish.service, service, now);
        self.planned(key, observed, publish, service)
    }

    fn planned(
        &mut self,
        key: &ServiceKey,
        observed: &ObservedObject,
        publish: &PublishSpec,
        service: Option<&Service>,
    ) -> Vec<Request> {
        let owner = Owner { key: key.clone(), uid: observed.id() };
        let (own, strays): (Vec<Owned>, Vec<Owned>) = self
            .view
            .owned(key)
            .into_iter()
            .partition(|owned| owned.owner == owner && owned.service == publish.service);
        let mut current: Vec<_> = own.iter().map(|owned| owned.slice.clone()).collect();
        let plan = plan(&PlanInput {
            namespace: key.namespace(),
            publish,
            service,
            allowed: self.view.is_allowed(key.namespace()),
            core: self.view.core(key, &publish.service),
            names: &|name: &str| -> Lookup { self.tracked.lookup(name) },
            proved: &|instance: &InstanceName, address: IpAddr| self.proofs.has(key, instance, address),
            gate: &*self.settings.gate,
            foreign: &self.view.foreign(key, &publish.service),
            current: &current,
        });
        let published = |instance: &InstanceName, address: IpAddr| {
            plan.wanted.values().any(|endpoint| endpoint.address == address && endpoint.hostname == instance.as_str())
        };
        self.proofs.retain(key, published);
        self.proofs.prove(key, owner.uid, plan.unproved);
        for (slice, owned) in current.iter_mut().zip(&own) {
            slice.intact &= owned.port == plan.port;
        }
        let prefix = format!("{}-{}", publish.service, &owner.uid.simple().to_string()[..8]);
        let taken = |name: &str| self.view.held(key.namespace(), name).is_some();
        let changes = pack(&current, &plan.wanted, &prefix, &taken);
        let target = (publish.service.as_str(), plan.port.as_str());
        let mut requests = requests::of_changes(&self.view, &owner, target, &changes);
        requests.extend(requests::deletions(&self.view, key, &strays));
        // That it is published is said when it is; and why writes fail stays until they do not.
        if requests.is_empty() || !(plan.publication.published || self.queue.is_failing(key)) {
            self.note(key, plan.publication);
        }
        requests
    }

    /// Notes what became of the object, and has its status written if that is news.
    fn note(&self, key: &ServiceKey, publication: Publication) {
        if self.publications.set(key, publication) {
            self.ingest.changed().mark([key.clone()]);
        }
    }

    fn finish(&mut self, finished: Finished) {
        let Finished { subject, written, result } = finished;
        for done in written {
            self.metrics.cluster.slice_written("written");
            let concerned = match done {
                Written::Put(slice) => self.view.written(&slice),
                Written::Removed(name, uid) => self.view.remove(&(subject.namespace().to_owned(), name), &uid),
            };
            self.mark_concerned(&concerned);
        }
        if let Err(error) = &result {
            self.warn_of(error);
        }
        match (&subject, &result) {
            (Subject::Object(key), Ok(())) => self.queue.succeeded(key),
            (Subject::Object(key), Err(error)) => self.failed(key, error),
            (Subject::Ownerless(name), Ok(())) => self.ownerless.succeeded(name),
            (Subject::Ownerless(name), Err(error)) => error.delay(name, &mut self.ownerless, Instant::now()),
        }
        match &subject {
            Subject::Object(key) => self.queue.push(key, false),
            Subject::Ownerless(name) => self.ownerless.push(name, false),
        }
        let fails = self.queue.is_any_failing(|_| true) || self.ownerless.is_any_failing(|_| true);
        if result.is_ok() && !fails && self.warned.take().is_some() {
            tracing::info!("endpoints are written again");
        }
    }

    fn failed(&mut self, key: &ServiceKey, error: &WriteError) {
        match error {
            WriteError::Forbidden(why) => self.note(key, forbidden(why)),
            WriteError::Refused(why) => {
                let message = format!("the Kubernetes API refuses the endpoints: {why}");
                self.note(key, Publication { published: false, reason: "Refused", message });
            }
            // Once, it may be one of its own that the watch has not delivered yet.
            WriteError::Taken(why) if self.queue.is_failing(key) => {
                let message = format!(
                    "an EndpointSlice of somebody else has the name that Portolan needs: {why}; rename or remove it"
                );
                self.note(key, Publication { published: false, reason: "Refused", message });
            }
            WriteError::NotLeading
            | WriteError::Unanswered(_)
            | WriteError::Unavailable(_)
            | WriteError::Conflict
            | WriteError::Taken(_) => {}
        }
        error.delay(key, &mut self.queue, Instant::now());
    }

    /// Counts the error, and logs it once until writes work again.
    fn warn_of(&mut self, error: &WriteError) {
        let Some(label) = error.label() else { return };
        self.metrics.cluster.slice_written(label);
        let line = match error {
            WriteError::Forbidden(why) => format!("{NO_RIGHT}; this is tried again: {why}"),
            WriteError::Refused(why) => format!("the Kubernetes API refuses endpoints; this is tried again: {why}"),
            WriteError::Unanswered(why) => format!("some endpoints cannot be written now; this is tried again: {why}"),
            WriteError::Unavailable(why) => format!("endpoints cannot be written now; this is tried again: {why}"),
            WriteError::NotLeading | WriteError::Conflict | WriteError::Taken(_) => return,
        };
        if self.warned.replace(label) != Some(label) {
            tracing::warn!("{line}");
        }
    }

    /// Nothing can be seen: each object that asks for endpoints says so in its status.
    fn forbid(&mut self, why: String) {
        if self.forbidden.is_none() {
            tracing::warn!("{NO_RIGHT}; this is tried again: {why}");
        }
        self.forbidden = Some(why);
    }
}
