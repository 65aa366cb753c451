//! A target to probe.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

/// A server whose port opens and closes; one that is closed refuses.
pub(crate) struct Backend {
    /// Bound, but never listening: while the server is closed, nothing else on this machine is given its port.
    place: TcpSocket,
    open: Option<JoinHandle<()>>,
}

impl Backend {
    pub(crate) fn start() -> Self {
        let place = shared_port((Ipv4Addr::LOCALHOST, 0).into());
        let mut backend = Self { place, open: None };
        backend.up();
        backend
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    fn address(&self) -> SocketAddr {
        self.place.local_addr().expect("an address")
    }

    pub(crate) async fn down(&mut self) {
        let open = self.open.take().expect("it is up");
        open.abort();
        drop(open.await);
    }

    pub(crate) fn up(&mut self) {
        let listener = shared_port(self.address()).listen(64).expect("it listens");
        self.open = Some(tokio::spawn(serve(listener)));
    }
}

/// A socket at `address` that others who ask for it may share.
fn shared_port(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("an option");
    socket.bind(address).expect("a free port");
    socket
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.abort();
        }
    }
}

async fn serve(listener: TcpListener) {
    while let Ok((mut connection, _)) = listener.accept().await {
        // A client that hangs up first needs no answer.
        drop(connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await);
    }
}
