//! Servers that a test controls, and a dialer to probe them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portolan::model::check::{Target, TlsCheck};
use portolan::model::outcome::{Outcome, Reason, Verdict};
use portolan::model::url::Host;
use portolan::prober::AddressPolicy;
use portolan::prober::{DialSettings, Dialer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Ample for a loopback exchange on a busy machine; no test waits for it to pass.
pub(crate) const AMPLE: Duration = Duration::from_mins(2);
/// For targets that must run into the deadline.
pub(crate) const SHORT: Duration = Duration::from_millis(400);
/// By how much a verdict may be late on a busy machine.
pub(crate) const MARGIN: Duration = Duration::from_secs(30);

/// A server on loopback; it ends with the value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Serves each connection by `behave`.
    pub(crate) async fn start<B, F>(behave: B) -> Self
    where
        B: Fn(TcpStream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::on(TcpListener::bind(("127.0.0.1", 0)).await.expect("a port"), behave)
    }

    pub(crate) fn on<B, F>(listener: TcpListener, behave: B) -> Self
    where
        B: Fn(TcpStream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().expect("an address");
        let (connections, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        let (counted, opened) = (connections.clone(), open.clone());
        tasks.spawn(async move {
            let mut running = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                opened.fetch_add(1, Ordering::SeqCst);
                let (work, opened) = (behave(stream), opened.clone());
                running.spawn(async move {
                    work.await;
                    opened.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, connections, open, _tasks: tasks }
    }

    /// Answers every request with these bytes, then waits for the client to go.
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |mut stream| {
            let answer = answer.clone();
            async move {
                read_head(&mut stream).await;
                drop(stream.write_all(&answer).await);
                until_closed(&mut stream).await;
            }
        })
        .await
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until every connection has ended: the prober leaves none behind.
    pub(crate) async fn quiet(&self) {
        let end = Instant::now() + AMPLE;
        while self.open.load(Ordering::SeqCst) > 0 {
            assert!(Instant::now() < end, "a connection stayed open");
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn http(&self, target: &str) -> Target {
        http(self.port(), target)
    }
}

/// A listener that never accepts, and whose queue is full: who dials it hears nothing.
pub(crate) struct Silent {
    listener: TcpListener,
    _queue: Vec<TcpStream>,
}

impl Silent {
    pub(crate) async fn at(ip: &str, port: u16) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(ip.parse().expect("an address"), port)).expect("a port");
        let listener = socket.listen(1).expect("listens");
        let address = listener.local_addr().expect("an address");
        let mut queue = Vec::new();
        // the system drops further handshakes once it is full
        while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
            queue.push(stream);
            assert!(queue.len() < 10_000, "the queue has no end");
        }
        Self { listener, _queue: queue }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().expect("an address").port()
    }
}

pub(crate) fn loopback() -> Host {
    Host::Ip("127.0.0.1".parse().expect("an address"))
}

pub(crate) fn http(port: u16, target: &str) -> Target {
    Target::Http {
        host: loopback(),
        port,
        target: target.to_owned(),
        request_options: None,
        tls: None,
        expected: Vec::new(),
        demands: None,
    }
}

pub(crate) fn https(host: Host, port: u16, tls: TlsCheck) -> Target {
    Target::Http {
        host,
        port,
        target: "/".to_owned(),
        request_options: None,
        tls: Some(tls),
        expected: Vec::new(),
        demands: None,
    }
}

/// Reads up to the empty line that ends a request, and returns it.
pub(crate) async fn read_head<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

pub(crate) async fn until_closed<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// A policy for tests: loopback only, as an embedded server has it.
pub(crate) fn open_policy() -> AddressPolicy {
    AddressPolicy { allow_loopback: true, ..AddressPolicy::default() }
}

pub(crate) fn settings() -> DialSettings {
    // Other tests on the machine leave more sockets than a server's own probes may add to.
    DialSettings { policy: open_policy(), time_wait: u32::MAX, ..DialSettings::default() }
}

pub(crate) fn dialer() -> Dialer {
    Dialer::new(settings())
}

/// Pins and probes, and asserts that the verdict came by the deadline, give or take a busy machine.
pub(crate) async fn probe_with(dialer: &Dialer, target: &Target, time: Duration) -> Outcome {
    let begin = Instant::now();
    let outcome = match dialer.pin(target, begin + time).await {
        Ok(pinned) => dialer.probe(target, &pinned, begin + time).await,
        Err(outcome) => outcome,
    };
    assert!(begin.elapsed() < time + MARGIN, "late by {:?}: {outcome:?}", begin.elapsed());
    assert!(outcome.message.chars().count() <= 256 && !outcome.message.is_empty(), "{outcome:?}");
    outcome
}

pub(crate) async fn probe(target: &Target) -> Outcome {
    probe_with(&dialer(), target, AMPLE).await
}

pub(crate) async fn probe_briefly(target: &Target) -> Outcome {
    probe_with(&dialer(), target, SHORT).await
}

#[track_caller]
pub(crate) fn assert_pass(outcome: &Outcome) {
    assert_eq!((outcome.verdict, outcome.reason), (Verdict::Pass, Reason::Passed), "{outcome:?}");
}

#[track_caller]
pub(crate) fn assert_fail(outcome: &Outcome, reason: Reason) {
    assert_eq!((outcome.verdict, outcome.reason), (Verdict::Fail, reason), "{outcome:?}");
}

#[track_caller]
pub(crate) fn assert_inconclusive(outcome: &Outcome, reason: Reason) {
    assert_eq!((outcome.verdict, outcome.reason), (Verdict::Inconclusive, reason), "{outcome:?}");
}
