//! What the writer knows beyond the catalog, and the batch that turns one state into the next.
//!
//! Pure: no I/O. A batch works on a clone, which is cheap and is thrown away if the commit fails.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::catalog::{Entry, LastCheck, Snapshot};
use crate::model::acknowledging;
use crate::model::availability::Standing;
use crate::model::name::ServiceKey;
use crate::model::ports::WriteError;
use crate::model::replica::Replica;
use crate::model::service::{InstanceId, Service, Source};
use crate::model::time::UnixMs;
use crate::model::tombstones::Tombstones;

use super::status_acknowledgements::StatusAcknowledgements;
use crate::store::schema::write::Write;

/// Removals that a mirror remembers. Late news is late by moments, so more of them never matter.
const TOMBSTONES: usize = 16_384;

/// The spans that last by the record: the number and standing of each service, with an empty name, and instance.
pub(crate) type OpenSpans = HashMap<(Uuid, String), (i64, Standing)>;

/// The bounds on registrations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most services registered over REST.
    pub(crate) services: usize,
    /// Most instances.
    pub(crate) instances: usize,
    /// Interval of a check without one.
    pub(crate) interval: Duration,
}

/// The state; each batch works on a copy.
#[derive(Debug, Clone)]
pub(crate) struct State {
    /// What readers will see after the commit.
    pub(crate) snapshot: Snapshot,
    /// The last number given to a row, an instance or a generation.
    pub(crate) serial: u64,
    /// Services registered over REST.
    pub(crate) rest: usize,
    /// In cluster mode; none if the file is the record itself.
    pub(crate) mirror: Option<Mirror>,
}

impl State {
    /// Without services.
    pub(crate) fn empty(snapshot: Snapshot, serial: u64, mirror: Option<Mirror>) -> Self {
        Self { snapshot, serial, rest: 0, mirror }
    }

    /// Whether it is the record itself, or a mirror that has ever held everything.
    pub(crate) fn is_complete(&self) -> bool {
        self.mirror.as_ref().is_none_or(|mirror| mirror.complete)
    }

    /// Adds a service from the file.
    pub(crate) fn adopt(&mut self, service: Service, last_check: LastCheck) {
        self.rest += usize::from(service.source == Source::Rest);
        self.snapshot.put(Arc::new(Entry::new(service, last_check)));
    }
}

/// What the writer of a mirror knows beyond the catalog.
#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    /// This process.
    pub(crate) replica: Replica,
    /// Whether a finished list was ever applied.
    pub(crate) complete: bool,
    /// Removals, so that older news brings nothing back.
    pub(crate) tombstones: Tombstones<ServiceKey>,
    /// Acknowledgements, so that an older status brings none back.
    pub(super) acknowledgements: StatusAcknowledgements,
}

impl Mirror {
    pub(crate) fn new(complete: bool) -> Self {
        let (tombstones, acknowledgements) = (Tombstones::new(TOMBSTONES), StatusAcknowledgements::default());
        Self { replica: Replica::random(), complete, tombstones, acknowledgements }
    }
}

/// The store's own keys of what is committed. Not copied for a batch: it is updated after each commit.
#[derive(Default)]
pub(crate) struct Index {
    services: HashMap<InstanceId, ServiceKey>,
    rows: HashMap<Uuid, i64>,
}

impl Index {
    /// The service of an instance, as of the last commit.
    pub(crate) fn service_of(&self, instance: InstanceId) -> Option<&ServiceKey> {
        self.services.get(&instance)
    }

    /// Adds a service.
    pub(crate) fn add(&mut self, service: &Service, row: i64) {
        self.rows.insert(service.id, row);
        self.services.extend(service.instances.iter().map(|instance| (instance.id, service.key.clone())));
    }

    /// Removes a service, and returns its row.
    pub(crate) fn drop(&mut self, service: &Service) -> Option<i64> {
        for instance in &service.instances {
            self.services.remove(&instance.id);
        }
        self.rows.remove(&service.id)
    }
}

/// A batch in progress.
pub(crate) struct Work<'a> {
    pub(crate) state: State,
    pub(crate) writes: Vec<Write>,
    /// Services that changed, in order.
    pub(crate) touched: Vec<ServiceKey>,
    pub(crate) now: UnixMs,
    pub(crate) limits: &'a Limits,
    pub(crate) index: &'a Index,
    /// Rows of services that the batch created.
    pub(crate) added: HashMap<Uuid, i64>,
}

/// A batch that waits for its commit.
pub(crate) struct Draft {
    pub(crate) state: State,
    pub(crate) writes: Vec<Write>,
    pub(crate) touched: Vec<ServiceKey>,
    pub(crate) now: UnixMs,
    pub(crate) added: HashMap<Uuid, i64>,
}

impl<'a> Work<'a> {
    /// Starts from the committed state.
    pub(crate) fn new(state: State, now: UnixMs, limits: &'a Limits, index: &'a Index) -> Self {
        Self { state, writes: Vec::new(), touched: Vec::new(), now, limits, index, added: HashMap::new() }
    }

    /// The service's row; every service of the snapshot has one.
    pub(crate) fn row(&self, service: &Service) -> Result<i64, WriteError> {
        let row = self.index.rows.get(&service.id).or_else(|| self.added.get(&service.id));
        row.copied().ok_or(WriteError::ServiceNotFound)
    }

    /// Ends the batch and gives up its borrows.
    pub(crate) fn finish(self) -> Draft {
        let Self { state, writes, touched, now, added, .. } = self;
        Draft { state, writes, touched, now, added }
    }

    /// The next number.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.state.serial += 1;
        self.state.serial
    }

    /// Makes `service` the current one, at a new revision, or in a mirror at its object's, and returns it.
    /// Acknowledgements that no longer apply end with that.
    pub(crate) fn put(&mut self, mut service: Service, last_check: LastCheck) -> Arc<Service> {
        let known = self.state.snapshot.get(service.key.as_str()).cloned();
        let old = known.as_ref().map(|known| Arc::clone(known.service()));
        let ended = old.as_deref().map(|old| acknowledging::settle(old, &mut service)).unwrap_or_default();
        service.sequence = self.state.snapshot.sequence() + 1;
        if self.state.mirror.is_none() {
            service.revision = service.sequence;
            service.updated_at = self.now;
        }
        let mut entry = Entry::new(service, last_check);
        if let Some(known) = &known {
            entry = entry.following(known);
        }
        let entry = Arc::new(entry);
        let service = Arc::clone(entry.service());
        self.record(old.as_deref(), &service);
        self.state.snapshot.put(entry);
        self.moved(service.id, service.key.clone(), false);
        if let Some(old) = old {
            self.note_acknowledgements(&old, &service, &ended);
        }
        service
    }

    /// Removes a service.
    pub(crate) fn remove(&mut self, row: i64, service: &Service) {
        self.state.snapshot.remove(&service.key);
        self.state.rest -= usize::from(service.source == Source::Rest);
        self.writes.push(Write::DropService(row));
        if self.state.mirror.is_some() {
            self.note_departure(service);
        }
        self.writes.push(Write::EndSpans(service.id, self.now));
        self.moved(service.id, service.key.clone(), true);
    }

    /// Gives each change a sequence of its own. In the record that is its revision too; a mirror's revisions come from the objects.
    fn moved(&mut self, id: Uuid, key: ServiceKey, deleted: bool) {
        let snapshot = &mut self.state.snapshot;
        let sequence = snapshot.sequence() + 1;
        self.touched.push(key.clone());
        if self.state.mirror.is_some() {
            snapshot.advance(snapshot.revision(), sequence);
            if deleted {
                snapshot.note_removal(sequence, key, id);
            }
        } else {
            snapshot.advance(sequence, sequence);
            self.writes.push(Write::Change(sequence, id, key, deleted));
        }
    }
}
