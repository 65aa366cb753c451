//! Tells clients apart for limits, and counts how much of a limited resource each client holds. Nothing here locks or waits: the limiters do.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// A client, as limits tell clients apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKey {
    /// A token's issuer and subject, hashed with a key of this process.
    Subject(u64),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The /64 of an IPv6 address: what one customer usually gets, so that one machine cannot be thousands of clients.
    V6(u64),
}

impl std::hash::Hash for ClientKey {
    /// A single `u64`: the rate limit hashes it for every request.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64(match self {
            Self::Subject(hash) => *hash,
            Self::V4(ip) => u64::from(ip.to_bits()),
            Self::V6(prefix) => !*prefix,
        });
    }
}

impl From<IpAddr> for ClientKey {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => Self::V6(u64::try_from(u128::from(ip) >> 64).unwrap_or(u64::MAX)),
        }
    }
}

/// How many there are, in all and of each client. A client that holds none is forgotten.
#[derive(Debug, Default)]
pub(crate) struct ClientCounts {
    total: usize,
    by_client: HashMap<ClientKey, usize>,
}

impl ClientCounts {
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn of(&self, client: ClientKey) -> usize {
        self.by_client.get(&client).copied().unwrap_or(0)
    }

    /// Adds one; without a client it counts in the total alone.
    pub(crate) fn add(&mut self, client: Option<ClientKey>) {
        self.total += 1;
        if let Some(client) = client {
            *self.by_client.entry(client).or_insert(0) += 1;
        }
    }

    /// Takes back what [`Self::add`] added.
    pub(crate) fn remove(&mut self, client: Option<ClientKey>) {
        self.total = self.total.saturating_sub(1);
        let Some(client) = client else { return };
        let Some(count) = self.by_client.get_mut(&client) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.by_client.remove(&client);
        }
    }

    #[cfg(test)]
    pub(crate) fn clients(&self) -> usize {
        self.by_client.len()
    }
}
