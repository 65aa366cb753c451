//! Memory of what is being sent and received, in all and of one client.
//!
//! An answer of one piece is in its connection's buffers and counts as a connection. A larger one takes a permit for what it keeps in
//! memory, and so does a request's body; where there is none left it is refused, or, in the middle of a watch, waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::access::ClientKey;
use super::envelope::{ApiError, Code};
use crate::telemetry::metrics::Metrics;

/// What a permit is counted in, in bytes.
const UNIT: usize = 1024;

/// The bounds, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlightLimits {
    /// Of all answers together.
    pub total: usize,
    /// Of one client's.
    pub per_client: usize,
}

impl Default for FlightLimits {
    fn default() -> Self {
        Self { total: 64 << 20, per_client: 16 << 20 }
    }
}

/// Why an answer may not be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("as much is being sent as there is memory for; try again, or ask for a page with limit")]
    Server,
    #[error("this client has as much being sent as one may; read what you asked for, or ask for a page with limit")]
    Client,
}

impl Full {
    /// The word under which it is counted.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Server => "answers_in_flight",
            Self::Client => "client_answers_in_flight",
        }
    }
}

impl From<Full> for ApiError {
    fn from(full: Full) -> Self {
        let code = match full {
            Full::Server => Code::Busy,
            Full::Client => Code::TooManyAnswers,
        };
        Self::new(code, full.to_string()).retry_after(1)
    }
}

/// What may be under way.
#[derive(Debug)]
pub(super) struct Flight {
    total: Arc<Semaphore>,
    per_client: u32,
    metrics: Metrics,
    clients: Mutex<HashMap<ClientKey, Share>>,
}

#[derive(Debug)]
struct Share {
    units: Arc<Semaphore>,
    /// Permits that are held or waited for.
    users: usize,
}

/// One answer's part, given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _units: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
    // Last: the client is forgotten once its units are back.
    user: User,
}

/// A client that is remembered for as long as it has something under way.
#[derive(Debug)]
struct User {
    flight: Arc<Flight>,
    client: ClientKey,
}

impl Flight {
    pub(super) fn new(limits: FlightLimits, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            total: Arc::new(Semaphore::new(limits.total / UNIT)),
            per_client: units(limits.per_client, u32::MAX),
            metrics,
            clients: Mutex::default(),
        })
    }

    /// A permit for `bytes`, if there is one. An answer that is larger than a client's whole part takes all of it.
    pub(super) fn take(self: &Arc<Self>, client: ClientKey, bytes: usize) -> Result<Permit, Full> {
        let units = units(bytes, self.per_client);
        let (share, user) = self.user(client);
        let share = share.try_acquire_many_owned(units).map_err(|_| Full::Client)?;
        let units = Arc::clone(&self.total).try_acquire_many_owned(units).map_err(|_| Full::Server)?;
        Ok(Permit { _units: units, _share: share, user })
    }

    /// The same, once there is one; who came first gets it first. None when nothing is given out any more.
    pub(super) async fn wait(self: &Arc<Self>, client: ClientKey, bytes: usize) -> Option<Permit> {
        let units = units(bytes, self.per_client);
        let (share, user) = self.user(client);
        let share = share.acquire_many_owned(units).await.ok()?;
        let units = Arc::clone(&self.total).acquire_many_owned(units).await.ok()?;
        Some(Permit { _units: units, _share: share, user })
    }

    /// Counts a reader that kept too much alive.
    pub(super) fn gave_up(&self, reason: &'static str) {
        self.metrics.reject(reason);
    }

    fn user(self: &Arc<Self>, client: ClientKey) -> (Arc<Semaphore>, User) {
        let mut clients = self.lock();
        let most = usize::try_from(self.per_client).unwrap_or(usize::MAX);
        let share = clients.entry(client).or_insert_with(|| Share { units: Arc::new(Semaphore::new(most)), users: 0 });
        share.users += 1;
        (Arc::clone(&share.units), User { flight: Arc::clone(self), client })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientKey, Share>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Counts an answer that broke off, since its reader kept too much alive.
    pub(super) fn broke_off(&self) {
        self.user.flight.gave_up("outdated_answer");
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut clients = self.flight.lock();
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
        let flight = Flight::new(FlightLimits { total: 3 * UNIT, per_client: 2 * UNIT }, Metrics::default());
        let first = flight.take(client(1), 1).expect("free");
        let second = flight.take(client(1), UNIT).expect("free");
        assert_eq!(flight.take(client(1), 1).expect_err("its share"), Full::Client);
        assert_eq!(flight.take(client(2), 2 * UNIT).expect_err("one unit is left"), Full::Server);
        let _third = flight.take(client(2), 1).expect("the last one");
        let mut waits = Box::pin(flight.wait(client(3), 1));
        assert!(waits.as_mut().now_or_never().is_none(), "nothing is free");
        drop((first, second));
        assert!(waits.await.is_some());
        assert_eq!(flight.lock().len(), 1, "only who has something under way is remembered");
    }

    #[test]
    fn an_answer_larger_than_the_share_is_sent_alone() {
        let flight = Flight::new(FlightLimits { total: 3 * UNIT, per_client: 2 * UNIT }, Metrics::default());
        let large = flight.take(client(1), 100 * UNIT).expect("alone");
        assert_eq!(flight.take(client(1), 1).expect_err("it takes all"), Full::Client);
        drop(large);
        assert!(flight.take(client(1), 1).is_ok());
    }
}
