//! A target to probe.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

/// A server whose port opens and closes; one that is closed refuses.
pub(crate) struct Backend {
    address: SocketAddr,
    open: Option<JoinHandle<()>>,
}

impl Backend {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        Self { address, open: Some(tokio::spawn(serve(listener))) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn down(&mut self) {
        let open = self.open.take().expect("it is up");
        open.abort();
        drop(open.await);
    }

    pub(crate) fn up(&mut self) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        socket.bind(self.address).expect("its port again");
        self.open = Some(tokio::spawn(serve(socket.listen(64).expect("it listens"))));
    }
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
