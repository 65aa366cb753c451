//! Leases: what programs report of themselves.
//!
//! - In: heartbeats and registrations, from any thread, through [`ProberHandle`](super::ProberHandle).
//! - Out: a time stored in the [`Lease`], or a [`Report`] to the engine, which judges it as it does a probe's outcome.
//!
//! Read the files in this order: `lease` (one lease: the time, and when a heartbeat is more than that), `clock` (the clock that stands still while
//! nobody could have been heard), this file (all leases, found by service and instance), `report` (what a report means).

mod clock;
mod lease;
mod report;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use uuid::Uuid;

pub(crate) use self::clock::{LeaseClock, Lost};
pub(crate) use self::lease::Lease;
pub(crate) use self::report::{Report, Said, expired, heard, lease_timing};
use crate::catalog::LastCheck;
use crate::model::name::InstanceName;
use crate::model::service::InstanceId;
use crate::model::time::Now;

/// The leases of this process's instances. They are few per service and sorted by name.
#[derive(Debug)]
pub(crate) struct Leases {
    of_services: RwLock<HashMap<Uuid, Vec<Entry>>>,
    lost: Lost,
    /// Whether the engine probes, and so judges heartbeats.
    open: AtomicBool,
}

#[derive(Debug)]
struct Entry {
    name: InstanceName,
    lease: Arc<Lease>,
    last_check: LastCheck,
}

/// Why nothing was renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRenewed {
    /// There is no such lease here.
    NoLease,
    /// This instance, which has the lease, is being removed.
    Leaving(InstanceId),
}

impl Leases {
    pub(crate) fn new(lost: Lost) -> Self {
        Self { of_services: RwLock::default(), lost, open: AtomicBool::new(false) }
    }

    /// Whether heartbeats are heard here.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Opens or closes; closed, there are no leases.
    pub(crate) fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
        if !open {
            self.write().clear();
        }
    }

    /// Renews the lease of an instance.
    ///
    /// # Errors
    /// [`NotRenewed`]; what was said must not be acknowledged then as a renewal of this lease.
    pub(crate) fn renew(&self, service: &Uuid, instance: &str, now: Now) -> Result<Arc<Lease>, NotRenewed> {
        let all = self.read();
        let of_service = all.get(service).map_or(&[][..], Vec::as_slice);
        let at = of_service.binary_search_by(|entry| entry.name.as_str().cmp(instance));
        let entry = at.ok().and_then(|at| of_service.get(at)).ok_or(NotRenewed::NoLease)?;
        if !entry.lease.hear(self.lost.at(now.steady)) {
            return Err(NotRenewed::Leaving(entry.lease.check.instance));
        }
        entry.last_check.note(now.wall);
        Ok(Arc::clone(&entry.lease))
    }

    /// Adds an instance's lease, in place of an earlier one.
    pub(crate) fn insert(&self, name: InstanceName, lease: Arc<Lease>, last_check: LastCheck) {
        let mut all = self.write();
        let of_service = all.entry(lease.service).or_default();
        let entry = Entry { name, lease, last_check };
        match of_service.binary_search_by(|other| other.name.cmp(&entry.name)) {
            Ok(at) => of_service[at] = entry,
            Err(at) => of_service.insert(at, entry),
        }
    }

    /// Removes a lease, unless another took its place.
    pub(crate) fn remove(&self, lease: &Arc<Lease>) {
        let mut all = self.write();
        let Some(of_service) = all.get_mut(&lease.service) else { return };
        of_service.retain(|entry| !Arc::ptr_eq(&entry.lease, lease));
        if of_service.is_empty() {
            all.remove(&lease.service);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Uuid, Vec<Entry>>> {
        self.of_services.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Uuid, Vec<Entry>>> {
        self.of_services.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::service::CheckId;
    use crate::model::time::UnixMs;

    fn now(at: i64) -> Now {
        Now { steady: UnixMs(at), wall: UnixMs(at) }
    }

    #[test]
    fn a_lease_is_found_by_service_and_instance() {
        let leases = Leases::new(Lost::default());
        let service = Uuid::from_u128(1);
        let lease = |n| Arc::new(Lease::new(service, CheckId::plain(n), Duration::from_secs(1), UnixMs(0)));
        let last_check = LastCheck::default();
        for (n, name) in [(1, "b"), (2, "a"), (3, "c")] {
            leases.insert(name.parse().expect("a name"), lease(n), last_check.clone());
        }
        let found = leases.renew(&service, "a", now(500)).expect("there");
        assert_eq!((found.check, found.heard(), last_check.get()), (CheckId::plain(2), UnixMs(500), Some(UnixMs(500))));
        assert!(leases.renew(&service, "d", now(500)).is_err());
        assert!(found.leave(UnixMs(500)));
        assert_eq!(leases.renew(&service, "a", now(600)).err(), Some(NotRenewed::Leaving(found.check.instance)));
        assert_eq!(last_check.get(), Some(UnixMs(500)));
        let newer = lease(4);
        leases.insert("a".parse().expect("a name"), Arc::clone(&newer), last_check);
        leases.remove(&found);
        assert!(leases.renew(&service, "a", now(500)).is_ok(), "another took its place");
        leases.remove(&newer);
        assert!(leases.renew(&service, "a", now(500)).is_err());
        leases.set_open(false);
        assert!(leases.renew(&service, "b", now(500)).is_err());
    }
}
