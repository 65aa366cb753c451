//! Who holds how many connections.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use prometheus_client::metrics::gauge::Gauge;

use super::ConnSettings;
use super::crowd::{self, Group, Waiting};
use super::watch::{Wait, Watch};
use crate::api::access::ClientKey;
use crate::model::sync::{Arc, Mutex, PoisonError};

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
    held: HashMap<u64, Held>,
    newest: u64,
    /// Of all, those that were told to make room and are not gone yet.
    leaving: usize,
    /// Those that may make room, whose turn is first at the end, as they were found at the beat `looked`.
    in_turn: Vec<Waiting>,
    looked: Option<u32>,
    /// Connections that asked for room since.
    asked: usize,
}

#[derive(Debug)]
struct Held {
    watch: Arc<Watch>,
    client: Option<ClientKey>,
    group: Option<Group>,
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
    /// Why another connection had to make room, in the words of `portolan_rejected_total`.
    pub(super) evicted: Option<&'static str>,
}

/// Connections that were told to go and are not gone yet, at most: those have a descriptor still.
const LEAVING: usize = 64;
/// Connections that are looked at for each one that asks for room: a look at all is paid for by as many as that is worth.
const LOOKED_AT: usize = 64;

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

    /// A seat for `peer`, if there is one, or if another connection can make room: its own client's at its share, else any.
    pub(super) fn take(self: &Arc<Self>, peer: SocketAddr, watch: &Arc<Watch>, beat: u32) -> Result<Seated, Full> {
        let ip = peer.ip().to_canonical();
        let shares = self.shares(ip);
        let (client, group) = (shares.then(|| ClientKey::from(ip)), shares.then(|| Group::from(ip)));
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut evicted = None;
        if let Some(client) = &client
            && taken.by_client.get(client).is_some_and(|held| *held >= self.per_client)
        {
            evicted = Some(taken.make_room_of(*client, beat).ok_or(Full::Client)?);
        }
        let used = taken.total - taken.leaving;
        if used >= self.total {
            evicted = Some(taken.make_room(beat, |_| true).ok_or(Full::Server)?);
        } else if used >= self.total / 4 * 3 {
            // Before it is full: no group keeps more unfinished requests than an eighth.
            let share = (self.total / 8).max(1);
            evicted = evicted.or_else(|| taken.make_room(beat, |one| one.is_over(share)));
        }
        if let Some(client) = client {
            *taken.by_client.entry(client).or_insert(0) += 1;
        }
        taken.total += 1;
        taken.newest += 1;
        let number = taken.newest;
        taken.held.insert(number, Held { watch: Arc::clone(watch), client, group });
        self.gauge.inc();
        Ok(Seated { seat: Seat { seats: Arc::clone(self), client, number }, evicted })
    }

    /// A proxy brings many clients, so it has no share.
    fn shares(&self, ip: IpAddr) -> bool {
        !self.unshared.iter().any(|net| net.contains(&ip))
    }
}

impl Taken {
    /// Tells the connection whose turn it is to go, if `fits` says so; the reason.
    fn make_room(&mut self, beat: u32, fits: impl Fn(&Waiting) -> bool) -> Option<&'static str> {
        self.look(beat);
        while let Some(one) = self.in_turn.pop() {
            if !self.still_waits(&one) {
                continue;
            }
            if self.leaving >= LEAVING || !fits(&one) {
                self.in_turn.push(one);
                return None;
            }
            return Some(self.tell_to_go(&one));
        }
        None
    }

    /// The same among one client's requests that have been unfinished for a while: one that stalls gives way to its neighbour behind the
    /// same address.
    fn make_room_of(&mut self, client: ClientKey, beat: u32) -> Option<&'static str> {
        self.look(beat);
        if self.leaving >= LEAVING {
            return None;
        }
        let own = |held: &Held| held.client == Some(client);
        let found = self.in_turn.iter().rposition(|one| {
            let unfinished = one.wait == Wait::Request && one.is_long(beat);
            unfinished && self.held.get(&one.number).is_some_and(own) && self.still_waits(one)
        });
        let one = self.in_turn.remove(found?);
        Some(self.tell_to_go(&one))
    }

    fn still_waits(&self, one: &Waiting) -> bool {
        self.held.get(&one.number).is_some_and(|held| held.watch.waits() == Some((one.wait, one.since)))
    }

    fn tell_to_go(&mut self, one: &Waiting) -> &'static str {
        if let Some(held) = self.held.get(&one.number) {
            held.watch.evict();
            self.leaving += 1;
        }
        match one.wait {
            Wait::Request => "unfinished_request",
            Wait::Idle => "idle_connection",
            Wait::Reader => "stalled_write",
        }
    }

    /// Looks at all connections: once a beat, and when enough have asked for room to be worth it.
    fn look(&mut self, beat: u32) {
        self.asked += 1;
        if self.looked == Some(beat) && self.asked * LOOKED_AT < self.held.len() {
            return;
        }
        (self.looked, self.asked) = (Some(beat), 0);
        let waiting = self.held.iter().filter_map(|(number, held)| {
            let (wait, since) = held.watch.waits()?;
            Some(Waiting { number: *number, group: held.group, wait, since, newer: 0 })
        });
        self.in_turn = crowd::in_turn(waiting.collect(), beat);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total = taken.total.saturating_sub(1);
        if taken.held.remove(&self.number).is_some_and(|held| held.watch.is_evicted()) {
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
            // One that answers makes room for nobody.
            let watch = Arc::new(Watch::default());
            watch.read();
            watch.request();
            let taken = seats.take(SocketAddr::new(ip.parse().expect("an address"), 1), &watch, 0);
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
