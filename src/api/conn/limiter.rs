//! How many connections there may be, in all and of one client.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use prometheus_client::metrics::gauge::Gauge;

use super::ConnSettings;
use super::activity::{Activity, WaitingFor};
use super::eviction::{self, Candidate, Group};
use crate::api::clients::{ClientCounts, ClientKey};
use crate::model::sync::{Arc, Mutex, PoisonError};

/// Why there is no room for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The server has as many as it may.
    Server,
    /// The client has its share.
    Client,
}

/// Counts the connections of one server, and chooses those that make room.
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    total: usize,
    per_client: usize,
    unshared: Vec<IpNet>,
    gauge: Gauge,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    counts: ClientCounts,
    open: HashMap<u64, Connection>,
    newest: u64,
    /// Connections that are evicted and not closed yet.
    leaving: usize,
    /// Those that may make room, the first to go at the end, as the scan of the second `scanned` found them.
    candidates: Vec<Candidate>,
    scanned: Option<u32>,
    /// Connections that needed room since.
    needed: usize,
}

#[derive(Debug)]
struct Connection {
    activity: Arc<Activity>,
    client: Option<ClientKey>,
    group: Option<Group>,
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    client: Option<ClientKey>,
    number: u64,
}

/// A place that was found.
#[derive(Debug)]
pub(super) struct Acquired {
    pub(super) permit: ConnectionPermit,
    /// Why another connection had to make room, as a reason of `portolan_rejected_total`.
    pub(super) evicted: Option<&'static str>,
}

/// Most connections that are evicted and not closed yet, since those still have a descriptor.
const MAX_LEAVING: usize = 64;
/// Open connections that are scanned for each one that needs room: a scan waits until enough have needed it.
const SCANNED_PER_NEED: usize = 64;

impl ConnectionLimiter {
    pub(super) fn new(settings: &ConnSettings, gauge: Gauge) -> Arc<Self> {
        Arc::new(Self {
            total: settings.total,
            per_client: settings.per_client,
            unshared: settings.unshared.clone(),
            gauge,
            state: Mutex::default(),
        })
    }

    /// A place for `peer`, if there is one, or if another connection can make room: of its own client where that has its share, else of any.
    /// `now` is the second of the server's clock.
    pub(super) fn acquire(
        self: &Arc<Self>,
        peer: SocketAddr,
        activity: &Arc<Activity>,
        now: u32,
    ) -> Result<Acquired, Full> {
        let ip = peer.ip().to_canonical();
        let shares = self.shares(ip);
        let (client, group) = (shares.then(|| ClientKey::from(ip)), shares.then(|| Group::from(ip)));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut evicted = None;
        if let Some(client) = client
            && state.counts.of(client) >= self.per_client
        {
            evicted = Some(state.evict_of(client, now).ok_or(Full::Client)?);
        }
        let used = state.counts.total() - state.leaving;
        if used >= self.total {
            evicted = Some(state.evict(now, |_| true).ok_or(Full::Server)?);
        } else if used >= self.total / 4 * 3 {
            // Before it is full: no group keeps more unfinished requests than an eighth.
            let share = (self.total / 8).max(1);
            evicted = evicted.or_else(|| state.evict(now, |candidate| candidate.is_over(share)));
        }
        state.counts.add(client);
        state.newest += 1;
        let number = state.newest;
        state.open.insert(number, Connection { activity: Arc::clone(activity), client, group });
        self.gauge.inc();
        Ok(Acquired { permit: ConnectionPermit { limiter: Arc::clone(self), client, number }, evicted })
    }

    /// A proxy brings many clients, so it has no share.
    fn shares(&self, ip: IpAddr) -> bool {
        !self.unshared.iter().any(|net| net.contains(&ip))
    }
}

impl State {
    /// Evicts the first candidate, if `fits` accepts it; returns the reason.
    fn evict(&mut self, now: u32, fits: impl Fn(&Candidate) -> bool) -> Option<&'static str> {
        self.scan(now);
        while let Some(candidate) = self.candidates.pop() {
            if !self.still_waits(&candidate) {
                continue;
            }
            if self.leaving >= MAX_LEAVING || !fits(&candidate) {
                self.candidates.push(candidate);
                return None;
            }
            return Some(self.close(&candidate));
        }
        None
    }

    /// The same among one client's requests that have been unfinished for a while: a stalled one makes room for its neighbour behind the same
    /// address.
    fn evict_of(&mut self, client: ClientKey, now: u32) -> Option<&'static str> {
        self.scan(now);
        if self.leaving >= MAX_LEAVING {
            return None;
        }
        let own = |connection: &Connection| connection.client == Some(client);
        let found = self.candidates.iter().rposition(|candidate| {
            let unfinished = candidate.waiting_for == WaitingFor::Request && candidate.is_long(now);
            unfinished && self.open.get(&candidate.number).is_some_and(own) && self.still_waits(candidate)
        });
        let candidate = self.candidates.remove(found?);
        Some(self.close(&candidate))
    }

    fn still_waits(&self, candidate: &Candidate) -> bool {
        let expected = Some((candidate.waiting_for, candidate.since));
        self.open.get(&candidate.number).is_some_and(|connection| connection.activity.waiting_for() == expected)
    }

    fn close(&mut self, candidate: &Candidate) -> &'static str {
        if let Some(connection) = self.open.get(&candidate.number) {
            connection.activity.evict();
            self.leaving += 1;
        }
        match candidate.waiting_for {
            WaitingFor::Request => "unfinished_request",
            WaitingFor::Idle => "idle_connection",
            WaitingFor::Reader => "stalled_write",
        }
    }

    /// Finds the candidates among all connections: once a second, and when enough connections have needed room to be worth it.
    fn scan(&mut self, now: u32) {
        self.needed += 1;
        if self.scanned == Some(now) && self.needed * SCANNED_PER_NEED < self.open.len() {
            return;
        }
        (self.scanned, self.needed) = (Some(now), 0);
        let waiting = self.open.iter().filter_map(|(number, connection)| {
            let (waiting_for, since) = connection.activity.waiting_for()?;
            Some(Candidate { number: *number, group: connection.group, waiting_for, since, newer: 0 })
        });
        self.candidates = eviction::eviction_order(waiting.collect(), now);
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut state = self.limiter.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.counts.remove(self.client);
        if state.open.remove(&self.number).is_some_and(|connection| connection.activity.is_evicted()) {
            state.leaving = state.leaving.saturating_sub(1);
        }
        self.limiter.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_shared_and_given_back() {
        let unshared = vec!["10.0.0.0/8".parse().expect("a network")];
        let settings = ConnSettings { total: 5, per_client: 2, unshared, ..ConnSettings::default() };
        let gauge = Gauge::default();
        let limiter = ConnectionLimiter::new(&settings, gauge.clone());
        let acquire = |ip: &str| {
            // A connection that answers a request makes room for nobody.
            let activity = Arc::new(Activity::default());
            activity.read();
            activity.request();
            let acquired = limiter.acquire(SocketAddr::new(ip.parse().expect("an address"), 1), &activity, 0);
            acquired.map(|acquired| acquired.permit)
        };
        let own = [acquire("2001:db8::1").expect("free"), acquire("2001:db8::2").expect("free")];
        assert_eq!(acquire("2001:db8::3").expect_err("one /64"), Full::Client);
        let proxied =
            [acquire("10.0.0.1"), acquire("10.0.0.1"), acquire("10.0.0.1")].map(|permit| permit.expect("no share"));
        assert_eq!(acquire("192.0.2.1").expect_err("full"), Full::Server);
        assert_eq!(gauge.get(), 5);
        drop((own, proxied));
        assert_eq!(gauge.get(), 0);
        assert!(acquire("2001:db8::3").is_ok());
        assert_eq!(limiter.state.lock().expect("sound").counts.clients(), 0, "no client is remembered");
    }
}
