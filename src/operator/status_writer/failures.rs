//! Failed writes: when each may be tried again, and what to log, once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::write::WriteOutcome;
use crate::model::backoff::Backoff;
use crate::model::name::ServiceKey;

/// Pauses for one object.
const OBJECT_PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(5));

/// Only for known objects, so bounded by their number.
#[derive(Debug, Default)]
pub(super) struct Failures {
    of: HashMap<ServiceKey, Failure>,
    /// What was last logged for all of them together.
    warned: Option<&'static str>,
}

#[derive(Debug)]
struct Failure {
    revision: u64,
    until: Instant,
    backoff: Backoff,
}

impl Failures {
    /// Until when the object at `revision` must wait.
    pub(super) fn wait(&self, key: &ServiceKey, revision: u64) -> Option<Instant> {
        self.of.get(key).filter(|failure| failure.revision == revision).map(|failure| failure.until)
    }

    /// A write succeeded.
    pub(super) fn forget(&mut self, key: &ServiceKey) {
        self.of.remove(key);
        if self.warned.take().is_some() {
            tracing::info!("status is written again");
        }
    }

    /// Notes the outcome of a write of an object, which is now at `revision`.
    pub(super) fn note(&mut self, key: &ServiceKey, revision: Option<u64>, outcome: &WriteOutcome, now: Instant) {
        let Some(revision) = revision else {
            self.of.remove(key);
            return;
        };
        let is_new = self.wait(key, revision).is_none();
        match outcome {
            WriteOutcome::UpToDate | WriteOutcome::NotLeading | WriteOutcome::Written(_) | WriteOutcome::Conflict => return,
            WriteOutcome::Refused(why) if is_new => tracing::warn!(
                "the Kubernetes API refuses the status of {key}, so the status stays as it is until the object changes; compare it with \
                    `kubectl explain \
                 services.portolan.dev`, and the CRD with `portolan crd`: {why}"
            ),
            WriteOutcome::Forbidden(why) => self.warn("forbidden", || {
                format!(
                    "this ServiceAccount may not patch services.portolan.dev/status; give it that verb (the role in deploy/); this is \
                     tried again: {why}"
                )
            }),
            WriteOutcome::Unavailable(why) => self.warn("away", || format!("status cannot be written now; this is tried again: {why}")),
            WriteOutcome::Refused(_) | WriteOutcome::Gone => {}
        }
        let mut backoff = self.of.remove(key).map_or(OBJECT_PAUSES, |failure| failure.backoff);
        let until = now + backoff.next();
        self.of.insert(key.clone(), Failure { revision, until, backoff });
    }

    fn warn(&mut self, what: &'static str, line: impl FnOnce() -> String) {
        if self.warned != Some(what) {
            tracing::warn!("{}", line());
            self.warned = Some(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_object_waits_until_it_is_changed() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let key = ServiceKey::new(&"shop".parse().expect("a name"), &"cart".parse().expect("a name"));
        let refused = WriteOutcome::Refused("too long".into());
        failures.note(&key, Some(7), &refused, now);
        let first = failures.wait(&key, 7).expect("it waits");
        assert_eq!(failures.wait(&key, 8), None, "another state of it may be tried at once");
        for _ in 0..12 {
            failures.note(&key, Some(7), &refused, now);
        }
        let later = failures.wait(&key, 7).expect("it waits");
        assert!(first <= now + Duration::from_secs(1) && later >= now + Duration::from_secs(150), "it waits longer");
        failures.note(&key, None, &WriteOutcome::Gone, now);
        assert_eq!(failures.wait(&key, 7), None, "nothing is kept of what is gone");
    }
}
