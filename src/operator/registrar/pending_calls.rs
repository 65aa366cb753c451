//! Calls that wait for their answer, counted so that no answer overtakes one and their number has a bound.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::merge::Request;
use crate::model::name::ServiceKey;
use crate::model::ports::{Registered, WriteError};
use crate::model::service::Service;
use crate::telemetry::metrics::{Metrics, QueueLabel};

/// Most calls that wait.
pub(super) const MOST_CALLS: usize = 4096;
/// Most objects that calls wait for.
const MOST_OBJECTS: usize = 1024;

/// What a call gets.
pub(super) type Answer = Result<Answered, WriteError>;

/// What was done for a call.
#[derive(Debug)]
pub(super) enum Answered {
    /// The instance as it is registered now.
    Registered(Registered),
    /// The service as it is after a drain, or its end.
    Drained(Arc<Service>),
    Removed,
}

/// A call on its way.
#[derive(Debug)]
pub(super) struct PendingCall {
    pub(super) request: Request,
    pub(super) reply: oneshot::Sender<Answer>,
    /// Counts the call.
    pub(super) ticket: Ticket,
}

/// The number of calls on their way, by object. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct CallCounter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    calls: Mutex<Calls>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Calls {
    by_object: HashMap<ServiceKey, usize>,
    all: usize,
}

impl CallCounter {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self(Arc::new(Inner { calls: Mutex::default(), metrics }))
    }

    /// Whether no call about `key` is on its way. Read the catalog only after this.
    pub(super) fn is_settled(&self, key: &ServiceKey) -> bool {
        self.change(|calls| !calls.by_object.contains_key(key))
    }

    /// Counts a call until the ticket is dropped, when the catalog shows what the call wrote.
    ///
    /// # Errors
    /// [`WriteError::Busy`] when too many wait.
    pub(super) fn enter(&self, key: &ServiceKey) -> Result<Ticket, WriteError> {
        let entered = self.change(|calls| {
            let another = !calls.by_object.contains_key(key);
            if calls.all >= MOST_CALLS || (another && calls.by_object.len() >= MOST_OBJECTS) {
                return false;
            }
            *calls.by_object.entry(key.clone()).or_default() += 1;
            calls.all += 1;
            true
        });
        if entered {
            return Ok(Ticket { counter: self.clone(), key: key.clone() });
        }
        self.0.metrics.reject("registrar_full");
        Err(WriteError::Busy)
    }

    fn leave(&self, key: &ServiceKey) {
        self.change(|calls| {
            calls.all -= 1;
            if let Some(count) = calls.by_object.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    calls.by_object.remove(key);
                }
            }
        });
    }

    fn change<T>(&self, how: impl FnOnce(&mut Calls) -> T) -> T {
        let mut calls = self.0.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let before = calls.all;
        let out = how(&mut calls);
        if calls.all != before {
            let depth = self.0.metrics.queue_depth.get_or_create(&QueueLabel { queue: "registrar" });
            depth.set(i64::try_from(calls.all).unwrap_or(i64::MAX));
        }
        out
    }
}

/// One counted call.
#[derive(Debug)]
pub(super) struct Ticket {
    counter: CallCounter,
    key: ServiceKey,
}

impl Ticket {
    /// The object that the call is about.
    pub(super) fn key(&self) -> &ServiceKey {
        &self.key
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.counter.leave(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::Namespace;

    fn key(n: usize) -> ServiceKey {
        ServiceKey::new(&Namespace::default(), &format!("s{n}").parse().expect("a name"))
    }

    #[test]
    fn calls_and_objects_are_bounded_and_leave_no_trace() {
        let metrics = Metrics::default();
        let counter = CallCounter::new(metrics.clone());
        let many: Vec<_> = (0..MOST_OBJECTS).map(|n| counter.enter(&key(n)).expect("room")).collect();
        assert_eq!(counter.enter(&key(MOST_OBJECTS)).err(), Some(WriteError::Busy));
        let more: Vec<_> =
            (MOST_OBJECTS..MOST_CALLS).map(|_| counter.enter(&key(0)).expect("a known object")).collect();
        assert_eq!(counter.enter(&key(0)).err(), Some(WriteError::Busy));
        assert!(!counter.is_settled(&key(0)));
        let text = metrics.render().expect("metrics");
        assert!(text.contains("portolan_rejected_total{reason=\"registrar_full\"} 2"), "{text}");
        assert!(text.contains("portolan_queue_depth{queue=\"registrar\"} 4096"), "{text}");
        drop((many, more));
        assert!(counter.is_settled(&key(0)));
        assert_eq!(counter.0.calls.lock().expect("no panic").all, 0);
    }
}
