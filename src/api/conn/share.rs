//! Who holds how many connections.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use prometheus_client::metrics::gauge::Gauge;

use super::ConnSettings;
use crate::api::access::ClientKey;

/// Why there is no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// All connections are taken.
    Server,
    /// The client has its share.
    Client,
}

/// The seats of one server.
#[derive(Debug)]
pub(super) struct Seats {
    total: usize,
    per_client: usize,
    unshared: Vec<IpNet>,
    gauge: Gauge,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_client: HashMap<ClientKey, usize>,
}

/// One connection's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    client: Option<ClientKey>,
}

impl Seats {
    pub(super) fn new(settings: &ConnSettings, gauge: Gauge) -> Arc<Self> {
        Arc::new(Self {
            total: settings.total,
            per_client: settings.per_client,
            unshared: settings.unshared.clone(),
            gauge,
            taken: Mutex::default(),
        })
    }

    /// A seat for `peer`, if there is one.
    pub(super) fn take(self: &Arc<Self>, peer: SocketAddr) -> Result<Seat, Full> {
        let client = self.shares(peer.ip().to_canonical()).then(|| ClientKey::from(peer.ip()));
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.total >= self.total {
            return Err(Full::Server);
        }
        if let Some(client) = client {
            let held = taken.by_client.entry(client).or_insert(0);
            if *held >= self.per_client {
                return Err(Full::Client);
            }
            *held += 1;
        }
        taken.total += 1;
        self.gauge.inc();
        Ok(Seat { seats: Arc::clone(self), client })
    }

    /// A proxy brings many clients, so it has no share.
    fn shares(&self, ip: IpAddr) -> bool {
        !self.unshared.iter().any(|net| net.contains(&ip))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total = taken.total.saturating_sub(1);
        self.seats.gauge.dec();
        let Some(client) = self.client else { return };
        let Some(held) = taken.by_client.get_mut(&client) else { return };
        *held = held.saturating_sub(1);
        if *held == 0 {
            taken.by_client.remove(&client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_shared_and_given_back() {
        let unshared = vec!["10.0.0.0/8".parse().expect("a network")];
        let settings = ConnSettings { total: 5, per_client: 2, unshared, ..ConnSettings::default() };
        let gauge = Gauge::default();
        let seats = Seats::new(&settings, gauge.clone());
        let take = |ip: &str| seats.take(SocketAddr::new(ip.parse().expect("an address"), 1));
        let held = [take("2001:db8::1").expect("free"), take("2001:db8::2").expect("free")];
        assert_eq!(take("2001:db8::3").expect_err("one /64"), Full::Client);
        let proxied = [take("10.0.0.1"), take("10.0.0.1"), take("10.0.0.1")].map(|seat| seat.expect("no share"));
        assert_eq!(take("192.0.2.1").expect_err("full"), Full::Server);
        assert_eq!(gauge.get(), 5);
        drop((held, proxied));
        assert_eq!(gauge.get(), 0);
        assert!(take("2001:db8::3").is_ok());
        assert!(seats.taken.lock().expect("sound").by_client.is_empty(), "no client is remembered");
    }
}
