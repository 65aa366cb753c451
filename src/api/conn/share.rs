//! Who holds how many connections.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::IpNet;
use prometheus_client::metrics::gauge::Gauge;

use super::ConnSettings;
use super::watch::Watch;
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
    held: HashMap<u64, Arc<Watch>>,
    newest: u64,
    /// Of all, those that were told to make room and are not gone yet.
    leaving: usize,
    /// Idle connections and since when, the longest idle one last, as they were found at the beat `looked`.
    idle: Vec<(u64, u32)>,
    looked: Option<u32>,
}

/// One connection's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    client: Option<ClientKey>,
    number: u64,
}

/// A seat that was taken.
#[derive(Debug)]
pub(super) struct Seated {
    pub(super) seat: Seat,
    /// Whether an idle connection had to make room.
    pub(super) evicted: bool,
}

/// Beats after which an idle connection may be closed for another: one that is used all the time is idle between any two requests.
const REST: u32 = 2;
/// Idle connections that are found in one look, one look a beat.
const FOUND: usize = 1024;
/// Connections that were told to go and are not gone yet, at most: those have a descriptor still.
const LEAVING: usize = 64;

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

    /// A seat for `peer`, if there is one, or if a connection that idles longest can make room.
    pub(super) fn take(self: &Arc<Self>, peer: SocketAddr, watch: &Arc<Watch>, beat: u32) -> Result<Seated, Full> {
        let client = self.shares(peer.ip().to_canonical()).then(|| ClientKey::from(peer.ip()));
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &client
            && taken.by_client.get(client).is_some_and(|held| *held >= self.per_client)
        {
            return Err(Full::Client);
        }
        let evicted = taken.total - taken.leaving >= self.total;
        if evicted && !taken.make_room(beat) {
            return Err(Full::Server);
        }
        if let Some(client) = client {
            *taken.by_client.entry(client).or_insert(0) += 1;
        }
        taken.total += 1;
        taken.newest += 1;
        let number = taken.newest;
        taken.held.insert(number, Arc::clone(watch));
        self.gauge.inc();
        Ok(Seated { seat: Seat { seats: Arc::clone(self), client, number }, evicted })
    }

    /// A proxy brings many clients, so it has no share.
    fn shares(&self, ip: IpAddr) -> bool {
        !self.unshared.iter().any(|net| net.contains(&ip))
    }
}

impl Taken {
    /// Tells the connection that is idle longest to go.
    fn make_room(&mut self, beat: u32) -> bool {
        if self.leaving >= LEAVING {
            return false;
        }
        if self.idle.is_empty() && self.looked != Some(beat) {
            self.look(beat);
        }
        while let Some((number, since)) = self.idle.pop() {
            if let Some(watch) = self.held.get(&number)
                && watch.idle_since() == Some(since)
            {
                watch.evict();
                self.leaving += 1;
                return true;
            }
        }
        false
    }

    fn look(&mut self, beat: u32) {
        self.looked = Some(beat);
        let age = |since: u32| beat.wrapping_sub(since);
        let idle = self.held.iter().filter_map(|(number, watch)| Some((*number, watch.idle_since()?)));
        self.idle = idle.filter(|(_, since)| age(*since) >= REST).collect();
        if self.idle.len() > FOUND {
            self.idle.select_nth_unstable_by_key(FOUND, |(_, since)| std::cmp::Reverse(age(*since)));
            self.idle.truncate(FOUND);
        }
        self.idle.sort_unstable_by_key(|(_, since)| age(*since));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total = taken.total.saturating_sub(1);
        if taken.held.remove(&self.number).is_some_and(|watch| watch.is_evicted()) {
            taken.leaving = taken.leaving.saturating_sub(1);
        }
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
        let take = |ip: &str| {
            let taken = seats.take(SocketAddr::new(ip.parse().expect("an address"), 1), &Arc::default(), 0);
            taken.map(|taken| taken.seat)
        };
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
