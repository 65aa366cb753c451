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

use super::answer;
use super::body::RequestBody;
use super::framing;
use super::watch::{Beat, Finding, Phase, Watch, Watchdog};
use super::wire::Wire;
use super::{ConnSettings, Handler};
use crate::api::Body;
use crate::telemetry::metrics::Metrics;

/// What all connections of a server share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: ConnSettings,
    pub(super) metrics: Metrics,
    pub(super) http: Builder,
    pub(super) beat: Beat,
    /// Set before `drain` is cancelled, since asking a token takes a lock.
    pub(super) draining: AtomicBool,
    pub(super) drain: CancellationToken,
}

/// What one request needs of its connection.
struct Line<H> {
    handler: H,
    peer: SocketAddr,
    watch: Arc<Watch>,
    body_time: std::time::Duration,
    drain: CancellationToken,
}

/// Serves a connection until it ends, is given up or the server drains.
pub(super) async fn hold<H: Handler>(
    stream: TcpStream,
    peer: SocketAddr,
    handler: H,
    watch: Arc<Watch>,
    shared: Arc<Shared>,
) {
    let body_time = shared.settings.body;
    let line = Arc::new(Line { handler, peer, watch: Arc::clone(&watch), body_time, drain: shared.drain.clone() });
    let io = TokioIo::new(Wire::new(stream, Arc::clone(&watch)));
    let service = service_fn(move |request| answer_one(Arc::clone(&line), request));
    let mut conn = shared.http.serve_connection(io, service);
    let now = Instant::now();
    let mut keeper =
        Keeper { dog: Watchdog::new(&shared.settings, now), watch, shared: &shared, draining: false, registered: None };
    let timer = pin!(sleep_until(keeper.dog.first()));
    let drained = pin!(shared.drain.cancelled());
    let mut waits = Waits { timer, drained };
    let over = poll_fn(|cx| {
        let mut polled = Pin::new(&mut conn).poll(cx);
        // After that: a request that came before the server began to drain is read, and answered.
        if polled.is_pending() && keeper.should_drain() {
            Pin::new(&mut conn).graceful_shutdown();
            polled = Pin::new(&mut conn).poll(cx);
        }
        match polled {
            Poll::Ready(ended) => Poll::Ready(Err(ended)),
            Poll::Pending => keeper.poll(&mut waits, cx).map(Ok),
        }
    });
    let over = over.await;
    let wire = conn.into_parts().io.into_inner();
    match over {
        Ok(Finish::Late(phase)) => give_up(&wire, phase, &shared.metrics),
        Ok(Finish::MadeRoom(phase)) => make_room(&wire, phase),
        // hyper has no word for a client that speaks HTTP/2 right away.
        Err(Err(error)) if error.is_parse() => wire.refuse_unless_refused(),
        Err(_) => {}
    }
}

struct Waits<'a, D> {
    timer: Pin<&'a mut Sleep>,
    drained: Pin<&'a mut D>,
}

/// How a connection ends that hyper did not end.
enum Finish {
    /// The phase took too long, or the server drains.
    Late(Phase),
    /// Its place was needed.
    MadeRoom(Phase),
}

/// Watches over a connection between its polls.
struct Keeper<'a> {
    dog: Watchdog,
    watch: Arc<Watch>,
    shared: &'a Shared,
    draining: bool,
    /// The task that timer and drain will wake.
    registered: Option<Waker>,
}

impl Keeper<'_> {
    /// Whether draining starts with this poll.
    fn should_drain(&mut self) -> bool {
        // One that waits for the rest of a request is polled once more: it may be there by now.
        let evicted = self.watch.is_evicted() && !self.watch.is_unfinished();
        let told = self.shared.draining.load(Ordering::Acquire) || evicted;
        let starts = !self.draining && told;
        self.draining |= starts;
        starts
    }

    /// Ready when the connection is to be given up. On the hot path this loads a few flags and polls nothing.
    fn poll<D: Future>(&mut self, waits: &mut Waits<'_, D>, cx: &mut Context<'_>) -> Poll<Finish> {
        if self.draining && self.watch.quiet() {
            return Poll::Ready(Finish::Late(Phase::Idle));
        }
        if self.watch.is_evicted() && !self.draining {
            if self.watch.is_unfinished() {
                return Poll::Ready(Finish::MadeRoom(self.watch.phase()));
            }
            // Its request came after all: it ends once that is answered.
            cx.waker().wake_by_ref();
        }
        let urgent = self.dog.urgent(&self.watch, Instant::now);
        if let Some(at) = urgent {
            waits.timer.as_mut().reset(at);
        }
        let known = self.registered.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            let drains = waits.drained.as_mut().poll(cx).is_ready();
            self.watch.register(cx.waker());
            self.registered = Some(cx.waker().clone());
            if (drains || self.watch.is_evicted()) && !self.draining {
                // Told between the looks above and this: nobody else wakes this task.
                cx.waker().wake_by_ref();
            }
        } else if urgent.is_none() && !waits.timer.is_elapsed() {
            return Poll::Pending;
        }
        while waits.timer.as_mut().poll(cx).is_ready() {
            match self.dog.look(&self.watch, Instant::now()) {
                Finding::Look(at) => waits.timer.as_mut().reset(at),
                Finding::Over(phase) => return Poll::Ready(Finish::Late(phase)),
            }
        }
        Poll::Pending
    }
}

/// Ends a connection that took too long.
fn give_up(wire: &Wire, phase: Phase, metrics: &Metrics) {
    match phase {
        Phase::Head => {
            metrics.reject("slow_head");
            // One attempt: whoever is this slow may well not read either.
            wire.try_say(answer::too_slow());
        }
        Phase::Blocked => {
            metrics.reject("stalled_write");
            wire.forget_unsent();
        }
        Phase::Fresh => metrics.reject("silent_connection"),
        Phase::Idle | Phase::Flight | Phase::Closing => {}
    }
}

/// Ends a connection whose place was needed before its request was whole, or its answer taken.
fn make_room(wire: &Wire, phase: Phase) {
    match phase {
        Phase::Blocked => wire.forget_unsent(),
        Phase::Fresh | Phase::Closing => {}
        _ => wire.try_say(answer::unfinished()),
    }
}

/// An answer's body on its way to hyper, which drops it once it has the last piece.
struct Outgoing<H> {
    body: Body,
    line: Arc<Line<H>>,
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
        self.line.watch.handed();
    }
}

async fn answer_one<H: Handler>(
    line: Arc<Line<H>>,
    request: Request<Incoming>,
) -> Result<Response<Outgoing<H>>, Infallible> {
    line.watch.request();
    let response = answer(&line, request).await;
    line.watch.answered();
    Ok(response.map(|body| Outgoing { body: go_on(body, &line), line }))
}

/// A stream counts as a request under way, and ends when the server drains.
fn go_on<H>(body: Body, line: &Line<H>) -> Body {
    let Body::Stream(mut stream) = body else { return body };
    line.watch.streams();
    let watch = Arc::clone(&line.watch);
    let stream = futures::stream::poll_fn(move |cx| watch.one_at_a_time(cx, |cx| stream.poll_next_unpin(cx)));
    Body::Stream(stream.take_until(line.drain.clone().cancelled_owned()).boxed())
}

async fn answer<H: Handler>(line: &Line<H>, request: Request<Incoming>) -> Response<Body> {
    if let Some(error) = framing::refusal(&request) {
        line.watch.body_left();
        return error.into_reply();
    }
    let request = request.map(|body| {
        if body.is_end_stream() {
            RequestBody::empty()
        } else {
            RequestBody::wire(body, line.body_time, Arc::clone(&line.watch))
        }
    });
    let answered = AssertUnwindSafe(line.handler.call(request, line.peer)).catch_unwind().await;
    answered.unwrap_or_else(|_| {
        tracing::error!(peer = %line.peer, "a request's handler panicked");
        answer::panicked().into_reply()
    })
}
