//! When drains end by themselves. At that time the leader looks at the object again, and writes that the drain is over.

use std::collections::{BTreeSet, HashMap};

use crate::model::name::ServiceKey;
use crate::model::time::UnixMs;
use crate::operator::ingest::ObservedObject;

/// The next end of each object that has one: at most one for each object, on the wall clock, as people write it.
#[derive(Debug, Default)]
pub(super) struct DrainEnds {
    by_key: HashMap<ServiceKey, UnixMs>,
    in_order: BTreeSet<(UnixMs, ServiceKey)>,
}

impl DrainEnds {
    /// Notes the next end of `key`; none if nothing of it ends.
    pub(super) fn note(&mut self, key: &ServiceKey, next: Option<UnixMs>) {
        if let Some(old) = self.by_key.remove(key) {
            self.in_order.remove(&(old, key.clone()));
        }
        if let Some(next) = next {
            self.by_key.insert(key.clone(), next);
            self.in_order.insert((next, key.clone()));
        }
    }

    /// Takes the objects of which a drain has ended by `now`.
    pub(super) fn take_due(&mut self, now: UnixMs) -> Vec<ServiceKey> {
        let mut due = Vec::new();
        while let Some((at, key)) = self.in_order.pop_first() {
            if at > now {
                self.in_order.insert((at, key));
                break;
            }
            self.by_key.remove(&key);
            due.push(key);
        }
        due
    }
}

/// The first end of a drain of `observed` after `now`.
pub(super) fn next_end(observed: &ObservedObject, now: UnixMs) -> Option<UnixMs> {
    let ends = observed.parsed.instances.iter().filter_map(|listed| listed.drain.as_ref()?.until);
    ends.filter(|until| *until > now).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::Namespace;

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new(&Namespace::default(), &name.parse().expect("a name"))
    }

    #[test]
    fn each_object_is_due_once_at_its_next_end() {
        let mut ends = DrainEnds::default();
        ends.note(&key("a"), Some(UnixMs(30)));
        ends.note(&key("b"), Some(UnixMs(10)));
        ends.note(&key("c"), Some(UnixMs(20)));
        ends.note(&key("a"), Some(UnixMs(15)));
        ends.note(&key("c"), None);
        assert_eq!(ends.take_due(UnixMs(9)), []);
        assert_eq!(ends.take_due(UnixMs(15)), [key("b"), key("a")]);
        assert_eq!(ends.take_due(UnixMs(99)), [], "nothing is due twice, or after it was withdrawn");
        assert!(ends.by_key.is_empty() && ends.in_order.is_empty());
    }
}
