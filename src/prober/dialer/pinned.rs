//! The addresses of one probe.

use std::net::{IpAddr, Ipv4Addr};

use crate::prober::addresses::budget_key;

/// Addresses that passed the policy, for one probe. Resolve again for the next: names move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    addresses: Addresses,
    /// How long the name took, in microseconds.
    pub(super) resolve_us: Option<u32>,
}

/// Nearly every target has one address, which needs no allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Addresses {
    One([IpAddr; 1]),
    Many(Box<[IpAddr]>),
}

impl Pinned {
    pub(super) fn new(found: &[IpAddr]) -> Option<Self> {
        let addresses = match found {
            [] => return None,
            [only] => Addresses::One([only.to_canonical()]),
            many => Addresses::Many(interleaved(many.iter().map(IpAddr::to_canonical))),
        };
        Some(Self { addresses, resolve_us: None })
    }

    /// The addresses to try, in order, at least one: families take turns
    /// ([RFC 8305 §4](https://www.rfc-editor.org/rfc/rfc8305#section-4)).
    pub fn addresses(&self) -> &[IpAddr] {
        match &self.addresses {
            Addresses::One(only) => only,
            Addresses::Many(many) => many,
        }
    }

    /// The address whose budget the probe spends: the first one, under one key for all spellings of an IPv4 address.
    pub fn key(&self) -> IpAddr {
        let first = self.addresses().first();
        budget_key(first.copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }
}

/// Families in turn, IPv4 first, each in its own order.
fn interleaved(addresses: impl Iterator<Item = IpAddr>) -> Box<[IpAddr]> {
    let (mut v4, mut v6): (Vec<_>, Vec<_>) = addresses.partition(IpAddr::is_ipv4);
    v4.reverse();
    v6.reverse();
    let mut turns = Vec::with_capacity(v4.len() + v6.len());
    while let Some(next) = v4.pop() {
        turns.push(next);
        turns.extend(v6.pop());
    }
    turns.extend(v6.into_iter().rev());
    turns.into()
}
