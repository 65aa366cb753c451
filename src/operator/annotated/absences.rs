//! How long a service has been missing before its objects say so. Pure; the caller passes the time.
//!
//! Nobody owns a service that is not there. So an install that misses one which another install sees must not write against that other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::object::ObjectRef;
use crate::model::backoff::Backoff;
use crate::model::name::ServiceKey;
use crate::operator::queue::{Queue, Urgency};

/// What an object says stays this long after its service has gone.
const CONFIRMED_AFTER: Duration = Duration::from_secs(10);
/// Waits after each write that somebody else replaced.
const PAUSES: Backoff = Backoff::new(Duration::from_secs(20), Duration::from_mins(10));

/// Objects that say something else of a service that is missing; bounded by the number of objects.
#[derive(Debug, Default)]
pub(super) struct Absences {
    all: HashMap<ObjectRef, Absence>,
    due: Queue<ObjectRef>,
}

#[derive(Debug)]
struct Absence {
    service: ServiceKey,
    until: Instant,
    pauses: Backoff,
}

impl Absences {
    /// Whether the object may say now that the service is missing. `differs` if it says something else.
    pub(super) fn may_write(&mut self, object: &ObjectRef, service: &ServiceKey, differs: bool, now: Instant) -> bool {
        if self.all.get(object).is_some_and(|absence| absence.service != *service) {
            self.forget(object);
        }
        match self.all.get(object) {
            Some(absence) if absence.until > now => false,
            Some(_) if differs => {
                // The write may fail, or the object go away meanwhile.
                self.due.push(object, Urgency::Other, Some(now + CONFIRMED_AFTER));
                true
            }
            // Nobody replaced what was written.
            Some(_) => {
                self.forget(object);
                false
            }
            None => {
                if differs {
                    let until = now + CONFIRMED_AFTER;
                    self.due.push(object, Urgency::Other, Some(until));
                    self.all.insert(object.clone(), Absence { service: service.clone(), until, pauses: PAUSES });
                }
                false
            }
        }
    }

    /// The object was written: if somebody replaces that, it is written again only after a pause.
    pub(super) fn written(&mut self, object: &ObjectRef, now: Instant) {
        let Some(absence) = self.all.get_mut(object) else { return };
        absence.until = now + absence.pauses.next();
        self.due.remove(object);
        self.due.push(object, Urgency::Other, Some(absence.until));
    }

    /// The service is there, or the object is gone.
    pub(super) fn forget(&mut self, object: &ObjectRef) {
        self.due.remove(object);
        self.all.remove(object);
    }

    /// An object to look at again.
    pub(super) fn pop(&mut self, now: Instant) -> Option<ObjectRef> {
        self.due.pop(now)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::annotated::Kind;

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new(&"shop".parse().expect("a name"), &name.parse().expect("a name"))
    }

    fn object() -> ObjectRef {
        ObjectRef { kind: Kind::WorkloadEntry, namespace: "shop".into(), name: "vm".into() }
    }

    #[test]
    fn an_absence_is_confirmed_after_a_while() {
        let (mut absences, start, object) = (Absences::default(), Instant::now(), object());
        assert!(!absences.may_write(&object, &key("orders"), true, start));
        assert_eq!(absences.pop(start), None);
        let confirmed = start + CONFIRMED_AFTER;
        assert_eq!(absences.pop(confirmed), Some(object.clone()));
        assert!(absences.may_write(&object, &key("orders"), true, confirmed));
        assert!(!absences.may_write(&object, &key("stock"), true, confirmed), "this one is missing only now");
        absences.forget(&object);
        assert!(
            !absences.may_write(&object, &key("stock"), true, confirmed + CONFIRMED_AFTER),
            "it was there meanwhile"
        );
    }

    #[test]
    fn what_somebody_else_replaces_is_written_less_and_less_often() {
        let (mut absences, mut now, object) = (Absences::default(), Instant::now(), object());
        let end = now + Duration::from_hours(1);
        let mut writes = 0;
        absences.may_write(&object, &key("orders"), true, now);
        while now < end {
            now += Duration::from_secs(1);
            // Each write is replaced at once.
            if absences.may_write(&object, &key("orders"), true, now) {
                absences.written(&object, now);
                writes += 1;
            }
        }
        assert!((2..=30).contains(&writes), "{writes}");
    }

    #[test]
    fn nothing_is_kept_of_an_object_that_says_so_already() {
        let (mut absences, mut now, object) = (Absences::default(), Instant::now(), object());
        assert!(!absences.may_write(&object, &key("orders"), false, now));
        assert!(absences.all.is_empty());
        absences.may_write(&object, &key("orders"), true, now);
        now += CONFIRMED_AFTER;
        absences.written(&object, now);
        assert!(!absences.may_write(&object, &key("orders"), false, now));
        assert_eq!(absences.all.len(), 1, "somebody may still replace it");
        now += Duration::from_mins(20);
        assert_eq!(absences.pop(now), Some(object.clone()));
        assert!(!absences.may_write(&object, &key("orders"), false, now));
        assert!(absences.all.is_empty() && absences.pop(now + Duration::from_hours(1)).is_none());
    }
}
