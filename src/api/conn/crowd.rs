//! Which connections make room for others, and in which order.
//!
//! Those that wait for the rest of a request go first, from the address group that has most of them, oldest first: whoever holds many
//! half-sent requests loses one of its own for each further connection, however many addresses it has.

use std::collections::HashMap;
use std::net::IpAddr;

use super::watch::Wait;

/// Beats after which a wait is long: a connection that is used all the time waits between any two requests.
const REST: u32 = 2;
/// So many of one group are no crowd.
const FEW: usize = 8;
/// Connections that are found in one look.
const FOUND: usize = 1024;

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

/// A connection that waits, as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Counts up with each connection.
    pub(super) number: u64,
    /// None for a trusted proxy, which brings many clients.
    pub(super) group: Option<Group>,
    pub(super) wait: Wait,
    /// Since which beat.
    pub(super) since: u32,
    /// Newer ones of its group that wait alike.
    pub(super) newer: usize,
}

impl Waiting {
    /// Whether it may make room at all, and how soon: the highest first.
    fn turn(&self, beat: u32) -> Option<(u8, usize, u32)> {
        let age = beat.wrapping_sub(self.since);
        let (crowded, long) = (self.newer >= FEW, self.is_long(beat));
        match self.wait {
            Wait::Request if crowded || long => Some((3, self.newer, age)),
            Wait::Idle if long => Some((2, 0, age)),
            Wait::Reader if crowded && long => Some((1, self.newer, age)),
            Wait::Request => Some((0, self.newer, age)),
            Wait::Idle | Wait::Reader if crowded => Some((0, self.newer, age)),
            Wait::Idle | Wait::Reader => None,
        }
    }

    /// Whether it is more than a moment.
    pub(super) fn is_long(&self, beat: u32) -> bool {
        beat.wrapping_sub(self.since) >= REST
    }

    /// Whether its group holds more unfinished requests than `share`.
    pub(super) fn is_over(&self, share: usize) -> bool {
        self.wait == Wait::Request && self.newer >= share
    }
}

/// Those that may make room, whose turn is first at the end; the rest and most of a multitude are left out.
pub(super) fn in_turn(mut waiting: Vec<Waiting>, beat: u32) -> Vec<Waiting> {
    count_newer(&mut waiting);
    waiting.retain(|one| one.turn(beat).is_some());
    // Of equals the older connection goes first.
    let key = |one: &Waiting| (one.turn(beat), std::cmp::Reverse(one.number));
    if waiting.len() > FOUND {
        let cut = waiting.len() - FOUND;
        waiting.select_nth_unstable_by_key(cut, key);
        waiting.drain(..cut);
    }
    waiting.sort_unstable_by_key(key);
    waiting
}

fn count_newer(waiting: &mut [Waiting]) {
    waiting.sort_unstable_by_key(|one| std::cmp::Reverse((one.since, one.number)));
    let mut seen: HashMap<(Group, Wait), usize> = HashMap::new();
    for one in waiting {
        let Some(group) = one.group else { continue };
        let count = seen.entry((group, one.wait)).or_insert(0);
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

    fn waiting(number: u64, ip: &str, wait: Wait, since: u32) -> Waiting {
        Waiting { number, group: Some(group(ip)), wait, since, newer: 0 }
    }

    /// The numbers in the order in which they go.
    fn order(waiting: Vec<Waiting>, beat: u32) -> Vec<u64> {
        in_turn(waiting, beat).iter().rev().map(|one| one.number).collect()
    }

    #[test]
    fn neighbours_are_one_group() {
        assert_eq!(group("192.0.2.1"), group("::ffff:192.0.2.254"));
        assert_ne!(group("192.0.2.1"), group("192.0.3.1"));
        assert_eq!(group("2001:db8:1:1::1"), group("2001:db8:1:ffff::2"));
        assert_ne!(group("2001:db8:1::1"), group("2001:db8:2::1"));
    }

    #[test]
    fn a_crowd_goes_before_anyone_else_and_its_oldest_first() {
        let mut all: Vec<_> = (10..30).map(|n| waiting(n, "192.0.2.1", Wait::Request, 5)).collect();
        all.push(waiting(1, "198.51.100.1", Wait::Idle, 0));
        all.push(waiting(2, "203.0.113.1", Wait::Request, 5));
        let order = order(all, 5);
        assert_eq!(order[..3], [10, 11, 12]);
        let place = |number| order.iter().position(|n| *n == number).expect("in turn");
        assert!(place(21) < place(1) && place(1) < place(2), "the idle one goes before few young requests: {order:?}");
    }

    #[test]
    fn the_larger_crowd_goes_first() {
        let small = (0..10).map(|n| waiting(n, "192.0.2.1", Wait::Request, 0));
        let large = (100..120).map(|n| waiting(n, "198.51.100.1", Wait::Request, 0));
        assert_eq!(order(small.chain(large).collect(), 0)[..10], (100..110).collect::<Vec<_>>());
    }

    #[test]
    fn what_has_hardly_rested_and_who_reads_slowly_stays() {
        let all = vec![
            waiting(1, "192.0.2.1", Wait::Idle, 9),
            waiting(2, "192.0.2.2", Wait::Reader, 0),
            waiting(3, "192.0.2.3", Wait::Idle, 8),
        ];
        assert_eq!(order(all, 10), [3]);
    }

    #[test]
    fn a_crowd_of_slow_readers_makes_room_last() {
        let mut all: Vec<_> = (0..10).map(|n| waiting(n, "192.0.2.1", Wait::Reader, 0)).collect();
        all.push(waiting(50, "192.0.2.9", Wait::Idle, 0));
        assert_eq!(order(all, 5), [50, 0, 1]);
    }

    #[test]
    fn a_crowd_of_idle_connections_makes_room_before_it_has_rested_when_nothing_else_does() {
        let all: Vec<_> = (0..10).map(|n| waiting(n, "192.0.2.1", Wait::Idle, 5)).collect();
        assert_eq!(order(all, 5), [0, 1]);
    }

    #[test]
    fn a_proxys_connections_are_no_crowd() {
        let all = (0..50).map(|n| Waiting { group: None, ..waiting(n, "10.0.0.1", Wait::Request, 0) }).collect();
        assert!(in_turn(all, 0).iter().all(|one| !one.is_over(1)));
    }

    #[test]
    fn of_a_multitude_those_are_kept_whose_turn_is_first() {
        let all: Vec<_> = (0..5000).map(|n| waiting(n, "192.0.2.1", Wait::Request, 0)).collect();
        let order = order(all, 0);
        assert_eq!(order, (0..FOUND as u64).collect::<Vec<_>>());
    }
}
