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
use crate::model::service::{InstanceId, Service, Source};
use crate::model::time::UnixMs;

use super::job::{EncodedProbe, Past, SpecColumns};
use super::mirror::Mirror;
use super::quarantine::{BadRow, Table};

/// The bounds that a registration meets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Most services registered over REST.
    pub(super) services: usize,
    /// Most instances.
    pub(super) instances: usize,
    /// Interval of a check that names none.
    pub(super) interval: Duration,
}

/// The state that a batch works on a copy of.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// What readers will see.
    pub(super) snapshot: Snapshot,
    /// The last number given to a row, an instance or a generation.
    pub(super) serial: u64,
    /// Services registered over REST.
    pub(super) rest: usize,
    /// In cluster mode; none where the file is the record itself.
    pub(super) mirror: Option<Mirror>,
}

impl State {
    /// Nothing registered yet.
    pub(super) fn empty(snapshot: Snapshot, serial: u64, mirror: Option<Mirror>) -> Self {
        Self { snapshot, serial, rest: 0, mirror }
    }

    /// Whether it is the record itself, or has once mirrored all of it.
    pub(super) fn is_complete(&self) -> bool {
        self.mirror.as_ref().is_none_or(|mirror| mirror.complete)
    }

    /// Adds a service that the file holds.
    pub(super) fn adopt(&mut self, service: Service, last_check: LastCheck) {
        self.rest += usize::from(service.source == Source::Rest);
        self.snapshot.put(Arc::new(Entry::new(service, last_check)));
    }
}

/// The store's own keys of what is committed. Not copied for a batch: it follows each commit.
#[derive(Default)]
pub(super) struct Index {
    places: HashMap<InstanceId, ServiceKey>,
    rows: HashMap<Uuid, i64>,
}

impl Index {
    /// Where the instance is, or was when the batch began.
    pub(super) fn place(&self, instance: InstanceId) -> Option<&ServiceKey> {
        self.places.get(&instance)
    }

    /// Takes a service in.
    pub(super) fn add(&mut self, service: &Service, row: i64) {
        self.rows.insert(service.id, row);
        self.places.extend(service.instances.iter().map(|instance| (instance.id, service.key.clone())));
    }

    /// Lets a service go.
    pub(super) fn drop(&mut self, service: &Service) -> Option<i64> {
        for instance in &service.instances {
            self.places.remove(&instance.id);
        }
        self.rows.remove(&service.id)
    }
}

/// One thing to write to the file.
pub(super) enum Write {
    /// A new service.
    AddService(i64, Arc<Service>),
    /// A service's revision and time moved.
    Touch(i64, Arc<Service>),
    /// A new instance, the one of that id.
    AddInstance(i64, Arc<Service>, InstanceId, SpecColumns),
    /// An instance's content changed.
    PutInstance(Arc<Service>, InstanceId, SpecColumns),
    /// An instance's health changed, with its check's state.
    PutHealth(Arc<Service>, InstanceId, String),
    /// The check's state alone.
    PutState(InstanceId, u64, String),
    /// What probing left behind.
    PutProbe(EncodedProbe),
    /// An instance is gone.
    DropInstance(InstanceId),
    /// A service is gone, with its instances.
    DropService(i64),
    /// History.
    Remember(Past),
    /// A revision.
    Change(u64, Uuid, ServiceKey, bool),
    /// The mirror holds all.
    Complete,
    /// A row cannot be read.
    Quarantine(BadRow, UnixMs),
}

impl Write {
    /// Whether it adds a row of history.
    pub(super) fn is_history(&self) -> bool {
        matches!(self, Self::Remember(_))
    }

    /// The revision up to which `change` tells no more: it has a gap there.
    pub(super) fn forgets(&self) -> Option<u64> {
        match self {
            Self::Quarantine(bad, _) if bad.table == Table::Change => u64::try_from(bad.row).ok(),
            _ => None,
        }
    }
}

/// A batch under way.
pub(super) struct Work<'a> {
    pub(super) state: State,
    pub(super) writes: Vec<Write>,
    /// Services touched, in order.
    pub(super) touched: Vec<ServiceKey>,
    pub(super) now: UnixMs,
    pub(super) limits: &'a Limits,
    pub(super) index: &'a Index,
    /// Rows of services that the batch adds.
    pub(super) added: HashMap<Uuid, i64>,
}

/// A batch that waits for its commit.
pub(super) struct Draft {
    pub(super) state: State,
    pub(super) writes: Vec<Write>,
    pub(super) touched: Vec<ServiceKey>,
    pub(super) now: UnixMs,
    pub(super) added: HashMap<Uuid, i64>,
}

impl<'a> Work<'a> {
    /// Starts from what is committed.
    pub(super) fn new(state: State, now: UnixMs, limits: &'a Limits, index: &'a Index) -> Self {
        Self { state, writes: Vec::new(), touched: Vec::new(), now, limits, index, added: HashMap::new() }
    }

    /// The service's row: every service of the snapshot has one.
    pub(super) fn row(&self, service: &Service) -> Result<i64, WriteError> {
        let row = self.index.rows.get(&service.id).or_else(|| self.added.get(&service.id));
        row.copied().ok_or(WriteError::ServiceNotFound)
    }

    /// Every change is in; what it stood on is free again.
    pub(super) fn finish(self) -> Draft {
        let Self { state, writes, touched, now, added, .. } = self;
        Draft { state, writes, touched, now, added }
    }

    /// The next number.
    pub(super) fn number(&mut self) -> u64 {
        self.state.serial += 1;
        self.state.serial
    }

    /// Makes `service` the current one and returns it: at a revision of its own, or at that of its object.
    pub(super) fn put(&mut self, mut service: Service, last_check: LastCheck) -> Arc<Service> {
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
    pub(super) fn remove(&mut self, row: i64, service: &Service) {
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
