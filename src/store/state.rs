//! What the writer knows beyond the catalog, and the rules by which a change turns one state into the next.
//!
//! Pure: no I/O. A batch works on a clone, which is cheap, and throws it away when the commit fails.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::catalog::{Entry, LastCheck, Snapshot};
use crate::model::name::ServiceKey;
use crate::model::service::{InstanceId, Service, Source};
use crate::model::time::UnixMs;

use super::job::{EncodedProbe, Past, SpecColumns};

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

/// The working state: the next snapshot, and the store's own keys.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// What readers will see.
    pub(super) snapshot: Snapshot,
    /// Where each instance is.
    pub(super) places: imbl::HashMap<InstanceId, ServiceKey>,
    /// Each service's row.
    pub(super) rows: imbl::HashMap<ServiceKey, i64>,
    /// The last number given to a row, an instance or a generation.
    pub(super) serial: u64,
    /// Services registered over REST.
    pub(super) rest: usize,
}

impl State {
    /// Nothing registered yet.
    pub(super) fn empty(snapshot: Snapshot, serial: u64) -> Self {
        Self { snapshot, places: imbl::HashMap::new(), rows: imbl::HashMap::new(), serial, rest: 0 }
    }

    /// Adds a service that the file holds.
    pub(super) fn adopt(&mut self, row: i64, service: Service, last_check: LastCheck) {
        for instance in &service.instances {
            self.places.insert(instance.id, service.key.clone());
        }
        self.rows.insert(service.key.clone(), row);
        self.rest += usize::from(service.source == Source::Rest);
        self.snapshot.put(Arc::new(Entry::new(service, last_check)));
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
}

impl Write {
    /// Whether it adds a row of history.
    pub(super) fn is_history(&self) -> bool {
        matches!(self, Self::Remember(_))
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
}

impl<'a> Work<'a> {
    /// Starts from what is committed.
    pub(super) fn new(state: State, now: UnixMs, limits: &'a Limits) -> Self {
        Self { state, writes: Vec::new(), touched: Vec::new(), now, limits }
    }

    /// The next number.
    pub(super) fn number(&mut self) -> u64 {
        self.state.serial += 1;
        self.state.serial
    }

    /// Makes `service` the current one, at a revision of its own, and returns it.
    pub(super) fn put(&mut self, mut service: Service, last_check: LastCheck) -> Arc<Service> {
        let revision = self.state.snapshot.revision() + 1;
        service.revision = revision;
        service.updated_at = self.now;
        let entry = Arc::new(Entry::new(service, last_check));
        let service = Arc::clone(entry.service());
        self.state.snapshot.put(entry);
        self.moved(revision, service.id, service.key.clone(), false);
        service
    }

    /// Removes the service, at a revision of its own.
    pub(super) fn remove(&mut self, service: &Service) {
        self.state.snapshot.remove(&service.key);
        self.state.rest -= usize::from(service.source == Source::Rest);
        if let Some(row) = self.state.rows.remove(&service.key) {
            self.writes.push(Write::DropService(row));
        }
        self.moved(self.state.snapshot.revision() + 1, service.id, service.key.clone(), true);
    }

    fn moved(&mut self, revision: u64, id: Uuid, key: ServiceKey, deleted: bool) {
        self.state.snapshot.set_revision(revision);
        self.touched.push(key.clone());
        self.writes.push(Write::Change(revision, id, key, deleted));
    }
}
