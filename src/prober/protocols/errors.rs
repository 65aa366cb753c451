//! What the probes share: driving a connection inside the probe's own future, and reading its errors.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

use crate::model::outcome::Reason;
use crate::prober::protocols::tcp::TooMuch;
use crate::prober::protocols::tls;
use crate::prober::protocols::trace::Ending;

/// The connection's side of an exchange: polled next to the work that waits for it, so no task is spawned and nothing outlives the
/// probe.
pub(crate) trait Wheel {
    /// Moves the connection on. An end is remembered by the wheel itself; its reason reaches the work through the exchange.
    fn turn(&mut self, cx: &mut Context<'_>);
}

/// Runs `work` to its end while `wheel` turns.
pub(crate) async fn drive<W: Wheel, F: Future>(wheel: &mut W, work: F) -> F::Output {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        wheel.turn(cx);
        // what the turn brought is seen now, which saves waking up for it
        work.as_mut().poll(cx)
    })
    .await
}

/// What the end of an exchange over HTTP/2 says about the peer.
pub(crate) fn broken(error: &hyper::Error) -> Ending {
    if let Some(error) = source::<io::Error>(error) {
        return broken_io(error);
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return closed();
    }
    let message =
        "the answer is not gRPC over HTTP/2; does the server speak HTTP/1.1 on this port, or does it want TLS?";
    Ending::fail(Reason::ProtocolError, message)
}

/// What a failed read or write says about the peer.
pub(crate) fn broken_io(error: &io::Error) -> Ending {
    if error.get_ref().and_then(|inner| inner.downcast_ref::<TooMuch>()).is_some() {
        return Ending::fail(Reason::ProtocolError, "the peer sent more than 1 MiB without an answer in it");
    }
    tls::alert(error).unwrap_or_else(closed)
}

/// The peer is gone without an answer.
pub(crate) fn closed() -> Ending {
    Ending::fail(Reason::ConnectionReset, "the peer closed the connection before it answered")
}

fn source<E: Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
