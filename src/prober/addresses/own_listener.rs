//! One of this server's own listeners, which it never probes: otherwise anyone who registers could make it call itself, past all client limits.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::io::Errno;

/// Binds an address, which tells whether it is local; nothing is sent.
type Bind = fn(IpAddr) -> io::Result<UdpSocket>;

/// An address and port where this server listens.
#[derive(Debug, Clone, Copy)]
pub struct OwnListener {
    address: SocketAddr,
    bind: Bind,
}

impl OwnListener {
    /// The listener at `address`, as the system gave it.
    pub fn at(address: SocketAddr) -> Self {
        Self::asking(address, |ip| UdpSocket::bind(SocketAddr::new(ip, 0)))
    }

    /// The listener at `address` of a system that answers by `bind`.
    pub(crate) fn asking(address: SocketAddr, bind: Bind) -> Self {
        Self { address: SocketAddr::new(address.ip().to_canonical(), address.port()), bind }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether a connection to that address and the listener's port reaches the listener. If it listens on every address, this asks the
    /// system whether the address is local, so interfaces may come and go.
    ///
    /// # Errors
    /// The system's, while it cannot tell: it has no file descriptor or buffer left.
    pub fn is_reached_by(&self, ip: IpAddr) -> io::Result<bool> {
        let ip = ip.to_canonical();
        match self.address.ip() {
            IpAddr::V4(all) if all.is_unspecified() => Ok(ip.is_ipv4() && self.is_local(ip)?),
            IpAddr::V6(all) if all.is_unspecified() => self.is_local(ip),
            one => Ok(one == ip || ip.is_unspecified()),
        }
    }

    fn is_local(&self, ip: IpAddr) -> io::Result<bool> {
        if ip.is_loopback() || ip.is_unspecified() {
            return Ok(true);
        }
        // Addresses reserved for documentation (RFC 5737, RFC 3849) belong to no machine.
        let unassigned = if ip.is_ipv4() {
            Ipv4Addr::new(192, 0, 2, 1).into()
        } else {
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()
        };
        // Where the system lets anybody bind foreign addresses (`ip_nonlocal_bind`), binding alone proves nothing.
        Ok(self.binds(ip)? && (!self.binds(unassigned)? || self.is_its_own_source(ip)?))
    }

    fn binds(&self, ip: IpAddr) -> io::Result<bool> {
        unless_foreign((self.bind)(ip)).map(|socket| socket.is_some())
    }

    /// Whether the address is local, tested by the source address that the system would use; nothing is sent.
    fn is_its_own_source(&self, ip: IpAddr) -> io::Result<bool> {
        let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let Some(socket) = unless_foreign((self.bind)(any))? else { return Ok(false) };
        if unless_foreign(socket.connect(SocketAddr::new(ip, 9)))?.is_none() {
            return Ok(false);
        }
        Ok(socket.local_addr()?.ip() == ip)
    }
}

/// None if the error says that the address is not one of this machine. Any other, such as one about descriptors, says nothing about it.
fn unless_foreign<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_about_a_foreign_address(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// No such address, no route to it, or not even its family.
fn is_about_a_foreign_address(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable)
        || Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(listener: &str, address: &str) -> bool {
        let own = OwnListener::at(listener.parse().expect("an address"));
        own.is_reached_by(address.parse().expect("an address")).expect("the system can tell")
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
        let own = OwnListener::at("0.0.0.0:8080".parse().expect("an address"));
        let both =
            |ip: Ipv4Addr| [own.is_its_own_source(ip.into()), own.binds(ip.into())].map(|is| is.expect("it can tell"));
        assert_eq!(both(Ipv4Addr::LOCALHOST), [true; 2]);
        assert_eq!(both(Ipv4Addr::new(192, 0, 2, 1)), [false; 2]);
    }

    #[test]
    fn an_error_that_is_not_about_the_address_decides_nothing() {
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ACCESS] {
            assert!(unless_foreign(Err::<(), _>(error.into())).is_err(), "{error}");
        }
        for error in [Errno::ADDRNOTAVAIL, Errno::AFNOSUPPORT, Errno::NETUNREACH, Errno::HOSTUNREACH] {
            assert!(unless_foreign(Err::<(), _>(error.into())).is_ok_and(|found| found.is_none()), "{error}");
        }
        let exhausted =
            |listener: &str| OwnListener::asking(listener.parse().expect("an address"), |_| Err(Errno::MFILE.into()));
        let (v4, v6): (IpAddr, IpAddr) =
            (Ipv4Addr::new(198, 51, 100, 1).into(), "2001:db8::7".parse().expect("an address"));
        assert!(
            exhausted("0.0.0.0:8080").is_reached_by(v4).is_err() && exhausted("[::]:8080").is_reached_by(v6).is_err()
        );
        assert!(!exhausted("0.0.0.0:8080").is_reached_by(v6).expect("another family"));
        assert!(exhausted("0.0.0.0:8080").is_reached_by(Ipv4Addr::LOCALHOST.into()).expect("always local"));
        assert!(!exhausted("10.0.0.1:8080").is_reached_by(v4).expect("the addresses differ"));
    }

    /// Whatever the system could tell at the start.
    #[test]
    fn a_system_that_binds_foreign_addresses_makes_none_of_them_local() {
        let own = OwnListener::asking("0.0.0.0:8080".parse().expect("an address"), |_| {
            UdpSocket::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
        });
        assert!(!own.is_reached_by(Ipv4Addr::new(198, 51, 100, 1).into()).expect("it can tell"));
    }
}
