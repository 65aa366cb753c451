//! A server that counts its connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::sync::replica::until;

/// Its probes by http and tcp pass.
pub(super) struct Listener {
    address: SocketAddr,
    count: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Listener {
    /// On any port of the address.
    pub(super) async fn at(address: Ipv4Addr) -> Self {
        Self::of(TcpListener::bind((address, 0)).await.expect("a port"))
    }

    /// One for each address, on the same port.
    pub(super) async fn on_one_port(addresses: [Ipv4Addr; 2]) -> [Self; 2] {
        loop {
            let first = TcpListener::bind((addresses[0], 0)).await.expect("a port");
            let port = first.local_addr().expect("an address").port();
            // Another program may have the port there.
            if let Ok(second) = TcpListener::bind((addresses[1], port)).await {
                return [Self::of(first), Self::of(second)];
            }
        }
    }

    fn of(listener: TcpListener) -> Self {
        let (address, count) = (listener.local_addr().expect("an address"), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&count);
        let task = tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                // A client that hangs up first needs no answer.
                drop(connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await);
            }
        });
        Self { address, count, task }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits for that many further connections.
    pub(super) async fn until_more(&self, more: usize) {
        let wanted = self.count() + more;
        until(&format!("{} has {more} more connections", self.address), async || self.count() >= wanted).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}
