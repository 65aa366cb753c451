//! Bounds the memory of bodies in flight, in all and of one client.
//!
//! An answer of one piece is in its connection's buffers and counts as a connection. A larger one takes a permit for what it keeps in
//! memory. Without a permit it is refused; a watch waits for one. Large request bodies take permits of a budget of their own: a client gets
//! one before the first byte arrives, so unfinished requests could otherwise use up the memory for answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::api::clients::ClientKey;
use crate::telemetry::metrics::Metrics;

/// The unit of permits, in bytes.
const UNIT: usize = 1024;

/// The bounds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlightLimits {
    /// The bound for all clients together.
    pub total: usize,
    /// Of one client.
    pub per_client: usize,
}

impl InFlightLimits {
    /// The bounds of request bodies.
    pub const BODIES: Self = Self { total: 16 << 20, per_client: 4 << 20 };
}

/// The bounds of answers.
impl Default for InFlightLimits {
    fn default() -> Self {
        Self { total: 64 << 20, per_client: 16 << 20 }
    }
}

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::api) enum Full {
    #[error("the memory for responses is used up; try again, or ask for pages with limit")]
    Server,
    #[error(
        "this client has used up its share of the memory for responses; read the responses that you requested, or ask for pages with limit"
    )]
    Client,
}

impl Full {
    /// The reason under which it is counted.
    pub(in crate::api) fn reason(self) -> &'static str {
        match self {
            Self::Server => "answers_in_flight",
            Self::Client => "client_answers_in_flight",
        }
    }
}

/// Why there is no permit for a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::api) enum BodiesFull {
    #[error("the memory for request bodies is used up; try again")]
    Server,
    #[error("this client has used up its share of the memory for request bodies; send fewer large requests at once")]
    Client,
}

impl BodiesFull {
    /// The reason under which it is counted.
    pub(in crate::api) fn reason(self) -> &'static str {
        match self {
            Self::Server => "bodies_in_flight",
            Self::Client => "client_bodies_in_flight",
        }
    }
}

impl From<Full> for BodiesFull {
    fn from(full: Full) -> Self {
        match full {
            Full::Server => Self::Server,
            Full::Client => Self::Client,
        }
    }
}

/// Counts the bodies in flight.
#[derive(Debug)]
pub struct InFlight {
    total: Arc<Semaphore>,
    per_client: u32,
    metrics: Metrics,
    clients: Mutex<HashMap<ClientKey, Share>>,
}

#[derive(Debug)]
struct Share {
    units: Arc<Semaphore>,
    /// Permits in use or waited for.
    users: usize,
}

/// The memory of one body, given back when dropped.
#[derive(Debug)]
pub(in crate::api) struct Permit {
    _units: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
    // Dropped last: the client is forgotten once its units are back.
    user: User,
}

/// A client that is remembered for as long as it has a body in in flight.
#[derive(Debug)]
struct User {
    in_flight: Arc<InFlight>,
    client: ClientKey,
}

impl InFlight {
    /// Nothing in flight yet.
    pub fn new(limits: InFlightLimits, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            total: Arc::new(Semaphore::new(limits.total / UNIT)),
            per_client: units(limits.per_client, u32::MAX),
            metrics,
            clients: Mutex::default(),
        })
    }

    /// A permit for `bytes`, if there is one. An answer larger than a client's whole share takes all of it.
    pub(in crate::api) fn take(self: &Arc<Self>, client: ClientKey, bytes: usize) -> Result<Permit, Full> {
        let units = units(bytes, self.per_client);
        let (share, user) = self.user(client);
        let share = share.try_acquire_many_owned(units).map_err(|_| Full::Client)?;
        let units = Arc::clone(&self.total).try_acquire_many_owned(units).map_err(|_| Full::Server)?;
        Ok(Permit { _units: units, _share: share, user })
    }

    /// The same, once there is one, first come first served. None when no permits are given out any more.
    pub(in crate::api) async fn wait(self: &Arc<Self>, client: ClientKey, bytes: usize) -> Option<Permit> {
        let units = units(bytes, self.per_client);
        let (share, user) = self.user(client);
        let share = share.acquire_many_owned(units).await.ok()?;
        let units = Arc::clone(&self.total).acquire_many_owned(units).await.ok()?;
        Some(Permit { _units: units, _share: share, user })
    }

    /// Counts a reader that kept too much in memory.
    pub(in crate::api) fn gave_up(&self, reason: &'static str) {
        self.metrics.reject(reason);
    }

    fn user(self: &Arc<Self>, client: ClientKey) -> (Arc<Semaphore>, User) {
        let mut clients = self.lock();
        let most = usize::try_from(self.per_client).unwrap_or(usize::MAX);
        let share = clients.entry(client).or_insert_with(|| Share { units: Arc::new(Semaphore::new(most)), users: 0 });
        share.users += 1;
        (Arc::clone(&share.units), User { in_flight: Arc::clone(self), client })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientKey, Share>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Counts an answer that was cut off because its reader kept too much in memory.
    pub(in crate::api) fn broke_off(&self) {
        self.user.in_flight.gave_up("outdated_answer");
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut clients = self.in_flight.lock();
        if let Some(share) = clients.get_mut(&self.client) {
            share.users -= 1;
            if share.users == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

fn units(bytes: usize, most: u32) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures::FutureExt;

    use super::*;

    fn client(n: u8) -> ClientKey {
        IpAddr::from([10, 0, 0, n]).into()
    }

    #[tokio::test]
    async fn memory_is_bounded_in_all_and_for_each_client_and_comes_back() {
        let in_flight = InFlight::new(InFlightLimits { total: 3 * UNIT, per_client: 2 * UNIT }, Metrics::default());
        let first = in_flight.take(client(1), 1).expect("free");
        let second = in_flight.take(client(1), UNIT).expect("free");
        assert_eq!(in_flight.take(client(1), 1).expect_err("its share"), Full::Client);
        assert_eq!(in_flight.take(client(2), 2 * UNIT).expect_err("one unit is left"), Full::Server);
        let _third = in_flight.take(client(2), 1).expect("the last one");
        let mut waits = Box::pin(in_flight.wait(client(3), 1));
        assert!(waits.as_mut().now_or_never().is_none(), "nothing is free");
        drop((first, second));
        assert!(waits.await.is_some());
        assert_eq!(in_flight.lock().len(), 1, "only clients with something in flight are remembered");
    }

    #[test]
    fn an_answer_larger_than_the_share_is_sent_alone() {
        let in_flight = InFlight::new(InFlightLimits { total: 3 * UNIT, per_client: 2 * UNIT }, Metrics::default());
        let large = in_flight.take(client(1), 100 * UNIT).expect("alone");
        assert_eq!(in_flight.take(client(1), 1).expect_err("it takes all"), Full::Client);
        drop(large);
        assert!(in_flight.take(client(1), 1).is_ok());
    }
}
