//! The TCP connection of a probe.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::time_wait::TimeWait;
use super::trace::Ending;
use crate::model::outcome::Reason;

/// First port that a machine may hand out for outgoing connections (Linux never goes below 1024).
const FIRST_EPHEMERAL: u16 = 1024;

/// Most bytes that a probe reads from one peer: a TLS handshake with a long chain, a head, and what is drained of a body.
const MAX_READ: usize = 1024 * 1024;
/// How long to wait for the peer's FIN once ours is sent.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_millis(20);

/// A connection that stops reading at a bound, so that no peer keeps a probe busy until its deadline.
///
/// A shutdown ends it with a FIN, so that nothing looks broken to the peer. Dropped without one, as on a timeout, it is reset.
#[derive(Debug)]
pub(crate) struct Stream {
    inner: TcpStream,
    left: usize,
    time_wait: Arc<TimeWait>,
    /// The peer has sent its FIN.
    peer_ended: bool,
    /// We have sent our FIN.
    ended: bool,
}

/// The bound was reached.
#[derive(Debug, thiserror::Error)]
#[error("more than {MAX_READ} bytes")]
pub(crate) struct TooMuch;

impl Stream {
    /// Sends each write at once, for probes that write more than once.
    pub(crate) fn unbuffered(self) -> Self {
        // If the system refuses, only the probe's own latency suffers.
        drop(self.inner.set_nodelay(true));
        self
    }
}

/// Closes a connection after its verdict: sends a FIN and drains what the peer still sends, for a moment. Bytes that arrive at a closed
/// socket would reset it.
pub(crate) async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let end = async {
        stream.shutdown().await?;
        let mut rest = [0; 512];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // The verdict stands, however this ends.
    drop(timeout(CLOSE_TIMEOUT, end).await);
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.ended {
            // If this fails, the socket is closed in the ordinary way.
            drop(self.inner.set_zero_linger());
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        self.peer_ended |= read == 0 && buf.remaining() > 0;
        match self.left.checked_sub(read) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other(TooMuch))),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Ok(()));
        }
        if !self.peer_ended && !self.time_wait.may_be_first() {
            // Too many sockets wait already. Nothing more is read, so the drop resets this one.
            return Poll::Ready(Err(io::ErrorKind::AddrInUse.into()));
        }
        self.ended = true;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Opens a connection.
///
/// # Errors
/// The system's; also `ConnectionRefused` if the system connected the socket to itself, which happens when a closed local port is chosen
/// as the connection's own.
pub(crate) async fn connect(address: SocketAddr, time_wait: Arc<TimeWait>) -> io::Result<Stream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    let inner = socket.connect(address).await?;
    let stream = Stream { inner, left: MAX_READ, time_wait, peer_ended: false, ended: false };
    if address.port() >= FIRST_EPHEMERAL && stream.inner.local_addr()? == address {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// What a failed connection says about the target, or about this machine.
pub(crate) fn judge(error: &io::Error, address: SocketAddr) -> Ending {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        // A disabled address family has no local address to dial from.
        Some(Errno::ADDRNOTAVAIL | Errno::NETUNREACH | Errno::NETDOWN | Errno::AFNOSUPPORT) if no_route(address) => {
            without_route(address)
        }
        Some(Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS | Errno::NOMEM | Errno::AGAIN) => {
            Ending::inconclusive(
                Reason::NoDescriptors,
                "this machine has no file descriptor, port or buffer left for a connection",
            )
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

fn without_route(address: SocketAddr) -> Ending {
    Ending::inconclusive(Reason::NoRoute, format!("this machine has no route to {}", address.ip()))
}

/// Whether the routing table has no route there. Connecting a UDP socket asks it without sending anything, which distinguishes a missing
/// route from a router's report.
fn no_route(address: SocketAddr) -> bool {
    let local: IpAddr = match address {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((local, 0)).and_then(|socket| socket.connect(address)).is_err()
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::model::outcome::Verdict;

    #[test]
    fn the_systems_errors_are_distinguished() {
        use Verdict::{Fail, Inconclusive};
        let near: SocketAddr = "127.0.0.1:9".parse().expect("an address");
        for (errno, verdict, reason) in [
            (Errno::MFILE, Inconclusive, Reason::NoDescriptors),
            (Errno::NFILE, Inconclusive, Reason::NoDescriptors),
            (Errno::ADDRNOTAVAIL, Inconclusive, Reason::NoDescriptors),
            (Errno::NOBUFS, Inconclusive, Reason::NoDescriptors),
            (Errno::CONNREFUSED, Fail, Reason::ConnectRefused),
            (Errno::CONNRESET, Fail, Reason::ConnectionReset),
            (Errno::HOSTUNREACH, Fail, Reason::Unreachable),
            (Errno::ACCESS, Fail, Reason::Unreachable),
            (Errno::TIMEDOUT, Fail, Reason::ConnectTimeout),
            // There is a route to loopback, so a router reported it.
            (Errno::NETUNREACH, Fail, Reason::Unreachable),
        ] {
            let ending = judge(&io::Error::from(errno), near);
            assert_eq!((ending.verdict, ending.reason), (verdict, reason), "{errno:?}");
        }
    }
}
