//! The task: keeps what applies to each namespace, and writes the status of policies.

use std::collections::HashMap;
use std::convert::Infallible;
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

use super::status::{self, Counts, Difference};
use super::watches::{Message, follow};
use super::write::write;
use crate::model::backoff::Backoff;
use crate::model::ports::Leadership;
use crate::model::time::UnixMs;
use crate::operator::crd::NamespacePolicyStatus;
use crate::operator::events::bucket::Bucket;
use crate::operator::ingest::{Ingest, Objects};
use crate::operator::kubernetes::follow::Followed;
use crate::operator::namespaces::{COMPONENT, Policies, Table};
use crate::operator::replicas::installs::Installs;

/// News that wait; the watches then stop reading.
const QUEUE: usize = 256;
/// Time between two looks at the objects and at the role.
const TICK: Duration = Duration::from_millis(500);
/// Statuses written per second, and at once.
const RATE: (u32, u32) = (5, 20);
/// Most writes at the same time.
const MAX_WRITES: usize = 2;
/// Least time between two writes that only update how much a policy selects.
const SETTLE: Duration = Duration::from_secs(10);
/// Pauses for one policy after failed writes.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));

/// The task.
pub struct PolicyTask {
    client: Client,
    policies: Policies,
    table: Table,
    ingest: Ingest,
    installs: Installs,
    leadership: Arc<dyn Leadership>,
    /// As it was last counted; none after news.
    counted: Option<Counted>,
    writes: FuturesUnordered<BoxFuture<'static, Written>>,
    /// Each policy's last write.
    written: HashMap<Arc<str>, LastWrite>,
    bucket: Bucket,
    warned: bool,
}

/// The objects, and what each policy selects of them.
type Counted = (Arc<Objects>, HashMap<Arc<str>, Counts>);

/// A policy's name, and why its status could not be written.
type Written = (Arc<str>, Result<(), String>);

struct LastWrite {
    at: Instant,
    busy: bool,
    /// After failures, when it may be tried again.
    failing: Option<(Instant, Backoff)>,
}

impl PolicyTask {
    /// Keeps `policies` current; counts the services of `ingest`.
    pub fn new(
        client: Client,
        policies: Policies,
        ingest: Ingest,
        installs: Installs,
        leadership: Arc<dyn Leadership>,
    ) -> Self {
        Self {
            client,
            table: Table::new(policies.settings()),
            policies,
            ingest,
            installs,
            leadership,
            counted: None,
            writes: FuturesUnordered::new(),
            written: HashMap::new(),
            bucket: Bucket::new(RATE.0, RATE.1),
            warned: false,
        }
    }

    /// Works until `stop`.
    ///
    /// # Errors
    /// Never fails; what fails is tried again.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        let (sender, mut news) = mpsc::channel(QUEUE);
        let mut followers = pin!(follow(&self.client, self.policies.settings(), &sender, &stop));
        drop(sender);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(message) = news.recv() => self.on_news(message),
                Some((name, result)) = self.writes.next() => self.finish(&name, result),
                _ = ticks.tick() => self.step(Instant::now()),
                // They end only when they are stopped, or after this.
                _ = &mut followers => return Ok(()),
            }
        }
    }

    fn on_news(&mut self, message: Message) {
        self.counted = None;
        match message {
            Message::Policies(Followed::News(news)) => self.table.on_policies(news),
            Message::Namespaces(Followed::News(news)) => self.table.on_namespaces(news),
            Message::Policies(Followed::Forbidden(why)) => {
                return self.refused("namespacepolicies.portolan.dev", &why);
            }
            Message::Namespaces(Followed::Forbidden(why)) => return self.refused("namespaces", &why),
            Message::Policies(Followed::NotServed) => {
                return self.refused("namespacepolicies.portolan.dev", "the API server does not know them");
            }
            Message::Namespaces(Followed::NotServed) => return,
        }
        if let Some(unclear) = self.table.unclear() {
            let problem = unclear.problem.as_deref().unwrap_or("its selector cannot be read");
            let problem = format!("NamespacePolicy {}: {problem}; correct or remove it", unclear.name);
            return self.say(problem, None);
        }
        let view = self.table.view();
        if view.is_known() {
            self.policies.set_problem(None);
            self.warned = false;
        }
        self.policies.set(view);
    }

    /// Before the first list, nothing is probed. After it, what was listed stays in force.
    fn refused(&mut self, what: &str, why: &str) {
        self.say(format!("{what} cannot be listed and watched; apply crds/ and {COMPONENT}"), Some(why));
    }

    fn say(&mut self, problem: String, why: Option<&str>) {
        if !std::mem::replace(&mut self.warned, true) {
            let known = self.policies.is_known();
            let effect = if known { "what applied before stays in force" } else { "nothing is probed or registered" };
            let why = why.map(|why| format!("; this is tried again: {why}")).unwrap_or_default();
            tracing::warn!("{problem}; until then {effect}{why}");
        }
        self.policies.set_problem(Some(problem));
    }

    fn step(&mut self, now: Instant) {
        if !self.policies.settings().policies || !self.policies.is_known() || !self.ingest.is_complete() {
            return;
        }
        if !self.leadership.leads() {
            self.writes.clear();
            self.written.clear();
            self.counted = None;
            return;
        }
        self.count();
        let statuses = self.table.policies().filter_map(|known| known.status.as_ref());
        self.installs.name_in_policies(statuses.filter_map(|status| status.install.as_deref()));
        let present: Vec<Arc<str>> = self.table.policies().map(|known| Arc::clone(&known.name)).collect();
        self.written.retain(|name, _| present.contains(name));
        for (name, status) in self.due(now) {
            if self.writes.len() >= MAX_WRITES || !self.bucket.take(now) {
                return;
            }
            let last =
                self.written.entry(Arc::clone(&name)).or_insert(LastWrite { at: now, busy: true, failing: None });
            (last.at, last.busy) = (now, true);
            let client = self.client.clone();
            self.writes
                .push(Box::pin(async move { (Arc::clone(&name), write(client, name.to_string(), status).await) }));
        }
    }

    /// The statuses that have to be written now.
    fn due(&self, now: Instant) -> Vec<(Arc<str>, NamespacePolicyStatus)> {
        let Some((_, counts)) = &self.counted else { return Vec::new() };
        let mut due = Vec::new();
        for known in self.table.policies() {
            let install = known.status.as_ref().and_then(|status| status.install.as_deref());
            let last = self.written.get(&known.name);
            let waits =
                last.is_some_and(|last| last.busy || last.failing.as_ref().is_some_and(|(until, _)| *until > now));
            let settles = last.is_some_and(|last| now.duration_since(last.at) < SETTLE);
            if waits || !self.installs.may_write_for(install) {
                continue;
            }
            let Some(counts) = counts.get(&known.name).copied() else { continue };
            let wanted = status::of(known, counts, self.installs.own(), UnixMs::wall());
            match status::difference(known.status.as_ref(), &wanted) {
                Difference::None => {}
                Difference::Counts if settles => {}
                // Nobody sees the status of an object that cannot be read.
                Difference::Other if settles && known.status.is_none() => {}
                Difference::Counts | Difference::Other => due.push((Arc::clone(&known.name), wanted)),
            }
        }
        due
    }

    /// Counts what each policy selects, if policies, namespaces or services changed since.
    fn count(&mut self) {
        let objects = self.ingest.objects();
        if self.counted.as_ref().is_some_and(|(counted, _)| Arc::ptr_eq(counted, &objects)) {
            return;
        }
        let mut services: HashMap<&str, usize> = HashMap::new();
        for key in objects.keys() {
            *services.entry(key.namespace()).or_default() += 1;
        }
        let mut counts = HashMap::new();
        for known in self.table.policies() {
            let mut of_policy = Counts { namespaces: 0, services: 0 };
            for namespace in self.table.selected(known) {
                of_policy.namespaces += 1;
                of_policy.services += services.get(namespace).copied().unwrap_or(0);
            }
            counts.insert(Arc::clone(&known.name), of_policy);
        }
        self.counted = Some((objects, counts));
    }

    fn finish(&mut self, name: &str, result: Result<(), String>) {
        let Some(last) = self.written.get_mut(name) else { return };
        last.busy = false;
        match result {
            Ok(()) => last.failing = None,
            Err(why) => {
                let mut pauses = last.failing.take().map_or(PAUSES, |(_, pauses)| pauses);
                last.failing = Some((Instant::now() + pauses.next(), pauses));
                tracing::warn!(
                    "the status of the NamespacePolicy {name} cannot be written now; this is tried again: {why}"
                );
            }
        }
    }
}
