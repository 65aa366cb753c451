//! What the writer knows beyond the catalog, and the rules by which a change turns one state into the next.
//!
//! Pure: no I/O. A batch works on a clone, which is cheap, and throws it away when the commit fails.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::catalog::{Entry, LastCheck, Snapshot};
use crate::model::name::ServiceKey;
use crate::model::ports::WriteError;
use crate::model::service::{InstanceId, Replica, Service, Source};
use crate::model::time::UnixMs;

use super::gone::Gone;
use crate::store::schema::write::Write;

/// The bounds that a registration meets.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Limits {
    /// Most services registered over REST.
    pub(in crate::store) services: usize,
    /// Most instances.
    pub(in crate::store) instances: usize,
    /// Interval of a check that names none.
    pub(in crate::store) interval: Duration,
}

/// The state that a batch works on a copy of.
#[derive(Debug, Clone)]
pub(in crate::store) struct State {
    /// What readers will see.
    pub(in crate::store) snapshot: Snapshot,
    /// The last number given to a row, an instance or a generation.
    pub(in crate::store) serial: u64,
    /// Services registered over REST.
    pub(in crate::store) rest: usize,
    /// In cluster mode; none where the file is the record itself.
    pub(in crate::store) mirror: Option<Mirror>,
}

impl State {
    /// Nothing registered yet.
    pub(in crate::store) fn empty(snapshot: Snapshot, serial: u64, mirror: Option<Mirror>) -> Self {
        Self { snapshot, serial, rest: 0, mirror }
    }

    /// Whether it is the record itself, or has once mirrored all of it.
    pub(in crate::store) fn is_complete(&self) -> bool {
        self.mirror.as_ref().is_none_or(|mirror| mirror.complete)
    }

    /// Adds a service that the file holds.
    pub(in crate::store) fn adopt(&mut self, service: Service, last_check: LastCheck) {
        self.rest += usize::from(service.source == Source::Rest);
        self.snapshot.put(Arc::new(Entry::new(service, last_check)));
    }
}

/// What the writer of a mirror knows beyond the catalog.
#[derive(Debug, Clone)]
pub(in crate::store) struct Mirror {
    /// This process.
    pub(in crate::store) replica: Replica,
    /// Whether a finished list was ever taken in.
    pub(in crate::store) complete: bool,
    /// What was removed, so that older news of it brings nothing back.
    pub(in crate::store) gone: Gone,
}

impl Mirror {
    pub(in crate::store) fn new(complete: bool) -> Self {
        Self { replica: Replica::random(), complete, gone: Gone::default() }
    }
}

/// The store's own keys of what is committed. Not copied for a batch: it follows each commit.
#[derive(Default)]
pub(in crate::store) struct Index {
    places: HashMap<InstanceId, ServiceKey>,
    rows: HashMap<Uuid, i64>,
}

impl Index {
    /// Where the instance is, or was when the batch began.
    pub(in crate::store) fn place(&self, instance: InstanceId) -> Option<&ServiceKey> {
        self.places.get(&instance)
    }

    /// Takes a service in.
    pub(in crate::store) fn add(&mut self, service: &Service, row: i64) {
        self.rows.insert(service.id, row);
        self.places.extend(service.instances.iter().map(|instance| (instance.id, service.key.clone())));
    }

    /// Lets a service go.
    pub(in crate::store) fn drop(&mut self, service: &Service) -> Option<i64> {
        for instance in &service.instances {
            self.places.remove(&instance.id);
        }
        self.rows.remove(&service.id)
    }
}

/// A batch under way.
pub(in crate::store) struct Work<'a> {
    pub(in crate::store) state: State,
    pub(in crate::store) writes: Vec<Write>,
    /// Services touched, in order.
    pub(in crate::store) touched: Vec<ServiceKey>,
    pub(in crate::store) now: UnixMs,
    pub(in crate::store) limits: &'a Limits,
    pub(in crate::store) index: &'a Index,
    /// Rows of services that the batch adds.
    pub(in crate::store) added: HashMap<Uuid, i64>,
}

/// A batch that waits for its commit.
pub(in crate::store) struct Draft {
    pub(in crate::store) state: State,
    pub(in crate::store) writes: Vec<Write>,
    pub(in crate::store) touched: Vec<ServiceKey>,
    pub(in crate::store) now: UnixMs,
    pub(in crate::store) added: HashMap<Uuid, i64>,
}

impl<'a> Work<'a> {
    /// Starts from what is committed.
    pub(in crate::store) fn new(state: State, now: UnixMs, limits: &'a Limits, index: &'a Index) -> Self {
        Self { state, writes: Vec::new(), touched: Vec::new(), now, limits, index, added: HashMap::new() }
    }

    /// The service's row: every service of the snapshot has one.
    pub(in crate::store) fn row(&self, service: &Service) -> Result<i64, WriteError> {
        let row = self.index.rows.get(&service.id).or_else(|| self.added.get(&service.id));
        row.copied().ok_or(WriteError::ServiceNotFound)
    }

    /// Every change is in; what it stood on is free again.
    pub(in crate::store) fn finish(self) -> Draft {
        let Self { state, writes, touched, now, added, .. } = self;
        Draft { state, writes, touched, now, added }
    }

    /// The next number.
    pub(in crate::store) fn number(&mut self) -> u64 {
        self.state.serial += 1;
        self.state.serial
    }

    /// Makes `service` the current one and returns it: at a revision of its own, or at that of its object.
    pub(in crate::store) fn put(&mut self, mut service: Service, last_check: LastCheck) -> Arc<Service> {
        service.sequence = self.state.snapshot.sequence() + 1;
        if self.state.mirror.is_none() {
            service.revision = service.sequence;
            service.updated_at = self.now;
        }
        let entry = Arc::new(Entry::new(service, last_check));
        let service = Arc::clone(entry.service());
        self.state.snapshot.put(entry);
        self.moved(service.id, service.key.clone(), false);
        service
    }

    /// Removes the service.
    pub(in crate::store) fn remove(&mut self, row: i64, service: &Service) {
        self.state.snapshot.remove(&service.key);
        self.state.rest -= usize::from(service.source == Source::Rest);
        self.writes.push(Write::DropService(row));
        self.moved(service.id, service.key.clone(), true);
    }

    /// Each change has a sequence of its own. Where the file is the record that is its revision too; a mirror's revisions are given
    /// by the objects.
    fn moved(&mut self, id: Uuid, key: ServiceKey, deleted: bool) {
        let snapshot = &mut self.state.snapshot;
        let sequence = snapshot.sequence() + 1;
        self.touched.push(key.clone());
        if self.state.mirror.is_some() {
            snapshot.advance(snapshot.revision(), sequence);
            if deleted {
                snapshot.note_gone(sequence, key, id);
            }
        } else {
            snapshot.advance(sequence, sequence);
            self.writes.push(Write::Change(sequence, id, key, deleted));
        }
    }
}
