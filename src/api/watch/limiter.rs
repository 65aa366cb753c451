//! How many watches and long polls there may be, in all and of one client.

use std::net::IpAddr;

use tokio_util::sync::CancellationToken;

use crate::api::clients::{ClientCounts, ClientKey};
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
    /// Three quarters of the connections that may be open, and of each client's share of them, so that there is room for other requests.
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

/// Why there is no room for a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WatchFull {
    #[error("the server has reached its limit of open watches; try again, or ask for lists instead")]
    Server,
    #[error("this client has reached its limit of open watches; end one, or share one")]
    Client,
}

/// Counts all watches and long polls.
#[derive(Debug)]
pub struct WatchLimiter {
    limits: WatchLimits,
    open: Mutex<ClientCounts>,
    /// Cancelled once the server stops.
    closed: CancellationToken,
}

/// Kept for as long as the watch lasts.
#[derive(Debug)]
pub(crate) struct WatchPermit {
    limiter: Arc<WatchLimiter>,
    client: ClientKey,
}

impl WatchLimiter {
    /// No watch yet.
    pub fn new(limits: WatchLimits) -> Arc<Self> {
        Arc::new(Self { limits, open: Mutex::default(), closed: CancellationToken::new() })
    }

    /// Ends what waits: the server stops.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    pub(crate) fn acquire(self: &Arc<Self>, client: IpAddr) -> Result<WatchPermit, WatchFull> {
        let client = ClientKey::from(client);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total() >= self.limits.total {
            return Err(WatchFull::Server);
        }
        if open.of(client) >= self.limits.per_client {
            return Err(WatchFull::Client);
        }
        open.add(Some(client));
        Ok(WatchPermit { limiter: Arc::clone(self), client })
    }
}

impl WatchPermit {
    /// How many watches and long polls its client has open, this one included.
    pub(crate) fn of_client(&self) -> usize {
        self.limiter.open.lock().unwrap_or_else(PoisonError::into_inner).of(self.client)
    }

    /// Resolves once the server stops.
    pub(crate) async fn closed(&self) {
        self.limiter.closed.cancelled().await;
    }
}

impl Drop for WatchPermit {
    fn drop(&mut self) {
        self.limiter.open.lock().unwrap_or_else(PoisonError::into_inner).remove(Some(self.client));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_are_bounded_in_all_and_for_each_client_and_permits_come_back() {
        let limiter = WatchLimiter::new(WatchLimits { total: 3, per_client: 2 });
        let [a, b, c] = [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]].map(IpAddr::from);
        let first = limiter.acquire(a).expect("a permit");
        assert_eq!(first.of_client(), 1);
        let _second = limiter.acquire(a).expect("a permit");
        assert_eq!(limiter.acquire(a).expect_err("no third"), WatchFull::Client);
        let third = limiter.acquire(b).expect("a permit");
        assert_eq!((first.of_client(), third.of_client()), (2, 1));
        assert_eq!(limiter.acquire(c).expect_err("full"), WatchFull::Server);
        drop(first);
        assert!(limiter.acquire(a).is_ok());
    }
}
