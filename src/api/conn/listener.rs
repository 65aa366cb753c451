//! The listening socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use rustix::io::Errno;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be accepted; the system may have a lower limit (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;
/// Bytes of an answer that the system buffers (Linux doubles the number for its own needs). By default it buffers up to 4 MiB for a slow
/// reader and asks for more only when a third of that was sent: at 100 KB/s that looks like a stall.
const SEND_BUFFER: u32 = 64 * 1024;

/// Listens at `address`, with a backlog for a burst of connections: a thousand pods may start at once, and a client that overflows the
/// backlog retries only after a second. `::` is every address of both families, or of IPv4 alone where the kernel has no IPv6.
///
/// # Errors
/// As the system reports them: the address is in use, is not this machine's, or needs a privilege.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bound_or_ipv4(address, bound)?.listen(BACKLOG)
}

fn bound_or_ipv4(address: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<TcpSocket>) -> io::Result<TcpSocket> {
    match bind(address) {
        Err(error) if is_every_address(address) && Errno::from_io_error(&error) == Some(Errno::AFNOSUPPORT) => {
            bind((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        bound => bound,
    }
}

/// Whether it is `::`.
fn is_every_address(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if is_every_address(address) {
        // Whatever `net.ipv6.bindv6only` says: the kubelet and clients come by either family.
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    // A restart finds connections of the last run in TIME_WAIT; this does not let two servers share the port.
    socket.set_reuseaddr(true)?;
    // Connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_ipv6_every_address_is_every_address_of_ipv4() {
        let without_ipv6 = |address: SocketAddr| {
            if address.is_ipv6() { Err(Errno::AFNOSUPPORT.into()) } else { bound(address) }
        };
        let listening = |address: &str| {
            let socket = bound_or_ipv4(address.parse().expect("an address"), without_ipv6)?;
            socket.local_addr().map(|address| address.ip().to_string())
        };
        assert_eq!(listening("[::]:0").expect("it listens"), "0.0.0.0");
        assert_eq!(listening("0.0.0.0:0").expect("it listens"), "0.0.0.0");
        let error = listening("[::1]:0").expect_err("one address has no other in its place");
        assert_eq!(Errno::from_io_error(&error), Some(Errno::AFNOSUPPORT));
        let in_use = |_| Err(Errno::ADDRINUSE.into());
        let error = bound_or_ipv4("[::]:0".parse().expect("an address"), in_use).expect_err("another program's port");
        assert_eq!(Errno::from_io_error(&error), Some(Errno::ADDRINUSE));
    }
}
