//! What core Services and their slices were until a moment ago.
//!
//! A core Service and its slices change one after the other: when a port gets another name, or when a core Service is deleted and created
//! again, they do not fit together for a moment. Endpoints that vanish meanwhile would make clients fail for nothing, so for a bounded time
//! the former ports, and the slices of a core Service that is gone, still count where the present ones do not fit.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::slice::{Port, Slice};
use super::{CoreService, ObjectName};

/// For how long former ports count. The EndpointSlice controller needs far less, unless it has much to do.
const RENAMED: Duration = Duration::from_secs(10);
/// For how long the slices of a core Service count that is gone. Shorter, because their pods may be gone, too.
const GONE: Duration = Duration::from_secs(5);

/// By core Service; bounded by their number.
#[derive(Debug, Default)]
pub(super) struct Former {
    entries: HashMap<ObjectName, Entry>,
    due: BTreeSet<(Instant, ObjectName)>,
}

#[derive(Debug)]
struct Entry {
    /// The core Service as it was first.
    core: Option<CoreService>,
    /// The ports of its slices, by the slice's name.
    ports: HashMap<String, Vec<Port>>,
    /// Whether the core Service itself is, or was, gone.
    is_gone: bool,
    /// Its last slices, which went with it.
    slices: HashMap<String, Slice>,
}

impl Former {
    /// The core Service `before` is another one now, or gone.
    pub(super) fn changed(&mut self, before: CoreService, after: Option<&CoreService>, now: Instant) {
        let is_gone = after.is_none_or(|after| after.uid != before.uid);
        let lost =
            |after: &CoreService| before.ports.iter().any(|(_, name)| !after.ports.iter().any(|(_, own)| own == name));
        if !is_gone && !after.is_some_and(lost) {
            return;
        }
        let service = (before.namespace.clone(), before.name.clone());
        let entry = self.entry(&service, if is_gone { GONE } else { RENAMED }, now);
        entry.is_gone |= is_gone;
        entry.core.get_or_insert(before);
    }

    /// The slice `before` of the core Service has other ports now.
    pub(super) fn ports(&mut self, service: &ObjectName, before: &Slice, after: &Slice, now: Instant) {
        if before.ports.iter().any(|port| !after.ports.iter().any(|own| own.name == port.name)) {
            let entry = self.entry(service, RENAMED, now);
            entry.ports.entry(before.name.clone()).or_insert_with(|| before.ports.clone());
        }
    }

    /// A slice is gone. It still counts if its core Service is gone as well.
    pub(super) fn removed(&mut self, service: &ObjectName, slice: &Slice) {
        if let Some(entry) = self.entries.get_mut(service).filter(|entry| entry.is_gone) {
            entry.slices.insert(slice.name.clone(), slice.clone());
        }
    }

    /// A new slice with endpoints takes the place of those that are gone.
    pub(super) fn came(&mut self, service: &ObjectName) {
        if let Some(entry) = self.entries.get_mut(service).filter(|entry| entry.is_gone) {
            entry.is_gone = false;
            entry.slices.clear();
        }
    }

    /// Forgets what has counted long enough: of which core Services.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<ObjectName> {
        let mut expired = Vec::new();
        while self.due.first().is_some_and(|(until, _)| *until <= now) {
            let Some((_, service)) = self.due.pop_first() else { break };
            self.entries.remove(&service);
            expired.push(service);
        }
        expired
    }

    /// The core Service as it was.
    pub(super) fn core(&self, service: &ObjectName) -> Option<&CoreService> {
        self.entries.get(service)?.core.as_ref()
    }

    /// The ports that the slice had.
    pub(super) fn ports_of(&self, service: &ObjectName, slice: &str) -> &[Port] {
        self.entries.get(service).and_then(|entry| entry.ports.get(slice)).map_or(&[], Vec::as_slice)
    }

    /// The slices that went with the core Service.
    pub(super) fn slices_of(&self, service: &ObjectName) -> impl Iterator<Item = &Slice> {
        self.entries.get(service).into_iter().flat_map(|entry| entry.slices.values())
    }

    fn entry(&mut self, service: &ObjectName, lasts: Duration, now: Instant) -> &mut Entry {
        self.entries.entry(service.clone()).or_insert_with(|| {
            self.due.insert((now + lasts, service.clone()));
            Entry { core: None, ports: HashMap::new(), is_gone: false, slices: HashMap::new() }
        })
    }
}
