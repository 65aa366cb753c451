//! IPv4 addresses embedded in IPv6 ones: a translator, a tunnel or the system itself may send the traffic there instead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most addresses that one address stands for.
const MAX_EMBEDDED: usize = 6;

/// The addresses that an address stands for: the IPv4 ones embedded in it, else itself; both if it is also routed as it is.
pub(crate) struct Embedded([Option<IpAddr>; MAX_EMBEDDED]);

impl Embedded {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V6(v6) if !v6.is_loopback() => Self::of_v6(v6),
            _ => Self::all([ip]),
        }
    }

    /// At least one, the likeliest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().copied().flatten()
    }

    pub(crate) fn first(&self) -> IpAddr {
        // Each has one.
        self.iter().next().unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    }

    fn all(found: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut all = [None; MAX_EMBEDDED];
        for (slot, ip) in all.iter_mut().zip(found) {
            *slot = Some(ip);
        }
        Self(all)
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        let by_prefix = by_prefix(ip);
        let itself = by_prefix.iter().all(Option::is_none).then_some(IpAddr::V6(ip));
        let embedded = by_prefix.into_iter().chain([isatap(ip)]).flatten().map(IpAddr::V4);
        Self::all(embedded.chain(itself))
    }
}

/// Those that the first bits announce.
fn by_prefix(ip: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let o = ip.octets();
    let at = |a: usize, b: usize, c: usize, d: usize| Ipv4Addr::new(o[a], o[b], o[c], o[d]);
    let last = at(12, 13, 14, 15);
    let one = |ip| [Some(ip), None, None, None];
    match ip.segments() {
        // ::/96 compatible and ::ffff/96 mapped (RFC 4291), ::ffff:0/96 translated (RFC 2765), 64:ff9b::/96 NAT64 (RFC 6052)
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => one(last),
        // local-use NAT64 (RFC 8215), where the operator chose the prefix length: every position of RFC 6052 §2.2
        [0x64, 0xff9b, 1, ..] => nat64([at(6, 7, 9, 10), at(7, 9, 10, 11), at(9, 10, 11, 12), last]),
        // 6to4 (RFC 3056)
        [0x2002, ..] => one(at(2, 3, 4, 5)),
        // Teredo (RFC 4380): the client's address, inverted, and its server's
        [0x2001, 0, ..] => [Some(Ipv4Addr::from_bits(!last.to_bits())), Some(at(4, 5, 6, 7)), None, None],
        _ => [None; 4],
    }
}

/// All positions count; those that are empty, which read as 0.x, only if all are.
fn nat64(positions: [Ipv4Addr; 4]) -> [Option<Ipv4Addr>; 4] {
    let filled = positions.map(|ip| (ip.octets()[0] != 0).then_some(ip));
    if filled.iter().all(Option::is_none) { [Some(positions[3]), None, None, None] } else { filled }
}

/// ISATAP (RFC 5214 §6.1): under any prefix an interface id of 0000:5efe or 0200:5efe and the IPv4 address. The group bit is ignored,
/// since hosts may ignore it.
fn isatap(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., kind, 0x5efe, high, low] = ip.segments() else { return None };
    (kind & !0x0300 == 0).then(|| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}
