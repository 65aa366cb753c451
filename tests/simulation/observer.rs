//! The observer: reads the feed, the catalog and the history as any client would, and checks each step against the rules.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portolan::catalog::{Batch, Catalog, Entry, Feed};
use portolan::model::check::{CheckKind, Timing};
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::ServiceRef;
use portolan::model::service::{Instance, health_of};
use portolan::prober::ProberStatus;
use portolan::store::{HistoryEntry, HistoryEvent, HistoryQuery, Store};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::past::Past;
use crate::truth::{Aim, At, World};

/// One instance as readers saw it last.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) service: Uuid,
    pub(crate) aim: Aim,
    pub(crate) generation: u64,
    pub(crate) health: Health,
    pub(crate) reason: Reason,
    pub(crate) timing: Timing,
    /// When this generation was first seen.
    pub(crate) from: At,
}

/// What there is to read in one run of the server.
#[derive(Clone)]
pub(crate) struct Readers {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) store: Store,
    pub(crate) status: Arc<ProberStatus>,
}

/// How strict the rules about time are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strict {
    /// Whether there are slots for all that is due.
    pub(crate) capacity: bool,
}

pub(crate) struct Observer {
    pub(crate) world: World,
    pub(crate) strict: Strict,
    /// By `namespace/service#instance`.
    pub(crate) views: BTreeMap<String, View>,
    services: BTreeMap<String, (Uuid, Value)>,
    revision: u64,
    pub(crate) past: Past,
    /// Since when the guard holds.
    pub(crate) holding: Option<At>,
}

/// What a check's number is; none where nothing is probed.
pub(crate) fn aim_of(instance: &Instance) -> Option<Aim> {
    let url = instance.spec.health_url.as_ref()?;
    let mark = match &instance.spec.check.kind {
        Some(CheckKind::Http(http)) => http.expected_statuses.get(1).copied().unwrap_or_default(),
        _ => 0,
    };
    Some(Aim { port: url.port(), mark })
}

/// What readers may notice of a service.
fn shown(entry: &Entry) -> Value {
    let mut json = Vec::new();
    entry.write_json(true, &mut json);
    let mut value: Value = serde_json::from_slice(&json).expect("an entry is JSON");
    for volatile in ["revision", "updated_at", "last_health_check"] {
        value.as_object_mut().expect("an object").remove(volatile);
    }
    value
}

impl Observer {
    pub(crate) fn new(world: &World, strict: Strict) -> Self {
        Self {
            world: world.clone(),
            strict,
            views: BTreeMap::new(),
            services: BTreeMap::new(),
            revision: 0,
            past: Past::default(),
            holding: None,
        }
    }

    /// Looks on until `stop`.
    pub(crate) async fn look_on(mut self, readers: Readers, stop: CancellationToken) -> Self {
        let (snapshot, mut feed) = readers.catalog.subscribe();
        let entries: Vec<_> = snapshot.newest_first(None).cloned().collect();
        self.reopened(&entries, snapshot.revision());
        // A run that was killed may have answered no question about what it showed last.
        for entry in entries {
            self.ask_history(&readers, entry.service().id).await;
        }
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                biased;
                batch = next(&mut feed) => self.follow(&readers, &batch).await,
                () = stop.cancelled() => return self,
                _ = second.tick() => self.look(&readers),
            }
            if self.world.is_broken() {
                return self;
            }
        }
    }

    /// A server that starts shows what the last one showed.
    fn reopened(&mut self, entries: &[Arc<Entry>], revision: u64) {
        let now: BTreeMap<_, _> =
            entries.iter().map(|e| (e.service().key.to_string(), (e.service().id, shown(e)))).collect();
        if self.world.truth().run > 1 && (now != self.services || revision != self.revision) {
            let differs = now.iter().find(|(key, new)| self.services.get(*key) != Some(*new));
            let gone = self.services.keys().find(|key| !now.contains_key(*key));
            let was = differs.and_then(|(key, _)| self.services.get(key));
            self.world.broken("a restart changes nothing", format!("{differs:?} was {was:?}; gone: {gone:?}"));
        }
        self.revision = revision;
        self.services = now;
        self.holding = None;
        let at = self.world.now();
        for entry in entries {
            self.take_in(entry, at);
        }
    }

    fn take_in(&mut self, entry: &Entry, at: At) {
        let service = entry.service();
        let prefix = format!("{}#", service.key);
        self.views.retain(|place, _| place.strip_prefix(&prefix).is_none_or(|name| service.instance(name).is_some()));
        for instance in &service.instances {
            let place = format!("{prefix}{}", instance.name);
            let Some(aim) = aim_of(instance) else { continue };
            let before = self.views.get(&place).filter(|v| v.generation == instance.generation);
            let view = View {
                service: service.id,
                aim,
                generation: instance.generation,
                health: instance.health,
                reason: instance.reason,
                timing: instance.spec.check.timing.resolve(Duration::from_secs(30)),
                from: before.map_or(at, |view| view.from),
            };
            self.views.insert(place, view);
        }
    }

    async fn follow(&mut self, readers: &Readers, batch: &Batch) {
        let changes = batch.upserts.len() + batch.removed.len();
        let grown = batch.revision.saturating_sub(self.revision);
        if grown == 0 || usize::try_from(grown).is_ok_and(|grown| grown < changes) {
            let what = format!("{} to {} with {changes} changes", self.revision, batch.revision);
            self.world.broken("each change has a revision", what);
        }
        // Several changes of one service in one batch may undo each other.
        let single = usize::try_from(grown).is_ok_and(|grown| grown == changes);
        self.revision = batch.revision;
        for (key, id) in &batch.removed {
            let key = key.to_string();
            if self.services.get(&key).is_some_and(|(known, _)| known == id) {
                self.services.remove(&key);
                self.views.retain(|place, _| place.split_once('#').is_none_or(|(service, _)| service != key));
            }
        }
        let at = self.world.now();
        for entry in &batch.upserts {
            self.check_entry(entry, single);
            let before: BTreeMap<String, View> = self.views.clone();
            self.take_in(entry, at);
            // What was undone within a batch is in history alone.
            if !single || verdict_changed(entry, &before) {
                self.ask_history(readers, entry.service().id).await;
            }
        }
    }

    fn check_entry(&mut self, entry: &Entry, single: bool) {
        let (service, shown) = (entry.service(), shown(entry));
        let fold = health_of(service.instances.iter());
        if entry.health() != fold || shown["status"] != fold.as_str() {
            let what = format!("{} is {} and reads {}, not {fold}", service.key, entry.health(), shown["status"]);
            self.world.broken("a service's health is the fold of its instances'", what);
        }
        let (key, new) = (service.key.to_string(), (service.id, shown));
        if single && self.services.get(&key) == Some(&new) {
            self.world.broken("a revision grows only on what readers notice", format!("{key} is as it was"));
        }
        self.services.insert(key, new);
    }

    /// Takes in what history tells of a service since it was last asked.
    async fn ask_history(&mut self, readers: &Readers, service: Uuid) {
        let known = self.past.newest(&service);
        let (mut fresh, mut before): (Vec<HistoryEntry>, _) = (Vec::new(), None);
        loop {
            let query = HistoryQuery { service: ServiceRef::Id(service), instance: None, before, limit: 20 };
            let Ok(page) = readers.store.history(query).await else { return };
            let whole = page.entries.iter().any(|entry| entry.id <= known);
            fresh.extend(page.entries.into_iter().filter(|entry| entry.id > known));
            before = page.next;
            if whole || before.is_none() {
                break;
            }
        }
        fresh.reverse();
        let key = self.services.iter().find(|(_, (id, _))| *id == service).map(|(key, _)| key.clone());
        for entry in fresh {
            let view = key.as_ref().and_then(|key| self.views.get(&format!("{key}#{}", entry.instance)));
            if entry.event == HistoryEvent::Health {
                self.world.truth().transitions += 1;
            }
            self.past.take_in(&self.world, service, &entry, view);
        }
    }

    /// At the end: what history says of each instance is what readers see.
    pub(crate) async fn compare_with_history(&mut self, readers: &Readers) {
        for (place, view) in self.views.clone() {
            self.ask_history(readers, view.service).await;
            let (_, name) = place.split_once('#').expect("an instance");
            let last = self.past.last(&view.service, name);
            let recorded = last
                .map_or(Health::Unknown, |(health, aim)| if aim == Some(view.aim) { health } else { Health::Unknown });
            if recorded != view.health {
                self.world.broken(
                    "history ends where health is",
                    format!("{place}: {recorded}, but it reads {}", view.health),
                );
            }
        }
    }
}

/// The next batch; a simulation reads each at the moment that it comes.
async fn next(feed: &mut Feed) -> Arc<Batch> {
    match feed.next().await {
        Ok(batch) => batch,
        // The store is gone: whoever ends the run says stop.
        Err(_) => std::future::pending().await,
    }
}

fn verdict_changed(entry: &Entry, before: &BTreeMap<String, View>) -> bool {
    let service = entry.service();
    service.instances.iter().any(|instance| {
        let was = before.get(&format!("{}#{}", service.key, instance.name));
        was.is_some_and(|was| {
            was.generation == instance.generation && (was.health, was.reason) != (instance.health, instance.reason)
        }) || was.is_none_or(|was| was.generation != instance.generation) && instance.health != Health::Unknown
    })
}
