//! Every service that the console knows, and the filtered, sorted list of those that are shown.
//!
//! A service that changes is moved in the list by itself. The whole list is sorted again, at most once a frame, only when the query changes,
//! when a filter depends on time, or when many services change at once.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::columns::{Column, Measured, Row};
use super::data::{HistoryEntry, Outage, Service};
use super::filter::{Facts, Filter};
use super::latency::Took;
use super::recent::{Change, Recent};
use super::status::Status;
use crate::model::time::UnixMs;

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

impl Query {
    /// Whether the list depends on what probes measure, which is not always known.
    pub fn uses_probing(&self) -> bool {
        matches!(self.sort, Column::P50 | Column::P99 | Column::Certificate) || self.filter.uses_probing()
    }
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
    /// Those of them that somebody knows about.
    pub acknowledged: usize,
    /// Usable, but drained.
    pub drained: usize,
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
        self.healthy + self.degraded + self.unhealthy + self.drained + self.unknown + self.not_checked
    }

    fn slot(&mut self, status: Status) -> &mut usize {
        match status {
            Status::Down => &mut self.unhealthy,
            Status::Degraded => &mut self.degraded,
            Status::Drained => &mut self.drained,
            Status::Unknown => &mut self.unknown,
            Status::NotChecked => &mut self.not_checked,
            Status::Healthy | Status::Slow => &mut self.healthy,
        }
    }
}

/// All services and the list of those that are shown.
#[derive(Debug, Clone, Default)]
pub struct Index {
    services: HashMap<Uuid, Arc<Service>>,
    measured: Measured,
    namespaces: BTreeMap<Box<str>, Totals>,
    recent: Recent,
    query: Query,
    shown: Vec<Uuid>,
    hidden: usize,
    totals: Totals,
    stale: bool,
    version: u64,
    faults: u64,
    arranged: u64,
    fallen: u64,
}

impl Index {
    /// Replaces all services.
    pub fn replace(&mut self, services: Vec<Service>, now: UnixMs) {
        let first = self.services.is_empty() && self.version == 0;
        if first {
            self.recent.seed_registered(&services, now);
        }
        let before = std::mem::take(&mut self.services);
        self.namespaces.clear();
        self.totals = Totals::default();
        self.services.reserve(services.len());
        for service in services {
            let old = before.get(&service.id);
            if !first {
                self.recent.compare(old.map(|old| &**old), Some(&service), now);
                self.fallen += u64::from(falls(old.map(|old| &**old), &service));
            }
            self.count(&service, true);
            self.services.insert(service.id, Arc::new(service));
        }
        for (id, gone) in before {
            if !self.services.contains_key(&id) {
                self.recent.compare(Some(&gone), None, now);
            }
        }
        self.measured.latency.retain(|id, _| self.services.contains_key(id));
        self.measured.certificates.retain(|id, _| self.services.contains_key(id));
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
                self.measured.latency.remove(id);
                self.measured.certificates.remove(id);
                self.recent.compare(Some(&gone), None, now);
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
        self.recent.compare(old.as_deref(), Some(&service), now);
        self.fallen += u64::from(falls(old.as_deref(), &service));
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
            self.arranged += 1;
        }
    }

    /// Puts a service into the list. Every listed service is known as it is listed.
    fn list(&mut self, new: &Service) {
        if let (false, Err(at)) = (self.stale, self.search(new)) {
            self.shown.insert(at, new.id);
            self.arranged += 1;
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

    /// Notes how long a service's probes take, and when its first certificate expires.
    pub fn note_probing(&mut self, id: Uuid, took: Took, certificate: Option<UnixMs>) {
        let is_slow = |index: &Self| index.services.get(&id).map(|service| index.measured.status(service));
        let before = is_slow(self);
        let differs = if took.is_unknown() {
            self.measured.latency.remove(&id).is_some()
        } else {
            let differs = self.measured.latency.get(&id) != Some(&took);
            self.measured.latency.insert(id, took);
            differs
        };
        let shows = match certificate {
            Some(expires) => self.measured.certificates.insert(id, expires) != Some(expires),
            None => self.measured.certificates.remove(&id).is_some(),
        };
        if (differs || shows) && self.query.uses_probing() || is_slow(self) != before {
            self.stale = true;
            self.version += 1;
        }
    }

    /// Sets the 99th percentile above which a healthy service is slow.
    pub fn set_slow(&mut self, slow: Option<Duration>) {
        self.measured.slow = slow;
        self.stale = true;
    }

    /// What probes measured.
    pub fn measured(&self) -> &Measured {
        &self.measured
    }

    /// Grows when a service that was not down is down.
    pub fn fallen(&self) -> u64 {
        self.fallen
    }

    /// Grows whenever the list may have another order or other services.
    pub fn arranged(&self) -> u64 {
        self.arranged
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
        self.arranged += 1;
        let wanted = self.services.values().filter(|s| self.matches_filter(s, now));
        let mut hidden = 0;
        let mut rows: Vec<Row<'_>> = Vec::new();
        for service in wanted {
            if self.query.faults_only && !service.is_faulty() {
                hidden += 1;
            } else {
                rows.push(self.row(service));
            }
        }
        rows.sort_unstable_by(|a, b| self.order(a, b));
        self.shown = rows.into_iter().map(|row| row.service.id).collect();
        self.hidden = hidden;
    }

    /// How many match but are hidden, since only faults are listed; as of the last time that the whole list was made.
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    fn matches_query(&self, service: &Service, now: UnixMs) -> bool {
        (!self.query.faults_only || service.is_faulty()) && self.matches_filter(service, now)
    }

    fn matches_filter(&self, service: &Service, now: UnixMs) -> bool {
        let query = &self.query;
        query.namespace.as_ref().is_none_or(|namespace| *namespace == service.namespace)
            && query.filter.matches(service, self.facts(service, now))
    }

    fn facts(&self, service: &Service, now: UnixMs) -> Facts {
        let Measured { certificates, slow, .. } = &self.measured;
        let certificate = certificates.get(&service.id).copied();
        Facts { latency: self.measured.latency_of(service), certificate, slow: *slow, now }
    }

    /// Whether an outage is listed: that of a service that is listed, and without a filter also that of a removed one.
    pub fn lists_outage(&self, outage: &Outage, now: UnixMs) -> bool {
        if let Some(service) = self.services.get(&outage.service) {
            return self.matches_query(service, now);
        }
        let here = self.query.namespace.as_ref().is_none_or(|namespace| *namespace == outage.namespace);
        here && self.query.filter.is_empty() && !self.query.faults_only
    }

    fn row<'a>(&'a self, service: &'a Service) -> Row<'a> {
        Row::new(service, &self.measured, self.query.sort)
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

    /// What changed lately in the query's namespace, newest first.
    pub fn recent(&self) -> impl Iterator<Item = &Change> {
        let here = |change: &&Change| {
            let namespace = change.key.split_once('/').map_or("", |(namespace, _)| namespace);
            self.query.namespace.as_ref().is_none_or(|wanted| **wanted == *namespace)
        };
        self.recent.iter().filter(here)
    }

    /// Takes in a page of a service's history, newest first.
    pub fn seed_recent(&mut self, id: &Uuid, entries: &[HistoryEntry]) {
        if let Some(service) = self.services.get(id) {
            self.recent.seed(service, entries);
            self.version += 1;
        }
    }

    /// Up to `count` services, those that changed last first.
    pub fn changed_last(&self, count: usize) -> Vec<Uuid> {
        let mut all: Vec<(Option<UnixMs>, Uuid)> = self.services.values().map(|s| (s.updated_at, s.id)).collect();
        let count = count.min(all.len());
        if count < all.len() {
            all.select_nth_unstable_by(count, |a, b| b.cmp(a));
        }
        all.truncate(count);
        all.into_iter().map(|(_, id)| id).collect()
    }

    /// Every service, in arbitrary order.
    pub fn services(&self) -> impl Iterator<Item = &Service> + Clone {
        self.services.values().map(|service| &**service)
    }

    /// Grows whenever a service that has a fault, or had one, changed.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// Grows with every change, so that a frame can be skipped when nothing changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    fn count(&mut self, service: &Service, more: bool) {
        let (status, instances) = (Status::of(service), service.instances.len());
        self.faults += u64::from(matches!(status, Status::Down | Status::Degraded));
        let add = |totals: &mut Totals| {
            let slot = totals.slot(status);
            *slot = if more { *slot + 1 } else { slot.saturating_sub(1) };
            let known = usize::from(status == Status::Down && service.is_acknowledged());
            totals.acknowledged =
                if more { totals.acknowledged + known } else { totals.acknowledged.saturating_sub(known) };
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
}

/// Whether a known service goes down.
fn falls(old: Option<&Service>, new: &Service) -> bool {
    old.is_some_and(|old| Status::of(old) != Status::Down) && Status::of(new) == Status::Down
}
