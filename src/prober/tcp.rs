//! The TCP connection of a probe.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use tokio::net::{TcpSocket, TcpStream};

use super::evidence::Ending;
use crate::model::outcome::Reason;

/// First port that a machine may hand out for outgoing connections (Linux never goes below 1024).
const FIRST_EPHEMERAL: u16 = 1024;

/// Opens a connection that, once dropped, leaves no TIME_WAIT behind on this machine.
///
/// # Errors
/// The system's; also `ConnectionRefused` when the system connected the socket to itself, which happens when a closed local port is drawn
/// as the connection's own.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_zero_linger()?;
    let stream = socket.connect(address).await?;
    if address.port() >= FIRST_EPHEMERAL && stream.local_addr()? == address {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// What a failed connection says about the target, or about this machine.
pub(super) fn judge(error: &io::Error, address: SocketAddr) -> Ending {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS | Errno::NOMEM | Errno::AGAIN) => {
            Ending::inconclusive(
                Reason::NoDescriptors,
                "this machine has no file descriptor, port or buffer left for a connection",
            )
        }
        Some(Errno::NETUNREACH | Errno::NETDOWN | Errno::AFNOSUPPORT) if no_route(address) => {
            Ending::inconclusive(Reason::NoRoute, format!("this machine has no route to {}", address.ip()))
        }
        Some(Errno::TIMEDOUT) => Ending::fail(Reason::ConnectTimeout, format!("{address} does not answer")),
        Some(Errno::CONNRESET | Errno::CONNABORTED | Errno::PIPE) => {
            Ending::fail(Reason::ConnectionReset, format!("{address} reset the connection as it opened"))
        }
        _ if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ending::fail(Reason::ConnectRefused, format!("{address} refused the connection: nothing listens there"))
        }
        _ => Ending::fail(Reason::Unreachable, format!("the network says that {address} cannot be reached")),
    }
}

/// Whether the routing table itself has no way there. Connecting a UDP socket asks it without sending anything, which tells a missing
/// route from a router's report.
fn no_route(address: SocketAddr) -> bool {
    let local: IpAddr = match address {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((local, 0)).and_then(|socket| socket.connect(address)).is_err()
}
