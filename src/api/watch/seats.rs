//! How many watches there may be, in all and of one client.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::api::access::ClientKey;
use crate::model::sync::{Arc, Mutex, PoisonError};

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchLimits {
    /// Watches at once.
    pub total: usize,
    /// Of one client: an IPv4 address or an IPv6 /64.
    pub per_client: usize,
}

impl WatchLimits {
    /// Three quarters of the connections that may be open, so that others can still ask; of each client's share too.
    pub fn of(connections: usize, per_client: usize) -> Self {
        Self { total: (connections / 4 * 3).max(1), per_client: (per_client / 4 * 3).max(1) }
    }
}

impl Default for WatchLimits {
    /// Those of 409 connections, 102 of a client.
    fn default() -> Self {
        Self::of(409, 102)
    }
}

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("the server holds as many watches as it may; try again, or ask for lists instead")]
    Server,
    #[error("this client holds as many watches as it may; end one, or share one")]
    Client,
}

/// Seats of all watches.
#[derive(Debug)]
pub(crate) struct Seats {
    limits: WatchLimits,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_client: HashMap<ClientKey, usize>,
}

/// Held for as long as the watch lasts.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    client: ClientKey,
}

impl Seats {
    pub(crate) fn new(limits: WatchLimits) -> Arc<Self> {
        Arc::new(Self { limits, taken: Mutex::default() })
    }

    pub(crate) fn take(self: &Arc<Self>, client: IpAddr) -> Result<Seat, Full> {
        let client = ClientKey::from(client);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.total >= self.limits.total {
            return Err(Full::Server);
        }
        let mine = taken.by_client.entry(client).or_insert(0);
        if *mine >= self.limits.per_client {
            return Err(Full::Client);
        }
        *mine += 1;
        taken.total += 1;
        Ok(Seat { seats: Arc::clone(self), client })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total -= 1;
        if let Some(mine) = taken.by_client.get_mut(&self.client) {
            *mine -= 1;
            if *mine == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_in_all_and_for_each_client_and_come_back() {
        let seats = Seats::new(WatchLimits { total: 3, per_client: 2 });
        let [a, b, c] = [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]].map(IpAddr::from);
        let first = seats.take(a).expect("a seat");
        let _second = seats.take(a).expect("a seat");
        assert_eq!(seats.take(a).expect_err("no third"), Full::Client);
        let _third = seats.take(b).expect("a seat");
        assert_eq!(seats.take(c).expect_err("full"), Full::Server);
        drop(first);
        assert!(seats.take(a).is_ok());
    }
}
