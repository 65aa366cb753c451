//! Connections: bounded in number, in time and in the size of a request's head.
//!
//! In: a listening socket and a [`Handler`]. Out: a call of the handler for each well-formed request, and its answer on the wire. Read the files
//! in this order:
//!
//! 1. `listener`: the socket. [`serve`] here accepts connections; `limiter` counts them, and `eviction` chooses those that make room.
//! 2. `connection`: one connection, from its first byte to its last; `handshake`: how it begins where the server speaks TLS.
//! 3. `activity`: what it is doing, as flags; `watchdog`: for how long it may.
//! 4. `transport`: TCP or TLS; `socket`: the socket under hyper; `framing`: what a head must say; `body`: a request's body.
//! 5. `refusals`: answers to anything that never became a request.

mod activity;
mod body;
mod connection;
mod eviction;
mod framing;
mod handshake;
mod limiter;
mod listener;
mod refusals;
mod socket;
#[cfg(test)]
mod tests;
mod transport;
mod watchdog;

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
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

pub use body::{BodyError, RequestBody};
pub use listener::listen;

use super::http::body::Body;
use super::http::envelope::ApiError;
use super::tls::ServerTls;
use crate::model::reachability::Reachability;
use crate::telemetry::metrics::Metrics;
use activity::{Activity, SecondsClock};
use connection::Shared;
use limiter::{ConnectionLimiter, Full};

/// Longest head, in bytes; hyper also limits it to 100 headers.
pub const MAX_HEAD: usize = 16 * 1024;
/// Connections that are being refused at once; further ones are closed without an answer.
const MAX_REFUSALS: usize = 64;
/// Time to send a refusal, and to read what the client sent before it could know.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Pause after an accept that failed for lack of descriptors or memory, or for an unknown reason.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers the requests of every connection. Cloned for each connection, so a clone should be cheap.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request of `peer`. It runs inside the connection's own task; a client that goes away drops the future.
    fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> impl Future<Output = Response<Body>> + Send;

    /// The server stops: requests that only wait are to be answered.
    fn drain(&self) {}
}

/// Limits of time and number.
#[derive(Debug, Clone)]
pub struct ConnSettings {
    /// Time for a request's head, from its first byte; also for the first byte of a new connection, and for its TLS handshake.
    pub head: Duration,
    /// Time for a request's body.
    pub body: Duration,
    /// Time between two requests; enforced up to a quarter late.
    pub idle: Duration,
    /// Time for a write of which the peer accepts nothing, or too little.
    pub write: Duration,
    /// Bytes a second of an answer that a peer must accept, on average over that time. What the system buffers counts as accepted.
    pub write_rate: u32,
    /// Connections at once.
    pub total: usize,
    /// Connections of one client: an IPv4 address or an IPv6 /64.
    pub per_client: usize,
    /// Networks without that share: the trusted proxies, which bring many clients.
    pub unshared: Vec<IpNet>,
    /// Time for the requests in flight once the server stops.
    pub grace: Duration,
    /// Learns from the listener whether clients can reach the server.
    pub reachability: Reachability,
    /// The server's TLS; plain HTTP without it.
    pub tls: Option<ServerTls>,
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
            reachability: Reachability::default(),
            tls: None,
        }
    }
}

impl ConnSettings {
    /// Allows `total` connections, at least 16, and a quarter of those for one client.
    #[must_use]
    pub fn with_connections(mut self, total: usize) -> Self {
        self.total = total.max(16);
        self.per_client = (self.total / 4).max(8);
        self
    }
}

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnError {
    /// The listening socket broke.
    #[error("the server can no longer accept connections: {0}")]
    Accept(#[source] io::Error),
}

/// Serves connections until `shutdown`; then accepts no more, gives the requests in flight their grace, and closes the rest.
///
/// # Errors
/// [`ConnError`] when the listening socket itself breaks; an error of one connection ends that connection alone.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    settings: ConnSettings,
    handler: H,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<(), ConnError> {
    let limiter = ConnectionLimiter::new(&settings, metrics.connections.clone());
    let shared = Shared {
        settings,
        metrics,
        http: http(),
        clock: SecondsClock::default(),
        draining: AtomicBool::new(false),
        drain: CancellationToken::new(),
    };
    let mut server =
        Server { limiter, shared: Arc::new(shared), handler, open: JoinSet::new(), refused: JoinSet::new() };
    let ended = server.accept(&listener, &shutdown).await;
    drop(listener);
    server.drain().await;
    ended
}

fn http() -> Builder {
    let mut http = Builder::new();
    // The watchdog times heads itself: hyper would arm a timer for every request, and close idle connections by it. Pipelined requests are
    // answered one by one: aggregated flushes withhold an answer while a part of the next head is there. Vectored writes are off: a head and a
    // small body are written faster from one buffer than from two.
    http.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEAD).writev(false);
    http
}

struct Server<H> {
    limiter: Arc<ConnectionLimiter>,
    shared: Arc<Shared>,
    handler: H,
    open: JoinSet<()>,
    refused: JoinSet<()>,
}

impl<H: Handler> Server<H> {
    async fn accept(&mut self, listener: &TcpListener, shutdown: &CancellationToken) -> Result<(), ConnError> {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                Some(ended) = self.open.join_next() => {
                    report(ended);
                    continue;
                }
                Some(ended) = self.refused.join_next() => {
                    report(ended);
                    continue;
                }
                _ = second.tick() => {
                    self.shared.clock.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) => {
                    let Some(pause) = pause_after(&error)? else { continue };
                    self.shared.settings.reachability.turned_away();
                    self.shared.metrics.reject("accept");
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::select! {
                        () = shutdown.cancelled() => return Ok(()),
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let _ = stream.set_nodelay(true);
        let metrics = &self.shared.metrics;
        let activity = Arc::new(Activity::new(&self.shared.clock));
        let refusal = match self.limiter.acquire(peer, &activity, self.shared.clock.load(Ordering::Relaxed)) {
            Ok(acquired) => {
                self.shared.settings.reachability.admitted();
                if let Some(reason) = acquired.evicted {
                    metrics.reject(reason);
                }
                let permit = acquired.permit;
                let connection =
                    connection::serve(stream, peer, self.handler.clone(), activity, Arc::clone(&self.shared));
                self.open.spawn(async move {
                    connection.await;
                    drop(permit);
                });
                return;
            }
            Err(Full::Server) => {
                self.shared.settings.reachability.turned_away();
                metrics.reject("connection_limit");
                refusals::server_full()
            }
            Err(Full::Client) => {
                metrics.reject("client_connections");
                refusals::client_share(self.shared.settings.per_client)
            }
        };
        if self.refused.len() < MAX_REFUSALS {
            let tls = self.shared.settings.tls.is_some();
            self.refused.spawn(refuse(stream, refusal, tls));
        }
    }

    async fn drain(mut self) {
        self.refused.abort_all();
        self.handler.drain();
        self.shared.draining.store(true, Ordering::Release);
        self.shared.drain.cancel();
        let all = async {
            while let Some(ended) = self.open.join_next().await {
                report(ended);
            }
        };
        if tokio::time::timeout(self.shared.settings.grace, all).await.is_err() {
            tracing::warn!(connections = self.open.len(), "requests did not end in time; their connections are closed");
        }
        self.open.shutdown().await;
    }
}

/// A handler's panic is answered, so one that ends a connection's task is a bug of this module.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

/// How long to pause after a failed accept: not at all where the error concerns one connection alone, as network errors do
/// ([accept(2)](https://man7.org/linux/man-pages/man2/accept.2.html)); an error of the socket itself ends the server; anything else, above all
/// a lack of descriptors, may pass.
fn pause_after(error: &io::Error) -> Result<Option<Duration>, ConnError> {
    let of_one_connection = [
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
    let of_the_socket = [Errno::BADF, Errno::INVAL, Errno::NOTSOCK, Errno::OPNOTSUPP, Errno::FAULT];
    match Errno::from_io_error(error) {
        Some(errno) if of_one_connection.contains(&errno) => Ok(None),
        Some(errno) if of_the_socket.contains(&errno) => Err(ConnError::Accept(errno.into())),
        _ => Ok(Some(ACCEPT_PAUSE)),
    }
}

/// Refuses a connection for which there is no room; where the server speaks TLS, by closing it: a handshake would need that room.
async fn refuse(stream: TcpStream, refusal: ApiError, tls: bool) {
    if !tls {
        send_refusal(stream, refusal).await;
    }
}

/// Sends the refusal, then reads what the client sent before it could know, so that it gets the answer and not a reset.
async fn send_refusal(mut stream: TcpStream, refusal: ApiError) {
    let answer = refusals::raw_response(refusal);
    let exchange = async {
        tokio::io::AsyncWriteExt::write_all(&mut stream, &answer).await?;
        tokio::io::AsyncWriteExt::shutdown(&mut stream).await?;
        discard(&mut stream).await
    };
    let _ = tokio::time::timeout(REFUSAL_TIME, exchange).await;
}

/// Reads up to the end, as far as that comes soon.
async fn discard(stream: &mut TcpStream) -> io::Result<()> {
    let mut room = [0; 4096];
    for _ in 0..8 {
        if stream.read(&mut room).await? == 0 {
            break;
        }
    }
    Ok(())
}
