//! The servers and clients that Portolan is measured against, each a separate process.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket};

use crate::without_store;

/// Loopback addresses that the targets listen on.
pub(crate) const TARGET_HOSTS: usize = 16;

/// What the targets do with a probe.
const OK: u8 = 0;
const FAILING: u8 = 1;
const HANGING: u8 = 2;

/// Runs the role that is named first until a signal ends it.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    runtime.block_on(async {
        if let ["prober", url, services] = args[..] {
            // Stops in order on its own.
            return without_store::prober(url, services.parse()?).await;
        }
        tokio::select! {
            result = role(&args) => result,
            result = terminated() => result,
        }
    })
}

/// Resolves when the process is asked to end.
pub(crate) async fn terminated() -> Result<()> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?.recv().await;
    Ok(())
}

async fn role(args: &[&str]) -> Result<()> {
    match args {
        ["axum-constant", head, body] => axum_constant(head, body).await,
        ["hyper-constant", head, body] => hyper_constant(head, body).await,
        ["targets"] => targets().await,
        ["broadcast"] => crate::watchers::broadcast(listen().await?).await,
        ["bare-prober", url, _] => bare_prober(url).await,
        ["register-without-store"] => without_store::serve().await,
        other => bail!("no such role: {other:?}"),
    }
}

/// Listens on a free loopback port and prints it for the parent process.
pub(crate) async fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    Ok(listener)
}

/// Headers and body as Portolan sent them, without the headers that hyper adds.
fn constant(head: &str, body: &str) -> Result<(HeaderMap, Bytes)> {
    let mut headers = HeaderMap::new();
    for line in std::fs::read_to_string(head)?.lines().skip(1) {
        let Some((name, value)) = line.split_once(": ") else { continue };
        let name: HeaderName = name.parse()?;
        if name != http::header::DATE && name != http::header::CONTENT_LENGTH {
            headers.append(name, HeaderValue::from_str(value)?);
        }
    }
    Ok((headers, std::fs::read(body)?.into()))
}

async fn axum_constant(head: &str, body: &str) -> Result<()> {
    let (headers, body) = constant(head, body)?;
    let handler = move || std::future::ready((headers.clone(), body.clone()));
    let router = axum::Router::new().route("/api/v1/services/discover", axum::routing::get(handler));
    // axum's own serve needs a feature that Portolan does not use; this is what it does inside.
    serve(move |request| {
        let mut router = router.clone();
        async move { tower::Service::call(&mut router, request).await }
    })
    .await
}

async fn hyper_constant(head: &str, body: &str) -> Result<()> {
    let (headers, body) = constant(head, body)?;
    serve(move |_| {
        let mut response = Response::new(Full::new(body.clone()));
        *response.headers_mut() = headers.clone();
        std::future::ready(Ok::<_, Infallible>(response))
    })
    .await
}

/// The same port on several loopback addresses, so that no accept queue overflows; ten thousand targets are as many paths.
/// A request for `/mode/` and `ok`, `failing` or `hanging` changes what all of them do.
async fn targets() -> Result<()> {
    let first = listen().await?;
    let port = first.local_addr()?.port();
    let mut listeners = vec![first];
    for host in 2..=TARGET_HOSTS {
        listeners.push(TcpListener::bind(format!("127.0.0.{host}:{port}")).await?);
    }
    let mode = Arc::new(AtomicU8::new(OK));
    let answer = move |request: Request<Incoming>| {
        match request.uri().path() {
            "/mode/ok" => mode.store(OK, Ordering::Relaxed),
            "/mode/failing" => mode.store(FAILING, Ordering::Relaxed),
            "/mode/hanging" => mode.store(HANGING, Ordering::Relaxed),
            _ => return health(mode.load(Ordering::Relaxed)).boxed(),
        }
        health(OK).boxed()
    };
    let mut serving: tokio::task::JoinSet<_> = listeners.into_iter().map(|l| serve_on(l, answer.clone())).collect();
    serving.join_next().await.context("a listener")??
}

async fn health(mode: u8) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
    if mode == HANGING {
        std::future::pending::<()>().await;
    }
    if mode == FAILING {
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    }
    Ok(response)
}

/// The URL of the `n`th target of a `targets` process at `url`.
pub(crate) fn target(url: &str, n: usize) -> String {
    format!("{}/health/{n}", url.replace("127.0.0.1", &format!("127.0.0.{}", n % TARGET_HOSTS + 1)))
}

async fn serve<F, Fut, B, E>(handler: F) -> Result<()>
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    serve_on(listen().await?, handler).await
}

async fn serve_on<F, Fut, B, E>(listener: TcpListener, handler: F) -> Result<()>
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = hyper::service::service_fn(handler.clone());
        connections.spawn(
            hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service),
        );
    }
}

/// A minimal probe: connect, one GET, drain, close without lingering.
async fn bare_prober(url: &str) -> Result<()> {
    let probes = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..256 {
        let probes = Arc::clone(&probes);
        let target: http::Uri = target(url, n).parse()?;
        let address = target.authority().context("an address")?.as_str().parse()?;
        tasks.spawn(async move {
            loop {
                probe(address).await?;
                probes.fetch_add(1, Ordering::Relaxed);
            }
            #[expect(unreachable_code, reason = "gives the block its type")]
            anyhow::Ok(())
        });
    }
    let metrics = serve(move |_| {
        let text = format!("portolan_probes_total {}\n", probes.load(Ordering::Relaxed));
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text)))))
    });
    tokio::select! {
        ended = metrics => ended,
        ended = tasks.join_next() => ended.context("a task")??,
    }
}

async fn probe(address: std::net::SocketAddr) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_zero_linger()?;
    let stream = socket.connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/health").header("host", "127.0.0.1").body(Empty::<Bytes>::new())?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        anyhow::ensure!(response.status().is_success(), "{}", response.status());
        response.into_body().collect().await?;
        drop(sender);
        anyhow::Ok(())
    };
    let (done, _) = tokio::join!(exchange, connection);
    done
}
