//! What is probed: one [`Tracked`] per instance, found by id or by service.
//!
//! - In: the catalog's entries (`engine/follow.rs`), and the rows that the store kept of earlier probing.
//! - Out: what the other parts need of one instance: when it is due, its priority in the queue, the row to store.
//!
//! Read the files in this order: `tracked` (one instance), `interval` (its regular due moments), `lane` (its priority in the queue), `samples` (its newest
//! probes, packed).

pub(crate) mod interval;
mod lane;
mod samples;
mod tracked;

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

pub(crate) use self::lane::{Lane, Priority};
pub(crate) use self::tracked::{ProbePhase, Run, Tracked, Waiter, confirming_gap};
use crate::model::probe::ProbeRow;
use crate::model::service::{InstanceId, Service};

/// The probed instances of one service.
#[derive(Debug)]
struct FollowedService {
    /// The service's sequence as of the entry taken in last.
    sequence: u64,
    instances: Vec<InstanceId>,
}

/// Every instance that is probed.
#[derive(Debug)]
pub(crate) struct Targets {
    tracked: HashMap<InstanceId, Box<Tracked>>,
    services: HashMap<Uuid, FollowedService>,
    /// Rows of earlier probing that no instance has claimed yet.
    restored: HashMap<InstanceId, ProbeRow>,
}

impl Targets {
    pub(crate) fn new(restored: HashMap<InstanceId, ProbeRow>) -> Self {
        Self { tracked: HashMap::new(), services: HashMap::new(), restored }
    }

    pub(crate) fn len(&self) -> usize {
        self.tracked.len()
    }

    pub(crate) fn get(&self, id: InstanceId) -> Option<&Tracked> {
        self.tracked.get(&id).map(Box::as_ref)
    }

    pub(crate) fn get_mut(&mut self, id: InstanceId) -> Option<&mut Tracked> {
        self.tracked.get_mut(&id).map(Box::as_mut)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Tracked> + Clone {
        self.tracked.values().map(Box::as_ref)
    }

    /// Adds an instance and returns it.
    pub(crate) fn insert(&mut self, tracked: Box<Tracked>) -> &mut Tracked {
        self.tracked.entry(tracked.id).insert_entry(tracked).into_mut()
    }

    pub(crate) fn remove(&mut self, id: InstanceId) -> Option<Box<Tracked>> {
        self.tracked.remove(&id)
    }

    /// Whether something newer of this service was taken in already: a request may run ahead of the feed.
    pub(crate) fn is_ahead_of(&self, service: &Service) -> bool {
        self.services.get(&service.id).is_some_and(|followed| followed.sequence > service.sequence)
    }

    /// Replaces the instances of a service that are probed, and returns those that no longer are.
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

    /// Services with probed instances that are not among these.
    pub(crate) fn services_other_than(&self, services: &HashSet<Uuid>) -> Vec<Uuid> {
        self.services.keys().filter(|id| !services.contains(*id)).copied().collect()
    }

    /// The stored row of an instance, once, if it describes this generation.
    pub(crate) fn take_row(&mut self, id: InstanceId, generation: u64) -> Option<ProbeRow> {
        self.restored.remove(&id).filter(|row| row.generation == generation)
    }

    /// Drops the stored rows that no instance claimed.
    pub(crate) fn drop_rows(&mut self) {
        self.restored.clear();
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(HashMap::new());
    }
}
