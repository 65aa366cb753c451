//! What is checked: the [`Checks`] of each instance, found by id or by service.
//!
//! - In: the catalog's entries (`engine/follow.rs`), and the rows that the store kept of earlier probing.
//! - Out: what the other parts need of one check: when it is due, its priority in the queue, the row to store; and what the checks of an
//!   instance add up to.
//!
//! Read the files in this order: `tracked` (one check), `checks` (those of one instance), `restore` (what a check begins with), `notes` (warnings and the
//! observed version), `interval` (a check's regular due moments), `lane` (its priority in the queue), `samples` (its newest probes, packed).

mod checks;
pub(crate) mod interval;
mod lane;
mod notes;
mod restore;
mod samples;
mod tracked;

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

pub(crate) use self::checks::Checks;
pub(crate) use self::lane::{Lane, Priority};
pub(crate) use self::restore::restore;
pub(crate) use self::tracked::{HEARTBEAT, Planned, ProbePhase, Run, Tracked, Waiter, Work, confirming_gap};
use crate::model::probe::ProbeRow;
use crate::model::service::{CheckId, InstanceId, Service};

/// The checked instances of one service.
#[derive(Debug)]
struct FollowedService {
    /// The service's sequence as of the entry taken in last.
    sequence: u64,
    instances: Vec<InstanceId>,
}

/// Every instance that is checked.
#[derive(Debug)]
pub(crate) struct Targets {
    instances: HashMap<InstanceId, Checks>,
    /// The checks of all of them.
    checks: usize,
    services: HashMap<Uuid, FollowedService>,
    /// Rows of earlier probing that no instance has claimed yet.
    restored: HashMap<InstanceId, Vec<ProbeRow>>,
}

impl Targets {
    pub(crate) fn new(rows: impl IntoIterator<Item = ProbeRow>) -> Self {
        let mut restored: HashMap<InstanceId, Vec<ProbeRow>> = HashMap::new();
        for row in rows {
            restored.entry(row.instance).or_default().push(row);
        }
        Self { instances: HashMap::new(), checks: 0, services: HashMap::new(), restored }
    }

    /// The number of checks.
    pub(crate) fn len(&self) -> usize {
        self.checks
    }

    /// The number of instances.
    pub(crate) fn instances(&self) -> usize {
        self.instances.len()
    }

    pub(crate) fn get(&self, id: CheckId) -> Option<&Tracked> {
        self.instances.get(&id.instance)?.get(id.position)
    }

    pub(crate) fn get_mut(&mut self, id: CheckId) -> Option<&mut Tracked> {
        self.instances.get_mut(&id.instance)?.get_mut(id.position)
    }

    /// The checks of an instance.
    pub(crate) fn checks(&self, id: InstanceId) -> Option<&Checks> {
        self.instances.get(&id)
    }

    pub(crate) fn checks_mut(&mut self, id: InstanceId) -> Option<&mut Checks> {
        self.instances.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Tracked> + Clone {
        self.instances.values().flat_map(Checks::iter)
    }

    /// Adds an instance and returns its checks.
    pub(crate) fn insert(&mut self, checks: Checks) -> &mut Checks {
        self.remove(checks.id());
        self.checks += checks.iter().count();
        self.instances.entry(checks.id()).insert_entry(checks).into_mut()
    }

    pub(crate) fn remove(&mut self, id: InstanceId) -> Option<Checks> {
        let removed = self.instances.remove(&id)?;
        self.checks -= removed.iter().count();
        Some(removed)
    }

    /// Whether something newer of this service was taken in already: a request may run ahead of the feed.
    pub(crate) fn is_ahead_of(&self, service: &Service) -> bool {
        self.services.get(&service.id).is_some_and(|followed| followed.sequence > service.sequence)
    }

    /// Replaces the instances of a service that are checked, and returns those that no longer are.
    pub(crate) fn set_instances(&mut self, service: &Service, instances: Vec<InstanceId>) -> Vec<InstanceId> {
        let mut dropped = self.remove_service(&service.id);
        dropped.retain(|id| !instances.contains(id));
        if !instances.is_empty() {
            self.services.insert(service.id, FollowedService { sequence: service.sequence, instances });
        }
        dropped
    }

    /// Forgets which instances a service has, and returns them.
    pub(crate) fn remove_service(&mut self, service: &Uuid) -> Vec<InstanceId> {
        self.services.remove(service).map(|followed| followed.instances).unwrap_or_default()
    }

    /// Services with checked instances that are not among these.
    pub(crate) fn services_other_than(&self, services: &HashSet<Uuid>) -> Vec<Uuid> {
        self.services.keys().filter(|id| !services.contains(*id)).copied().collect()
    }

    /// The stored rows of an instance, once, if they describe this generation.
    pub(crate) fn take_rows(&mut self, id: InstanceId, generation: u64) -> Vec<ProbeRow> {
        let mut rows = self.restored.remove(&id).unwrap_or_default();
        rows.retain(|row| row.generation == generation);
        rows
    }

    /// Drops the stored rows that no instance claimed.
    pub(crate) fn drop_rows(&mut self) {
        self.restored = HashMap::new();
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new([]);
    }
}
