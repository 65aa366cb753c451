//! How connections are held: bounded in number, in time and in what a head may hold.

mod answer;
mod body;
mod crowd;
mod framing;
mod hold;
mod share;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::server::conn::http1::Builder;
use hyper_util::rt::TokioTimer;
use ipnet::IpNet;
use rustix::io::Errno;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

pub use body::{BodyError, RequestBody};

use super::Body;
use super::envelope::ApiError;
use crate::telemetry::metrics::Metrics;
use hold::Shared;
use share::{Full, Seats};
use watch::{Beat, Watch};

/// Longest head, in bytes. With hyper's own 100 headers.
pub const MAX_HEAD: usize = 16 * 1024;
/// Connections that are being refused at once; further ones are closed without a word.
const MAX_REFUSALS: usize = 64;
/// Connections that wait to be taken; the system may cap it lower (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;
/// What the system may hold of an answer, in bytes (Linux doubles it for its own needs). Left to itself it holds up to 4 MiB of what a
/// slow reader does not take, and asks for more only when a third of that has left: at 100 KB/s that looks like a stall.
const SEND_BUFFER: u32 = 64 * 1024;
/// Pause after an accept that failed for want of descriptors or memory, or for a reason unknown here.
const PAUSE: Duration = Duration::from_millis(100);

/// What answers the requests of every connection. Cloned once a connection, so a clone should be cheap.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request of `peer`. It runs inside the connection's own task; a client that goes away drops the future.
    fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> impl Future<Output = Response<Body>> + Send;
}

/// How long and how many.
#[derive(Debug, Clone)]
pub struct ConnSettings {
    /// For a request's head, from its first byte; also for the first byte of a new connection.
    pub head: Duration,
    /// For a request's body.
    pub body: Duration,
    /// Between two requests; a quarter more at most.
    pub idle: Duration,
    /// For a write that the peer takes nothing of, or too little.
    pub write: Duration,
    /// Bytes a second that a peer must take of an answer, on average over that time. What the system's buffers hold counts as taken.
    pub write_rate: u32,
    /// Connections at once.
    pub total: usize,
    /// Connections of one client: an IPv4 address or an IPv6 /64.
    pub per_client: usize,
    /// Networks without that share: the trusted proxies, which bring many clients.
    pub unshared: Vec<IpNet>,
    /// For the requests in flight once the server stops.
    pub grace: Duration,
}

impl Default for ConnSettings {
    /// The times of the documentation, and the numbers for 1,024 descriptors.
    fn default() -> Self {
        Self {
            head: Duration::from_secs(5),
            body: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            write: Duration::from_secs(10),
            write_rate: 4 * 1024,
            total: 409,
            per_client: 102,
            unshared: Vec::new(),
            grace: Duration::from_secs(5),
        }
    }
}

impl ConnSettings {
    /// Holds `total` connections, at least 16, and a quarter of those for one client.
    #[must_use]
    pub fn holding(mut self, total: usize) -> Self {
        self.total = total.max(16);
        self.per_client = (self.total / 4).max(8);
        self
    }
}

/// Listens at `address`, with room for a burst of connections: a thousand pods may start at once, and whom the queue has no room for
/// tries again only after a second.
///
/// # Errors
/// As the system reports them: the address is in use, is not this machine's, or needs a privilege.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart finds connections of the last run in TIME_WAIT; this does not let two servers share the port.
    socket.set_reuseaddr(true)?;
    // Connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnError {
    /// The listening socket broke.
    #[error("the server cannot take connections any more: {0}")]
    Accept(#[source] io::Error),
}

/// Serves connections until `shutdown`; then takes no more, lets the requests in flight end within the grace, and cuts off what is left.
///
/// # Errors
/// [`ConnError`] when the listening socket itself breaks; what goes wrong with one connection ends that connection alone.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    settings: ConnSettings,
    handler: H,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<(), ConnError> {
    let seats = Seats::new(&settings, metrics.connections.clone());
    let shared = Shared {
        settings,
        metrics,
        http: http(),
        beat: Beat::default(),
        draining: AtomicBool::new(false),
        drain: CancellationToken::new(),
    };
    let mut server = Server { seats, shared: Arc::new(shared), handler, held: JoinSet::new(), refused: JoinSet::new() };
    let ended = server.accept(&listener, &shutdown).await;
    drop(listener);
    server.drain().await;
    ended
}

fn http() -> Builder {
    let mut http = Builder::new();
    // The watchdog times heads itself: hyper arms a timer for every request, and would close idle connections by it. Pipelined
    // requests are answered one by one: aggregated flushes withhold an answer while a part of the next head is there.
    // One write of one piece: the system takes a head and a small body from two places more slowly than from one.
    http.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEAD).writev(false);
    http
}

struct Server<H> {
    seats: Arc<Seats>,
    shared: Arc<Shared>,
    handler: H,
    held: JoinSet<()>,
    refused: JoinSet<()>,
}

impl<H: Handler> Server<H> {
    async fn accept(&mut self, listener: &TcpListener, shutdown: &CancellationToken) -> Result<(), ConnError> {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(ended) = self.held.join_next() => {
                    report(ended);
                    continue;
                }
                Some(ended) = self.refused.join_next() => {
                    report(ended);
                    continue;
                }
                _ = second.tick() => {
                    self.shared.beat.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => {
                    let Some(pause) = pause_after(&error)? else { continue };
                    self.shared.metrics.reject("accept");
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::select! {
                        () = shutdown.cancelled() => return Ok(()),
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    fn take(&mut self, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let metrics = &self.shared.metrics;
        let watch = Arc::new(Watch::new(&self.shared.beat));
        let refusal = match self.seats.take(peer, &watch, self.shared.beat.load(Ordering::Relaxed)) {
            Ok(taken) => {
                if let Some(reason) = taken.evicted {
                    metrics.reject(reason);
                }
                let seat = taken.seat;
                let held = hold::hold(stream, peer, self.handler.clone(), watch, Arc::clone(&self.shared));
                self.held.spawn(async move {
                    held.await;
                    drop(seat);
                });
                return;
            }
            Err(Full::Server) => {
                metrics.reject("connection_limit");
                answer::server_full()
            }
            Err(Full::Client) => {
                metrics.reject("client_connections");
                answer::client_share(self.shared.settings.per_client)
            }
        };
        if self.refused.len() < MAX_REFUSALS {
            self.refused.spawn(refuse(stream, refusal));
        }
    }

    async fn drain(mut self) {
        self.refused.abort_all();
        self.shared.draining.store(true, Ordering::Release);
        self.shared.drain.cancel();
        let all = async {
            while let Some(ended) = self.held.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(self.shared.settings.grace, all).await.is_err() {
            tracing::warn!(connections = self.held.len(), "requests did not end in time and are cut off");
        }
        self.held.shutdown().await;
    }
}

/// Handlers' panics are answered, so one that ends a connection's task is a fault of this module.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

/// How long to wait after a failed accept: not at all where it concerns one connection alone, as the network's errors do
/// ([accept(2)](https://man7.org/linux/man-pages/man2/accept.2.html)); no waiting helps where the socket itself is gone; anything
/// else, a lack of descriptors above all, may pass.
fn pause_after(error: &io::Error) -> Result<Option<Duration>, ConnError> {
    let passed = [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::AGAIN,
        Errno::PERM,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::TIMEDOUT,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
    ];
    let broken = [Errno::BADF, Errno::INVAL, Errno::NOTSOCK, Errno::OPNOTSUPP, Errno::FAULT];
    match Errno::from_io_error(error) {
        Some(errno) if passed.contains(&errno) => Ok(None),
        Some(errno) if broken.contains(&errno) => Err(ConnError::Accept(errno.into())),
        _ => Ok(Some(PAUSE)),
    }
}

/// Says why, then reads what the client sent before it could know, so that it gets the answer and not a reset.
async fn refuse(mut stream: TcpStream, refusal: ApiError) {
    let answer = answer::last_words(refusal);
    let exchange = async {
        tokio::io::AsyncWriteExt::write_all(&mut stream, &answer).await?;
        tokio::io::AsyncWriteExt::shutdown(&mut stream).await?;
        let mut room = [0; 4096];
        for _ in 0..8 {
            if stream.read(&mut room).await? == 0 {
                break;
            }
        }
        Ok::<(), io::Error>(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), exchange).await;
}
