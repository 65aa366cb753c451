//! Failed writes: which wait, for how long, and what to log, once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::write::WriteOutcome;
use crate::model::backoff::Backoff;
use crate::model::name::ServiceKey;

/// Pauses for one object.
const OBJECT_PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(5));
/// Pauses for one object about which no answer comes: perhaps none comes about any.
const UNANSWERED_PAUSES: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
/// Pauses for one object while none is written: others have their turn first.
const OUTAGE_TURNS: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
/// How long an object without an answer keeps others from being logged.
const LOGGED_FOR: Duration = Duration::from_mins(1);
/// Pauses of all writes while the Kubernetes API accepts none.
const OUTAGE_PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

const FORBIDDEN: &str = "this ServiceAccount may not patch services.portolan.dev/status";
const GRANT: &str = "give it that verb (the role in deploy/); this is tried again";

/// Only for known objects, so bounded by their number.
#[derive(Debug)]
pub(super) struct Failures {
    of: HashMap<ServiceKey, Failure>,
    pauses: Backoff,
    paused_until: Option<Instant>,
    /// Whether any write succeeded.
    has_written: bool,
    /// What was last logged for all of them together.
    warned: Option<&'static str>,
}

#[derive(Debug)]
struct Failure {
    revision: u64,
    cause: Cause,
    until: Instant,
    backoff: Backoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Refused,
    Forbidden,
    Unanswered,
    Outage,
}

impl Default for Failures {
    fn default() -> Self {
        Self { of: HashMap::new(), pauses: OUTAGE_PAUSES, paused_until: None, has_written: false, warned: None }
    }
}

impl Failures {
    /// Until when the object at `revision` must wait.
    pub(super) fn wait(&self, key: &ServiceKey, revision: u64) -> Option<Instant> {
        self.of.get(key).filter(|failure| failure.revision == revision).map(|failure| failure.until)
    }

    /// Until when all must wait.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// A write of `key` succeeded. Returns the objects that need not wait any more.
    pub(super) fn forget(&mut self, key: &ServiceKey) -> Vec<ServiceKey> {
        self.of.remove(key);
        self.pauses.reset();
        self.has_written = true;
        if self.warned.take().is_some() {
            tracing::info!("status is written again");
        }
        let freed = self.of.extract_if(|other, failure| failure.is_forbidden_in(other, key));
        let freed: Vec<ServiceKey> = freed.map(|(other, _)| other).collect();
        if !freed.is_empty() {
            tracing::info!("status is written again in namespace {}", key.namespace());
        }
        freed
    }

    /// Notes the outcome of a write of an object, which is now at `revision`.
    pub(super) fn note(&mut self, key: &ServiceKey, revision: Option<u64>, outcome: &WriteOutcome, now: Instant) {
        let Some(revision) = revision else {
            self.of.remove(key);
            return;
        };
        match outcome {
            WriteOutcome::UpToDate | WriteOutcome::NotLeading | WriteOutcome::Written(_) | WriteOutcome::Conflict => {}
            WriteOutcome::Gone => self.delay((key, revision), Cause::Refused, now),
            WriteOutcome::Refused(why) => {
                if self.wait(key, revision).is_none() {
                    tracing::warn!(
                        "the Kubernetes API refuses the status of {key}; this is tried again, with growing pauses. If its CRD is of another \
                         version, `portolan crd` prints the right one: {why}"
                    );
                }
                self.delay((key, revision), Cause::Refused, now);
            }
            WriteOutcome::Unanswered(why) => {
                let recent = |of: &Failure| of.cause == Cause::Unanswered && of.until + LOGGED_FOR > now;
                if !self.of.values().any(recent) {
                    tracing::warn!("the status of {key} cannot be written now; this is tried again: {why}");
                }
                self.delay((key, revision), Cause::Unanswered, now);
            }
            // What was allowed elsewhere is forbidden in some namespaces only.
            WriteOutcome::Forbidden(why) if self.has_written => {
                if !self.of.iter().any(|(other, failure)| failure.is_forbidden_in(other, key)) {
                    tracing::warn!("{FORBIDDEN} in namespace {}; {GRANT}: {why}", key.namespace());
                }
                self.delay((key, revision), Cause::Forbidden, now);
            }
            WriteOutcome::Forbidden(why) => {
                self.pause("forbidden", now, || format!("{FORBIDDEN}; {GRANT}: {why}"));
                self.delay((key, revision), Cause::Outage, now);
            }
            WriteOutcome::Unavailable(why) => {
                self.pause("away", now, || format!("status cannot be written now; this is tried again: {why}"));
                self.delay((key, revision), Cause::Outage, now);
            }
        }
    }

    fn delay(&mut self, (key, revision): (&ServiceKey, u64), cause: Cause, now: Instant) {
        let fresh = match cause {
            Cause::Refused | Cause::Forbidden => OBJECT_PAUSES,
            Cause::Unanswered => UNANSWERED_PAUSES,
            Cause::Outage => OUTAGE_TURNS,
        };
        let known = self.of.remove(key).filter(|failure| failure.cause == cause);
        let mut backoff = known.map_or(fresh, |failure| failure.backoff);
        let until = now + backoff.next();
        self.of.insert(key.clone(), Failure { revision, cause, until, backoff });
    }

    fn pause(&mut self, what: &'static str, now: Instant, line: impl FnOnce() -> String) {
        self.paused_until = Some(now + self.pauses.next());
        if self.warned != Some(what) {
            tracing::warn!("{}", line());
            self.warned = Some(what);
        }
    }
}

impl Failure {
    /// Whether this failure, of `object`, is for want of a right in the namespace of `key`.
    fn is_forbidden_in(&self, object: &ServiceKey, key: &ServiceKey) -> bool {
        self.cause == Cause::Forbidden && object.namespace() == key.namespace()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> ServiceKey {
        ServiceKey::new(&namespace.parse().expect("a name"), &name.parse().expect("a name"))
    }

    #[test]
    fn a_refused_object_waits_until_it_is_changed() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let key = key("shop", "cart");
        let refused = WriteOutcome::Refused("too long".into());
        failures.note(&key, Some(7), &refused, now);
        let first = failures.wait(&key, 7).expect("it waits");
        assert_eq!(failures.wait(&key, 8), None, "another state of it may be tried at once");
        for _ in 0..12 {
            failures.note(&key, Some(7), &refused, now);
        }
        let later = failures.wait(&key, 7).expect("it waits");
        assert!(first <= now + Duration::from_secs(1) && later >= now + Duration::from_secs(150), "it waits longer");
        assert_eq!(failures.paused_until(), None, "others do not");
        failures.note(&key, None, &WriteOutcome::Gone, now);
        assert_eq!(failures.wait(&key, 7), None, "nothing is kept of what is gone");
    }

    #[test]
    fn an_outage_delays_all_and_none_for_long() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let key = key("shop", "cart");
        for _ in 0..12 {
            failures.note(&key, Some(7), &WriteOutcome::Unavailable("etcd is away".into()), now);
        }
        let paused = failures.paused_until().expect("a pause");
        assert!(paused > now + Duration::from_secs(4) && paused <= now + Duration::from_secs(10), "{:?}", paused - now);
        let turn = failures.wait(&key, 7).expect("others have their turn first");
        assert!(turn <= now + Duration::from_secs(10), "{:?}", turn - now);
    }

    #[test]
    fn an_object_without_an_answer_delays_no_other() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let key = key("shop", "cart");
        for _ in 0..12 {
            failures.note(&key, Some(7), &WriteOutcome::Unanswered("no answer".into()), now);
        }
        assert_eq!(failures.paused_until(), None);
        let until = failures.wait(&key, 7).expect("it waits");
        assert!(until > now + Duration::from_secs(14) && until <= now + Duration::from_secs(30), "{:?}", until - now);
    }

    #[test]
    fn a_right_that_lacks_in_one_namespace_delays_that_namespace_until_it_is_given() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let (cart, user, bank) = (key("shop", "cart"), key("shop", "user"), key("bank", "teller"));
        let forbidden = WriteOutcome::Forbidden("cannot patch resource".into());
        failures.note(&cart, Some(7), &forbidden, now);
        assert!(failures.paused_until().is_some(), "perhaps it lacks in all");
        let mut failures = Failures::default();
        failures.forget(&bank);
        failures.note(&cart, Some(7), &forbidden, now);
        failures.note(&user, Some(7), &forbidden, now);
        assert_eq!(failures.paused_until(), None, "it is there in another");
        assert_eq!(failures.forget(&bank), []);
        assert!(failures.wait(&cart, 7).is_some());
        assert_eq!(failures.forget(&user), std::slice::from_ref(&cart));
        assert_eq!(failures.wait(&cart, 7), None, "what was allowed once is allowed for all of the namespace");
    }
}
