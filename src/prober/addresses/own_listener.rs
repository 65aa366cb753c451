//! This server's own listener, which it never probes: otherwise anyone who registers could make it call itself, past all client limits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Where this server listens.
#[derive(Debug, Clone, Copy)]
pub struct OwnListener {
    address: SocketAddr,
    /// Whether the system refuses to bind to foreign addresses, so that binding tells which are local.
    binding_decides: bool,
}

impl OwnListener {
    /// The listener at `address`, as the system gave it.
    pub fn at(address: SocketAddr) -> Self {
        // Addresses reserved for documentation (RFC 5737, RFC 3849) belong to no machine.
        let unassigned: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
            SocketAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        };
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Self { address, binding_decides: !binds(unassigned) }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether a connection to that address and the listener's port reaches the listener. If it listens on every address, this asks the
    /// system whether the address is local, so interfaces may come and go.
    pub fn is_reached_by(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        match self.address.ip() {
            IpAddr::V4(all) if all.is_unspecified() => ip.is_ipv4() && self.is_local(ip),
            IpAddr::V6(all) if all.is_unspecified() => self.is_local(ip),
            one => one == ip || ip.is_unspecified(),
        }
    }

    fn is_local(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || ip.is_unspecified() || if self.binding_decides { binds(ip) } else { is_its_own_source(ip) }
    }
}

/// Whether the address is local, tested by binding; nothing is sent.
fn binds(ip: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}

/// Whether the address is local, tested by the source address that the system would use; nothing is sent.
fn is_its_own_source(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = || {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(SocketAddr::new(ip, 9))?;
        socket.local_addr()
    };
    source().is_ok_and(|source| source.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(listener: &str, address: &str) -> bool {
        let own = OwnListener::at(listener.parse().expect("an address"));
        own.is_reached_by(address.parse().expect("an address"))
    }

    #[test]
    fn a_listener_on_one_address_is_reached_by_that_one_in_every_spelling() {
        for asked in ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0"] {
            assert!(reached("127.0.0.1:8080", asked), "{asked}");
        }
        for asked in ["127.0.0.2", "::1", "10.0.0.1"] {
            assert!(!reached("127.0.0.1:8080", asked), "{asked} may be another program's");
        }
        assert!(reached("[::1]:8080", "::1") && !reached("[::1]:8080", "127.0.0.1"));
        assert!(reached("[::ffff:127.0.0.1]:8080", "127.0.0.1"));
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_every_address_of_this_machine() {
        for asked in ["127.0.0.1", "127.3.2.1", "0.0.0.0"] {
            assert!(reached("0.0.0.0:8080", asked) && reached("[::]:8080", asked), "{asked}");
        }
        assert!(reached("[::]:8080", "::1") && !reached("0.0.0.0:8080", "::1"));
        for asked in ["192.0.2.7", "2001:db8::7", "198.51.100.1"] {
            assert!(!reached("[::]:8080", asked), "{asked} is another machine's");
        }
    }

    #[test]
    fn both_tests_for_a_local_address_agree() {
        assert!(is_its_own_source(Ipv4Addr::LOCALHOST.into()) && binds(Ipv4Addr::LOCALHOST.into()));
        let unassigned = Ipv4Addr::new(192, 0, 2, 1).into();
        assert!(!is_its_own_source(unassigned) && !binds(unassigned));
    }
}
