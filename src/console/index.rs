//! Every service that the console knows, and the filtered, sorted list of those that are shown.
//!
//! A service that changes is moved in the list by itself. The whole list is sorted again, at most once a frame, only when the query changes,
//! when a filter depends on time, or when many services change at once.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::columns::{Column, Row};
use super::data::Service;
use super::filter::{Facts, Filter};
use super::status::Status;
use crate::model::time::UnixMs;

/// Most changes of health that the overview remembers.
const MAX_RECENT: usize = 64;
/// Most changes at once that are moved one by one; beyond that, sorting everything is cheaper.
const MAX_MOVES: usize = 256;

/// What decides which services are listed, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    /// One namespace; none for all.
    pub namespace: Option<Box<str>>,
    /// The filter.
    pub filter: Filter,
    /// Only services with a fault.
    pub faults_only: bool,
    /// The order.
    pub sort: Column,
    /// Whether the order is reversed.
    pub inverted: bool,
}

/// Number of services by status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Wholly healthy.
    pub healthy: usize,
    /// Usable, but an instance is down.
    pub degraded: usize,
    /// Down.
    pub unhealthy: usize,
    /// Not proved.
    pub unknown: usize,
    /// Without a check.
    pub not_checked: usize,
    /// Instances of all.
    pub instances: usize,
}

impl Totals {
    /// All services.
    pub fn services(&self) -> usize {
        self.healthy + self.degraded + self.unhealthy + self.unknown + self.not_checked
    }

    fn slot(&mut self, status: Status) -> &mut usize {
        match status {
            Status::Down => &mut self.unhealthy,
            Status::Degraded => &mut self.degraded,
            Status::Unknown => &mut self.unknown,
            Status::NotChecked => &mut self.not_checked,
            Status::Healthy => &mut self.healthy,
        }
    }
}

/// A recent change of the overview.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When the console learned of it.
    pub at: UnixMs,
    /// Which service.
    pub id: Uuid,
    /// `namespace/name`.
    pub key: Box<str>,
    /// Before; none when the service is new.
    pub from: Option<Status>,
    /// After; none when the service was removed.
    pub to: Option<Status>,
    /// The reason after.
    pub reason: Box<str>,
}

/// All services and the list of those that are shown.
#[derive(Debug, Clone, Default)]
pub struct Index {
    services: HashMap<Uuid, Arc<Service>>,
    latency: HashMap<Uuid, Duration>,
    namespaces: BTreeMap<Box<str>, Totals>,
    recent: VecDeque<Change>,
    query: Query,
    shown: Vec<Uuid>,
    totals: Totals,
    stale: bool,
    version: u64,
}

impl Index {
    /// Replaces all services.
    pub fn replace(&mut self, services: Vec<Service>, now: UnixMs) {
        let first = self.services.is_empty() && self.version == 0;
        let before = std::mem::take(&mut self.services);
        self.namespaces.clear();
        self.totals = Totals::default();
        self.services.reserve(services.len());
        for service in services {
            let old = before.get(&service.id);
            if !first {
                self.remember(old.map(|old| &**old), Some(&service), now);
            }
            self.count(&service, true);
            self.services.insert(service.id, Arc::new(service));
        }
        for (id, gone) in before {
            if !self.services.contains_key(&id) {
                self.remember(Some(&gone), None, now);
            }
        }
        self.latency.retain(|id, _| self.services.contains_key(id));
        self.stale = true;
        self.version += 1;
    }

    /// Takes in changes.
    pub fn apply(&mut self, upserts: Vec<Service>, removed: &[Uuid], now: UnixMs) {
        self.stale |= upserts.len() + removed.len() > MAX_MOVES;
        for id in removed {
            if let Some(gone) = self.services.get(id).cloned() {
                self.unlist(&gone);
                self.services.remove(id);
                self.count(&gone, false);
                self.latency.remove(id);
                self.remember(Some(&gone), None, now);
            }
        }
        for service in upserts {
            self.upsert(Arc::new(service), now);
        }
        self.version += 1;
    }

    fn upsert(&mut self, service: Arc<Service>, now: UnixMs) {
        let old = self.services.get(&service.id).cloned();
        if let Some(old) = &old {
            self.count(old, false);
        }
        self.remember(old.as_deref(), Some(&service), now);
        self.count(&service, true);
        let matched = old.as_ref().is_some_and(|old| self.matches_query(old, now));
        let matches_query = self.matches_query(&service, now);
        let stays = old.as_ref().is_some_and(|old| self.order(&self.row(old), &self.row(&service)).is_eq());
        if matched != matches_query || !stays {
            if let Some(old) = &old {
                self.unlist(old);
            }
            if matches_query {
                self.list(&service);
            }
        }
        self.services.insert(service.id, service);
    }

    /// Takes a service out of the list, if it is listed. It is still known as it was.
    fn unlist(&mut self, old: &Service) {
        if let (false, Ok(at)) = (self.stale, self.search(old)) {
            self.shown.remove(at);
        }
    }

    /// Puts a service into the list. Every listed service is known as it is listed.
    fn list(&mut self, new: &Service) {
        if let (false, Err(at)) = (self.stale, self.search(new)) {
            self.shown.insert(at, new.id);
        }
    }

    /// Where a service is in the list, or would be.
    fn search(&self, service: &Service) -> Result<usize, usize> {
        let row = self.row(service);
        self.shown.binary_search_by(|id| match self.services.get(id) {
            Some(listed) => self.order(&self.row(listed), &row),
            None => Ordering::Less,
        })
    }

    /// Notes a service's median latency.
    pub fn note_latency(&mut self, id: Uuid, p50: Option<Duration>) {
        let changed = match p50 {
            Some(p50) => self.latency.insert(id, p50) != Some(p50),
            None => self.latency.remove(&id).is_some(),
        };
        if changed && (self.query.sort == Column::P50 || self.query.filter.uses_latency()) {
            self.stale = true;
        }
    }

    /// A service's median latency, where it is known.
    pub fn latency(&self, id: &Uuid) -> Option<Duration> {
        self.latency.get(id).copied()
    }

    /// What is listed.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Changes what is listed.
    pub fn set_query(&mut self, query: Query) {
        if self.query != query {
            self.query = query;
            self.stale = true;
        }
    }

    /// Time passed: a filter that depends on time is applied again at the next refresh.
    pub fn time_passed(&mut self) {
        self.stale = true;
    }

    /// Brings the list up to date. Called once before a frame.
    pub fn refresh(&mut self, now: UnixMs) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let wanted = self.services.values().filter(|s| self.matches_query(s, now));
        let mut rows: Vec<Row<'_>> = wanted.map(|s| self.row(s)).collect();
        rows.sort_unstable_by(|a, b| self.order(a, b));
        self.shown = rows.into_iter().map(|row| row.service.id).collect();
    }

    fn matches_query(&self, service: &Service, now: UnixMs) -> bool {
        let query = &self.query;
        query.namespace.as_ref().is_none_or(|namespace| *namespace == service.namespace)
            && (!query.faults_only || service.is_faulty())
            && query.filter.matches(service, Facts { p50: self.latency(&service.id), now })
    }

    fn row<'a>(&'a self, service: &'a Service) -> Row<'a> {
        Row::new(service, &self.latency)
    }

    /// A total order: no two services are equal.
    fn order(&self, left: &Row<'_>, right: &Row<'_>) -> Ordering {
        let order = self.query.sort.order().map_or(Ordering::Equal, |order| (order.compare)(left, right));
        let order = if self.query.inverted { order.reverse() } else { order };
        let (a, b) = (left.service, right.service);
        order.then_with(|| (&a.namespace, &a.name, a.id).cmp(&(&b.namespace, &b.name, b.id)))
    }

    /// The services that are shown, in order, as of the last [`Index::refresh`].
    pub fn shown(&self) -> &[Uuid] {
        &self.shown
    }

    /// Position of a service in the list.
    pub fn position(&self, id: &Uuid) -> Option<usize> {
        self.shown.iter().position(|shown| shown == id)
    }

    /// A service.
    pub fn get(&self, id: &Uuid) -> Option<&Arc<Service>> {
        self.services.get(id)
    }

    /// Up to `count` ids from `from` on in arbitrary order, to visit all of them step by step.
    pub fn some(&self, from: usize, count: usize) -> Vec<Uuid> {
        self.services.keys().skip(from).take(count).copied().collect()
    }

    /// How many there are in all namespaces.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// How many there are in the query's namespace, or in all.
    pub fn totals_here(&self) -> Totals {
        match &self.query.namespace {
            None => self.totals,
            Some(namespace) => self.namespaces.get(namespace).copied().unwrap_or_default(),
        }
    }

    /// Every namespace, in order.
    pub fn namespaces(&self) -> impl Iterator<Item = (&str, Totals)> {
        self.namespaces.iter().map(|(name, totals)| (&**name, *totals))
    }

    /// Recent changes, newest first.
    pub fn recent(&self) -> impl Iterator<Item = &Change> {
        self.recent.iter()
    }

    /// Grows with every change, so that a frame can be skipped when nothing changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    fn count(&mut self, service: &Service, more: bool) {
        let (status, instances) = (Status::of(service), service.instances.len());
        let add = |totals: &mut Totals| {
            let slot = totals.slot(status);
            *slot = if more { *slot + 1 } else { slot.saturating_sub(1) };
            totals.instances =
                if more { totals.instances + instances } else { totals.instances.saturating_sub(instances) };
        };
        add(&mut self.totals);
        let here = self.namespaces.entry(service.namespace.clone()).or_default();
        add(here);
        if here.services() == 0 {
            self.namespaces.remove(&service.namespace);
        }
    }

    fn remember(&mut self, old: Option<&Service>, new: Option<&Service>, now: UnixMs) {
        let (from, to) = (old.map(Status::of), new.map(Status::of));
        let Some(service) = new.or(old).filter(|_| from != to) else { return };
        self.recent.truncate(MAX_RECENT - 1);
        self.recent.push_front(Change {
            at: now,
            id: service.id,
            key: format!("{}/{}", service.namespace, service.name).into(),
            from,
            to,
            reason: new.map_or_else(|| "Removed".into(), |new| new.why().into()),
        });
    }
}
