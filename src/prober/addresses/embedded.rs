//! The IPv4 addresses that an IPv6 address carries: a translator, a tunnel or the system itself may send what goes there to them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most addresses that one stands for.
const MOST: usize = 6;

/// The addresses that an address stands for: the IPv4 ones that it carries, else itself; for an address that is also routed as it is, both.
pub(crate) struct Carried([Option<IpAddr>; MOST]);

impl Carried {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V6(v6) if !v6.is_loopback() => Self::of_v6(v6),
            _ => Self::all([ip]),
        }
    }

    /// Those that there are, the likeliest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().copied().flatten()
    }

    pub(crate) fn first(&self) -> IpAddr {
        // Each has one.
        self.iter().next().unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    }

    fn all(found: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut places = [None; MOST];
        for (place, ip) in places.iter_mut().zip(found) {
            *place = Some(ip);
        }
        Self(places)
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        let by_prefix = by_prefix(ip);
        let itself = by_prefix.iter().all(Option::is_none).then_some(IpAddr::V6(ip));
        let carried = by_prefix.into_iter().chain([isatap(ip)]).flatten().map(IpAddr::V4);
        Self::all(carried.chain(itself))
    }
}

/// What the first bits say.
fn by_prefix(ip: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let o = ip.octets();
    let at = |a: usize, b: usize, c: usize, d: usize| Ipv4Addr::new(o[a], o[b], o[c], o[d]);
    let last = at(12, 13, 14, 15);
    let one = |ip| [Some(ip), None, None, None];
    match ip.segments() {
        // ::/96 compatible and ::ffff/96 mapped (RFC 4291), ::ffff:0/96 translated (RFC 2765), 64:ff9b::/96 NAT64 (RFC 6052)
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => one(last),
        // local-use NAT64 (RFC 8215), where the operator chose the prefix length: every place of RFC 6052 §2.2
        [0x64, 0xff9b, 1, ..] => nat64([at(6, 7, 9, 10), at(7, 9, 10, 11), at(9, 10, 11, 12), last]),
        // 6to4 (RFC 3056)
        [0x2002, ..] => one(at(2, 3, 4, 5)),
        // Teredo (RFC 4380): the client's address, inverted, and its server's
        [0x2001, 0, ..] => [Some(Ipv4Addr::from_bits(!last.to_bits())), Some(at(4, 5, 6, 7)), None, None],
        _ => [None; 4],
    }
}

/// All places count, but those left empty, which read as 0.x, only where all are.
fn nat64(places: [Ipv4Addr; 4]) -> [Option<Ipv4Addr>; 4] {
    let filled = places.map(|ip| (ip.octets()[0] != 0).then_some(ip));
    if filled.iter().all(Option::is_none) { [Some(places[3]), None, None, None] } else { filled }
}

/// ISATAP (RFC 5214 §6.1): under any prefix an interface id of 0000:5efe or 0200:5efe and the IPv4 address. The bit for a group is not
/// looked at, since a host need not.
fn isatap(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., kind, 0x5efe, high, low] = ip.segments() else { return None };
    (kind & !0x0300 == 0).then(|| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}
