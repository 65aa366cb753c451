//! Which connections are closed to make room for others, and in which order.
//!
//! Those that wait for the rest of a request go first, from the address group that has most of them, oldest first. So a client with many
//! half-sent requests loses one of its own for each further connection, however many addresses it has.

use std::collections::HashMap;
use std::net::IpAddr;

use super::activity::WaitingFor;

/// Seconds after which a wait is long: a busy connection waits briefly between any two requests.
const LONG_WAIT: u32 = 2;
/// A group with this many others is large.
const LARGE_GROUP: usize = 8;
/// Most candidates of one scan.
const MAX_CANDIDATES: usize = 1024;

/// Addresses that one attacker is likely to have together: an IPv4 /24, an IPv6 /48.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Group {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Group {
    fn from(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.to_bits() >> 8),
            IpAddr::V6(ip) => Self::V6(u64::try_from(ip.to_bits() >> 80).unwrap_or(u64::MAX)),
        }
    }
}

/// A connection that waits, as the scan found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Counts up with each connection.
    pub(super) number: u64,
    /// None for a trusted proxy, which brings many clients.
    pub(super) group: Option<Group>,
    pub(super) waiting_for: WaitingFor,
    /// Since which second.
    pub(super) since: u32,
    /// Newer connections of its group that wait for the same.
    pub(super) newer: usize,
}

impl Candidate {
    /// How soon it makes room, the highest first; none where it may not.
    fn priority(&self, now: u32) -> Option<(u8, usize, u32)> {
        let age = now.wrapping_sub(self.since);
        let (large_group, long) = (self.newer >= LARGE_GROUP, self.is_long(now));
        match self.waiting_for {
            WaitingFor::Request if large_group || long => Some((3, self.newer, age)),
            WaitingFor::Idle if long => Some((2, 0, age)),
            WaitingFor::Reader if large_group && long => Some((1, self.newer, age)),
            WaitingFor::Request => Some((0, self.newer, age)),
            WaitingFor::Idle | WaitingFor::Reader if large_group => Some((0, self.newer, age)),
            WaitingFor::Idle | WaitingFor::Reader => None,
        }
    }

    /// Whether it has waited for more than a moment.
    pub(super) fn is_long(&self, now: u32) -> bool {
        now.wrapping_sub(self.since) >= LONG_WAIT
    }

    /// Whether its group holds more unfinished requests than `share`.
    pub(super) fn is_over(&self, share: usize) -> bool {
        self.waiting_for == WaitingFor::Request && self.newer >= share
    }
}

/// Those that may make room, the first to go at the end; at most [`MAX_CANDIDATES`].
pub(super) fn eviction_order(mut waiting: Vec<Candidate>, now: u32) -> Vec<Candidate> {
    count_newer(&mut waiting);
    waiting.retain(|one| one.priority(now).is_some());
    // Of equals the older connection goes first.
    let key = |one: &Candidate| (one.priority(now), std::cmp::Reverse(one.number));
    if waiting.len() > MAX_CANDIDATES {
        let cut = waiting.len() - MAX_CANDIDATES;
        waiting.select_nth_unstable_by_key(cut, key);
        waiting.drain(..cut);
    }
    waiting.sort_unstable_by_key(key);
    waiting
}

fn count_newer(waiting: &mut [Candidate]) {
    waiting.sort_unstable_by_key(|one| std::cmp::Reverse((one.since, one.number)));
    let mut counts: HashMap<(Group, WaitingFor), usize> = HashMap::new();
    for one in waiting {
        let Some(group) = one.group else { continue };
        let count = counts.entry((group, one.waiting_for)).or_insert(0);
        one.newer = *count;
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(ip: &str) -> Group {
        Group::from(ip.parse::<IpAddr>().expect("an address"))
    }

    fn waiting(number: u64, ip: &str, waiting_for: WaitingFor, since: u32) -> Candidate {
        Candidate { number, group: Some(group(ip)), waiting_for, since, newer: 0 }
    }

    /// The numbers in the order in which they go.
    fn order(waiting: Vec<Candidate>, now: u32) -> Vec<u64> {
        eviction_order(waiting, now).iter().rev().map(|one| one.number).collect()
    }

    #[test]
    fn neighbours_are_one_group() {
        assert_eq!(group("192.0.2.1"), group("::ffff:192.0.2.254"));
        assert_ne!(group("192.0.2.1"), group("192.0.3.1"));
        assert_eq!(group("2001:db8:1:1::1"), group("2001:db8:1:ffff::2"));
        assert_ne!(group("2001:db8:1::1"), group("2001:db8:2::1"));
    }

    #[test]
    fn a_large_group_goes_before_anyone_else_and_its_oldest_first() {
        let mut all: Vec<_> = (10..30).map(|n| waiting(n, "192.0.2.1", WaitingFor::Request, 5)).collect();
        all.push(waiting(1, "198.51.100.1", WaitingFor::Idle, 0));
        all.push(waiting(2, "203.0.113.1", WaitingFor::Request, 5));
        let order = order(all, 5);
        assert_eq!(order[..3], [10, 11, 12]);
        let position = |number| order.iter().position(|n| *n == number).expect("a candidate");
        assert!(
            position(21) < position(1) && position(1) < position(2),
            "the idle one goes before few young requests: {order:?}"
        );
    }

    #[test]
    fn the_larger_group_goes_first() {
        let small = (0..10).map(|n| waiting(n, "192.0.2.1", WaitingFor::Request, 0));
        let large = (100..120).map(|n| waiting(n, "198.51.100.1", WaitingFor::Request, 0));
        assert_eq!(order(small.chain(large).collect(), 0)[..10], (100..110).collect::<Vec<_>>());
    }

    #[test]
    fn a_briefly_idle_connection_and_a_slow_reader_stay() {
        let all = vec![
            waiting(1, "192.0.2.1", WaitingFor::Idle, 9),
            waiting(2, "192.0.2.2", WaitingFor::Reader, 0),
            waiting(3, "192.0.2.3", WaitingFor::Idle, 8),
        ];
        assert_eq!(order(all, 10), [3]);
    }

    #[test]
    fn a_large_group_of_slow_readers_makes_room_last() {
        let mut all: Vec<_> = (0..10).map(|n| waiting(n, "192.0.2.1", WaitingFor::Reader, 0)).collect();
        all.push(waiting(50, "192.0.2.9", WaitingFor::Idle, 0));
        assert_eq!(order(all, 5), [50, 0, 1]);
    }

    #[test]
    fn a_large_group_of_briefly_idle_connections_makes_room_when_nothing_else_does() {
        let all: Vec<_> = (0..10).map(|n| waiting(n, "192.0.2.1", WaitingFor::Idle, 5)).collect();
        assert_eq!(order(all, 5), [0, 1]);
    }

    #[test]
    fn a_proxys_connections_are_not_a_group() {
        let all =
            (0..50).map(|n| Candidate { group: None, ..waiting(n, "10.0.0.1", WaitingFor::Request, 0) }).collect();
        assert!(eviction_order(all, 0).iter().all(|one| !one.is_over(1)));
    }

    #[test]
    fn of_too_many_candidates_the_first_to_go_are_kept() {
        let all: Vec<_> = (0..5000).map(|n| waiting(n, "192.0.2.1", WaitingFor::Request, 0)).collect();
        let order = order(all, 0);
        assert_eq!(order, (0..MAX_CANDIDATES as u64).collect::<Vec<_>>());
    }
}
