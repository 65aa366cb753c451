//! Limits on how much of a server's data a client holds.

use std::collections::HashMap;

use uuid::Uuid;

use super::read::size;
use crate::console::data::Service;

/// Memory that the services of one server may take, in bytes. 25,600 instances with their texts are a third of it.
const MAX_MEMORY: usize = 128 << 20;

/// Memory of the services that were passed on, by id.
#[derive(Debug, Default)]
pub(super) struct ServiceMemory {
    each: HashMap<Uuid, usize>,
    bytes: usize,
}

/// The server has more services than a client holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this server has more than {} of services, the most that a client holds; portolan list -n NAME shows one namespace",
    size(MAX_MEMORY)
)]
pub(super) struct TooLarge;

impl ServiceMemory {
    /// Counts `services` in place of what was known of them.
    pub(super) fn add(&mut self, services: &[Service]) -> Result<(), TooLarge> {
        for service in services {
            let weight = service.memory();
            self.bytes += weight;
            self.bytes -= self.each.insert(service.id, weight).unwrap_or_default();
            if self.bytes > MAX_MEMORY {
                return Err(TooLarge);
            }
        }
        Ok(())
    }

    /// Forgets services that are gone.
    pub(super) fn remove(&mut self, gone: &[Uuid]) {
        for id in gone {
            self.bytes -= self.each.remove(id).unwrap_or_default();
        }
    }
}

/// A snapshot whose parts are coming in.
#[derive(Debug, Default)]
pub(super) struct SnapshotParts {
    services: Vec<Service>,
    bytes: usize,
}

impl SnapshotParts {
    /// Adds a part. A service that comes twice counts twice: it is held twice.
    pub(super) fn add(&mut self, part: Vec<Service>) -> Result<(), TooLarge> {
        self.bytes += part.iter().map(Service::memory).sum::<usize>();
        if self.bytes > MAX_MEMORY {
            return Err(TooLarge);
        }
        self.services.extend(part);
        Ok(())
    }

    /// All of it, and what it takes.
    pub(super) fn finish(self) -> Result<(Vec<Service>, ServiceMemory), TooLarge> {
        let mut held = ServiceMemory::default();
        held.add(&self.services)?;
        Ok((self.services, held))
    }
}
