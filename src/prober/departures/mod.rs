//! Registrations that end by themselves: since when each instance fails, and the removals on their way to the registrar.
//!
//! - In: instances that begin to fail, or whose lease expires, and those that no longer do (`engine/leaving.rs`).
//! - Out: a [`Departure`] for each that is to be removed, to the [`Remover`], which looks again and removes it.
//!
//! Read the files in this order: the rules in [`model::lease`](crate::model::lease), this file (whose time has come), `remover` (the removal).

mod remover;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use uuid::Uuid;

pub use self::remover::Remover;
use super::leases::Lease;
use super::schedule::DueQueue;
use crate::model::lease::Ends;
use crate::model::name::{InstanceName, ServiceKey};
use crate::model::ports::RemovalReason;
use crate::model::service::{CheckId, InstanceId};
use crate::model::time::UnixMs;

/// Removals that may wait for the remover.
const QUEUE: usize = 128;
/// Time before a removal that had no effect is tried again.
pub(crate) const RETRY: Duration = Duration::from_mins(1);
/// Pause while the queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(100);

/// An instance to remove, as of the moment of the decision.
#[derive(Debug)]
pub(crate) struct Departure {
    pub(crate) key: ServiceKey,
    pub(crate) service: Uuid,
    pub(crate) id: InstanceId,
    pub(crate) instance: InstanceName,
    pub(crate) generation: u64,
    pub(crate) ends: Ends,
    pub(crate) asked: bool,
    pub(crate) why: RemovalReason,
    /// Its lease, and when that was renewed last.
    pub(crate) lease: Option<(Arc<Lease>, UnixMs)>,
}

/// An instance that fails. Times are of the leases' clock.
#[derive(Debug, Clone, Copy)]
struct Failing {
    since: UnixMs,
    due: UnixMs,
}

/// The instances that fail and may leave.
#[derive(Debug)]
pub(crate) struct Departures {
    failing: HashMap<InstanceId, Failing>,
    due: DueQueue,
    offers: mpsc::Sender<Departure>,
}

impl Departures {
    /// With the remover's end of the queue.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Departure>) {
        let (offers, receiver) = mpsc::channel(QUEUE);
        (Self { failing: HashMap::new(), due: DueQueue::default(), offers }, receiver)
    }

    /// Notes that an instance fails since then, unless that is known, and when to decide about it.
    pub(crate) fn begin(&mut self, id: InstanceId, since: UnixMs, after: Duration) {
        let since = self.failing.get(&id).map_or(since, |failing| failing.since);
        self.plan(id, since, since.plus(after));
    }

    /// Notes that it no longer fails, or is gone.
    pub(crate) fn end(&mut self, id: InstanceId) {
        self.failing.remove(&id);
    }

    /// Whether it is known to fail.
    pub(crate) fn has(&self, id: InstanceId) -> bool {
        self.failing.contains_key(&id)
    }

    /// Since when it fails.
    pub(crate) fn since(&self, id: InstanceId) -> Option<UnixMs> {
        self.failing.get(&id).map(|failing| failing.since)
    }

    /// Decides about it again at `due`.
    pub(crate) fn postpone(&mut self, id: InstanceId, due: UnixMs) {
        if let Some(since) = self.since(id) {
            self.plan(id, since, due);
        }
    }

    fn plan(&mut self, id: InstanceId, since: UnixMs, due: UnixMs) {
        self.failing.insert(id, Failing { since, due });
        self.due.push(due, CheckId { instance: id, position: 0 });
    }

    /// The next instance to decide about; none while the remover has enough to do.
    pub(crate) fn pop_due(&mut self, now: UnixMs) -> Option<InstanceId> {
        while self.has_room() {
            let (due, CheckId { instance, .. }) = self.due.pop_due(now)?;
            if self.failing.get(&instance).is_some_and(|failing| failing.due == due) {
                return Some(instance);
            }
        }
        None
    }

    /// When to call [`Departures::pop_due`] next, leases' clock.
    pub(crate) fn next(&self, now: UnixMs) -> Option<UnixMs> {
        let next = self.due.next()?;
        Some(if self.has_room() { next } else { next.max(now.plus(FULL_PAUSE)) })
    }

    fn has_room(&self) -> bool {
        self.offers.capacity() > 0
    }

    /// Hands a removal over. There is room: only the engine hands over, and [`Departures::pop_due`] has looked.
    pub(crate) fn offer(&mut self, departure: Departure, now: UnixMs) {
        self.postpone(departure.id, now.plus(RETRY));
        // Without a remover nothing is removed.
        drop(self.offers.try_send(departure));
    }

    /// Drops what is outdated, so that memory stays bounded.
    pub(crate) fn tidy(&mut self) {
        let Self { failing, due, .. } = self;
        due.tidy(failing.len(), |at, id| failing.get(&id.instance).is_some_and(|failing| failing.due == at));
    }

    /// Forgets all; what is on its way is looked at again by the remover.
    pub(crate) fn clear(&mut self) {
        self.failing.clear();
        self.due = DueQueue::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_mins(1);

    fn departure(id: i64) -> Departure {
        Departure {
            key: ServiceKey::new(&crate::model::name::Namespace::default(), &"a".parse().expect("a name")),
            service: Uuid::nil(),
            id: InstanceId(id),
            instance: InstanceName::default(),
            generation: 1,
            ends: Ends::Failure,
            asked: true,
            why: RemovalReason::Unhealthy(AFTER),
            lease: None,
        }
    }

    #[test]
    fn who_recovers_begins_again() {
        let (mut departures, _offers) = Departures::new();
        let id = InstanceId(1);
        departures.begin(id, UnixMs(0), AFTER);
        departures.begin(id, UnixMs(50_000), AFTER);
        assert_eq!((departures.since(id), departures.pop_due(UnixMs(59_999))), (Some(UnixMs(0)), None));
        departures.end(id);
        assert_eq!(departures.pop_due(UnixMs(60_000)), None);
        departures.begin(id, UnixMs(70_000), AFTER);
        assert_eq!(departures.pop_due(UnixMs(129_999)), None);
        assert_eq!(departures.pop_due(UnixMs(130_000)), Some(id));
    }

    #[test]
    fn a_full_queue_keeps_the_order_and_loses_nobody() {
        let (mut departures, mut offers) = Departures::new();
        for id in 0..1000 {
            departures.begin(InstanceId(id), UnixMs(id), AFTER);
        }
        let mut left = Vec::new();
        let now = UnixMs(100_000);
        while left.len() < 1000 {
            while let Some(id) = departures.pop_due(now) {
                departures.offer(departure(id.0), now);
            }
            assert!(left.len() + QUEUE >= 1000 || departures.next(now) == Some(now.plus(FULL_PAUSE)));
            while let Ok(departure) = offers.try_recv() {
                departures.end(departure.id);
                left.push(departure.id.0);
            }
        }
        assert!(left.is_sorted());
    }
}
