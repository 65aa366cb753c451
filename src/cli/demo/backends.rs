//! The sample services behind the demo: real sockets on loopback that misbehave on command.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::grpc;

/// Most connections that one backend holds; the prober needs one.
const MAX_CONNECTIONS: usize = 64;
/// Longer than any probe waits.
const HANG_TIME: Duration = Duration::from_mins(2);

/// What a backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// HTTP, answering after this long.
    Http(Duration),
    /// A port that accepts.
    Tcp,
    /// gRPC with the health service.
    Grpc,
    /// A program that nobody probes: it reports by itself.
    Worker,
}

/// How a backend behaves at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// As it should.
    Up,
    /// Its port is closed.
    Closed,
    /// It answers 503 or NOT_SERVING.
    Failing,
    /// It accepts and never answers; a worker reports nothing.
    Hanging,
    /// Another program has taken its port, and answers well.
    Taken,
}

/// The program that takes a port.
const INTRUDER: &str = "wiki";

/// One sample service.
#[derive(Debug)]
pub(super) struct Backend {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Backend {
    /// Opens a free port on loopback and serves it in `tasks` until they are dropped.
    ///
    /// # Errors
    /// No port could be opened.
    pub(super) async fn start(kind: Kind, name: &'static str, tasks: &mut JoinSet<()>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (mode, receiver) = watch::channel(Mode::Up);
        tasks.spawn(serve(Sample { kind, name, address, mode: receiver }, listener));
        Ok(Self { address, mode })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its behaviour, as it changes.
    pub(super) fn mode(&self) -> watch::Receiver<Mode> {
        self.mode.subscribe()
    }

    /// Changes its behaviour.
    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

#[derive(Debug, Clone)]
struct Sample {
    kind: Kind,
    name: &'static str,
    address: SocketAddr,
    mode: watch::Receiver<Mode>,
}

async fn serve(mut sample: Sample, first: TcpListener) {
    let mut listener = Some(first);
    let mut connections = JoinSet::new();
    loop {
        if *sample.mode.borrow_and_update() == Mode::Closed {
            listener = None;
            connections.shutdown().await;
        } else if listener.is_none() {
            listener = Some(reopen(sample.address).await);
        }
        tokio::select! {
            stream = accept(listener.as_ref()) => {
                if connections.len() < MAX_CONNECTIONS {
                    connections.spawn(connection(stream, sample.clone()));
                }
            }
            changed = sample.mode.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    loop {
        match listener {
            None => std::future::pending().await,
            Some(listener) => match listener.accept().await {
                Ok((stream, _)) => return stream,
                // Out of descriptors: the next turn may find one.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
}

/// The same port again; somebody may have taken it meanwhile, so it is tried until it is free.
async fn reopen(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

async fn connection(stream: TcpStream, sample: Sample) {
    let io = TokioIo::new(stream);
    // A connection that breaks needs no handling.
    match sample.kind {
        Kind::Http(delay) => {
            let service = service_fn(|request| answer(request, &sample, delay));
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(io, service)
                .await;
        }
        Kind::Grpc => {
            let service = service_fn(|request| {
                let serving = sample.clone();
                async move {
                    hang(&serving).await;
                    let well = *serving.mode.borrow() == Mode::Up;
                    grpc::answer(request, well).await
                }
            });
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
        }
        Kind::Tcp | Kind::Worker => tokio::time::sleep(Duration::from_secs(1)).await,
    }
}

async fn hang(sample: &Sample) {
    if *sample.mode.borrow() == Mode::Hanging {
        tokio::time::sleep(HANG_TIME).await;
    }
}

async fn answer(
    request: Request<Incoming>,
    sample: &Sample,
    delay: Duration,
) -> Result<Response<Full<Bytes>>, Infallible> {
    hang(sample).await;
    tokio::time::sleep(delay).await;
    let mode = *sample.mode.borrow();
    let well = matches!(mode, Mode::Up | Mode::Taken);
    let name = if mode == Mode::Taken { INTRUDER } else { sample.name };
    let json = format!("{{\"service\":\"{name}\",\"path\":\"{}\",\"well\":{well}}}\n", plain(&request));
    let mut response = Response::new(Full::from(json));
    *response.status_mut() = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    Ok(response)
}

/// The path, as far as it needs no escaping in JSON.
fn plain(request: &Request<Incoming>) -> String {
    request.uri().path().chars().filter(|c| c.is_ascii_alphanumeric() || "/-_.".contains(*c)).take(100).collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn status(address: SocketAddr) -> Option<String> {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        Some(text.lines().next()?.to_owned())
    }

    async fn until(address: SocketAddr, wanted: Option<&str>) {
        while status(address).await.as_deref() != wanted {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_backend_fails_dies_and_comes_back_on_its_port() {
        let mut tasks = JoinSet::new();
        let backend = Backend::start(Kind::Http(Duration::ZERO), "x", &mut tasks).await.expect("a port");
        let address = backend.address();
        until(address, Some("HTTP/1.1 200 OK")).await;
        backend.set(Mode::Failing);
        until(address, Some("HTTP/1.1 503 Service Unavailable")).await;
        backend.set(Mode::Closed);
        until(address, None).await;
        backend.set(Mode::Up);
        until(address, Some("HTTP/1.1 200 OK")).await;
    }
}
