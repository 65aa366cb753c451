//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http::{Request, Response};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Phase, SecondsClock};
use super::body::RequestBody;
use super::socket::ClientSocket;
use super::transport::Transport;
use super::watchdog::{Inspection, Watchdog};
use super::{ConnSettings, Handler};
use super::{framing, handshake, refusals};
use crate::api::http::body::Body;
use crate::api::tls::Peer;
use crate::telemetry::metrics::Metrics;

/// Shared by all connections of a server.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: ConnSettings,
    pub(super) metrics: Metrics,
    pub(super) http: Builder,
    pub(super) clock: SecondsClock,
    /// Set before `drain` is cancelled, since reading a token takes a lock.
    pub(super) draining: AtomicBool,
    pub(super) drain: CancellationToken,
}

/// What a request needs from its connection.
struct Connection<H> {
    handler: H,
    peer: SocketAddr,
    activity: Arc<Activity>,
    body_time: std::time::Duration,
    drain: CancellationToken,
    /// The peer that the handshake verified.
    verified: Option<Peer>,
}

/// Serves a connection until it ends, times out, is evicted or the server drains.
pub(super) async fn serve<H: Handler>(
    stream: TcpStream,
    peer: SocketAddr,
    handler: H,
    activity: Arc<Activity>,
    shared: Arc<Shared>,
) {
    let (stream, verified) = match &shared.settings.tls {
        None => (Transport::Plain(stream), None),
        // Boxed, so that a plain connection does not carry its size.
        Some(tls) => {
            let limits = (&shared.settings, &shared.metrics, &shared.drain);
            let Some(opened) = Box::pin(handshake::open(stream, tls, &activity, limits)).await else { return };
            opened
        }
    };
    let (body_time, drain) = (shared.settings.body, shared.drain.clone());
    let connection =
        Arc::new(Connection { handler, peer, activity: Arc::clone(&activity), body_time, drain, verified });
    let io = TokioIo::new(ClientSocket::new(stream, Arc::clone(&activity)));
    let service = service_fn(move |request| answer_one(Arc::clone(&connection), request));
    let mut conn = shared.http.serve_connection(io, service);
    let now = Instant::now();
    let watchdog = Watchdog::new(&shared.settings, now);
    let timer = pin!(sleep_until(watchdog.first_inspection()));
    let mut supervisor = Supervisor { watchdog, activity, shared: &shared, draining: false, registered: None };
    let drained = pin!(shared.drain.cancelled());
    let mut waits = Waits { timer, drained };
    let over = poll_fn(|cx| {
        let mut polled = Pin::new(&mut conn).poll(cx);
        // Only then drain: a request that arrived before the server began to drain is read and answered.
        if polled.is_pending() && supervisor.should_drain() {
            Pin::new(&mut conn).graceful_shutdown();
            polled = Pin::new(&mut conn).poll(cx);
        }
        match polled {
            Poll::Ready(ended) => Poll::Ready(Err(ended)),
            Poll::Pending => supervisor.poll(&mut waits, cx).map(Ok),
        }
    });
    let over = over.await;
    let mut socket = conn.into_parts().io.into_inner();
    match over {
        Ok(Close::TimedOut(phase)) => close_timed_out(&mut socket, phase, &shared.metrics),
        Ok(Close::Evicted(phase)) => close_evicted(&mut socket, phase),
        // hyper does not answer a client that speaks HTTP/2 right away.
        Err(Err(error)) if error.is_parse() => socket.refuse_unless_refused(),
        Err(_) => {}
    }
}

struct Waits<'a, D> {
    timer: Pin<&'a mut Sleep>,
    drained: Pin<&'a mut D>,
}

/// Why a connection is closed that hyper did not end.
enum Close {
    /// The phase took too long, or the server drains.
    TimedOut(Phase),
    /// Another connection needed its place.
    Evicted(Phase),
}

/// Supervises a connection between its polls.
struct Supervisor<'a> {
    watchdog: Watchdog,
    activity: Arc<Activity>,
    shared: &'a Shared,
    draining: bool,
    /// The task that timer and drain will wake.
    registered: Option<Waker>,
}

impl Supervisor<'_> {
    /// Whether draining starts with this poll.
    fn should_drain(&mut self) -> bool {
        // An unfinished request is polled once more: the rest may have arrived.
        let evicted = self.activity.is_evicted() && !self.activity.is_unfinished();
        let must_drain = self.shared.draining.load(Ordering::Acquire) || evicted;
        let starts = !self.draining && must_drain;
        self.draining |= starts;
        starts
    }

    /// Ready when the connection must be closed. For a busy connection this loads a few flags and polls nothing.
    fn poll<D: Future>(&mut self, waits: &mut Waits<'_, D>, cx: &mut Context<'_>) -> Poll<Close> {
        if self.draining && self.activity.quiet() {
            return Poll::Ready(Close::TimedOut(Phase::Idle));
        }
        if self.activity.is_evicted() && !self.draining {
            if self.activity.is_unfinished() {
                return Poll::Ready(Close::Evicted(self.activity.phase()));
            }
            // Its request arrived after all: the connection ends once that is answered.
            cx.waker().wake_by_ref();
        }
        let deadline = self.watchdog.precise_deadline(&self.activity, Instant::now);
        if let Some(at) = deadline {
            waits.timer.as_mut().reset(at);
        }
        let known = self.registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            let drains = waits.drained.as_mut().poll(cx).is_ready();
            self.activity.register(cx.waker());
            self.registered = Some(cx.waker().clone());
            if (drains || self.activity.is_evicted()) && !self.draining {
                // It began between the checks above and the registration: nothing else wakes this task.
                cx.waker().wake_by_ref();
            }
        } else if deadline.is_none() && !waits.timer.is_elapsed() {
            return Poll::Pending;
        }
        while waits.timer.as_mut().poll(cx).is_ready() {
            match self.watchdog.inspect(&self.activity, Instant::now()) {
                Inspection::Again(at) => waits.timer.as_mut().reset(at),
                Inspection::Expired(phase) => return Poll::Ready(Close::TimedOut(phase)),
            }
        }
        Poll::Pending
    }
}

/// Closes a connection whose phase took too long.
fn close_timed_out(socket: &mut ClientSocket, phase: Phase, metrics: &Metrics) {
    match phase {
        Phase::Head => {
            metrics.reject("slow_head");
            // One attempt: a client this slow may not read either.
            socket.try_send(refusals::too_slow());
        }
        Phase::Blocked => {
            metrics.reject("stalled_write");
            socket.discard_unsent();
        }
        Phase::Fresh => metrics.reject("silent_connection"),
        Phase::Idle | Phase::InFlight | Phase::Closing => {}
    }
}

/// Closes a connection whose request is unfinished, or whose answer is not read, because its place is needed.
fn close_evicted(socket: &mut ClientSocket, phase: Phase) {
    match phase {
        Phase::Blocked => socket.discard_unsent(),
        Phase::Fresh | Phase::Closing => {}
        _ => socket.try_send(refusals::unfinished()),
    }
}

/// An answer's body in hyper's hands, which drops it once it has the last piece.
struct Outgoing<H> {
    body: Body,
    connection: Arc<Connection<H>>,
}

impl<H> hyper::body::Body for Outgoing<H> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<H> Drop for Outgoing<H> {
    fn drop(&mut self) {
        self.connection.activity.handed();
    }
}

async fn answer_one<H: Handler>(
    connection: Arc<Connection<H>>,
    request: Request<Incoming>,
) -> Result<Response<Outgoing<H>>, Infallible> {
    connection.activity.request();
    let response = answer(&connection, request).await;
    connection.activity.answered();
    Ok(response.map(|body| Outgoing { body: until_drain(body, &connection), connection }))
}

/// A stream counts as a request in flight, and ends when the server drains or no longer trusts the peer's certificate.
fn until_drain<H>(body: Body, connection: &Connection<H>) -> Body {
    let Body::Stream(mut stream) = body else { return body };
    connection.activity.streams();
    let activity = Arc::clone(&connection.activity);
    let stream = futures::stream::poll_fn(move |cx| activity.one_at_a_time(cx, |cx| stream.poll_next_unpin(cx)));
    let drained = connection.drain.clone().cancelled_owned();
    match connection.verified.clone() {
        None => Body::Stream(stream.take_until(drained).boxed()),
        Some(peer) => {
            let over = async move {
                tokio::select! {
                    () = drained => {}
                    () = peer.ended() => {}
                }
            };
            Body::Stream(stream.take_until(Box::pin(over)).boxed())
        }
    }
}

async fn answer<H: Handler>(connection: &Connection<H>, request: Request<Incoming>) -> Response<Body> {
    if let Some(error) = framing::refusal(&request) {
        connection.activity.body_left();
        return error.into_reply();
    }
    let mut request = request.map(|body| {
        if body.is_end_stream() {
            RequestBody::empty()
        } else {
            RequestBody::wire(body, connection.body_time, Arc::clone(&connection.activity))
        }
    });
    if let Some(peer) = &connection.verified {
        request.extensions_mut().insert(peer.clone());
    }
    let answered = AssertUnwindSafe(connection.handler.call(request, connection.peer)).catch_unwind().await;
    answered.unwrap_or_else(|_| {
        tracing::error!(peer = %connection.peer, "a request's handler panicked");
        refusals::panicked().into_reply()
    })
}
