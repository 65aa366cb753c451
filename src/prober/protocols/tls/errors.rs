//! What a broken exchange says about the peer, with TLS or without.

use std::error::Error;
use std::io;

use super::super::tcp::TooMuch;
use super::super::trace::Ending;
use super::alert::alert;
use crate::model::outcome::Reason;

/// An HTTP/2 exchange that broke.
pub(in crate::prober::protocols) fn broken(error: &hyper::Error) -> Ending {
    if let Some(error) = source::<io::Error>(error) {
        return broken_io(error);
    }
    if let Some(error) = source::<h2::Error>(error) {
        let ending = error.get_io().map(broken_io).or_else(|| refused(error));
        if let Some(ending) = ending {
            return ending;
        }
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return closed();
    }
    let message =
        "the answer is not gRPC over HTTP/2; does the server speak HTTP/1.1 on this port, or does it want TLS?";
    Ending::fail(Reason::ProtocolError, message)
}

/// The server ended the call or the connection by a frame that says why; none where that means another protocol.
fn refused(error: &h2::Error) -> Option<Ending> {
    let other = [h2::Reason::PROTOCOL_ERROR, h2::Reason::INADEQUATE_SECURITY, h2::Reason::HTTP_1_1_REQUIRED];
    let why = error.reason().filter(|why| error.is_remote() && !other.contains(why))?;
    let frame = if error.is_go_away() { "GOAWAY" } else { "RST_STREAM" };
    let message = format!("the server refused the call ({frame}, {why:?}); is it overloaded or shutting down?");
    Some(Ending::fail(Reason::GrpcError, message))
}

/// A read or write that failed.
pub(in crate::prober::protocols) fn broken_io(error: &io::Error) -> Ending {
    if error.get_ref().and_then(|inner| inner.downcast_ref::<TooMuch>()).is_some() {
        return Ending::fail(Reason::ProtocolError, "the peer sent more than 1 MiB without an answer in it");
    }
    alert(error).unwrap_or_else(closed)
}

/// The peer closed without an answer.
pub(in crate::prober::protocols) fn closed() -> Ending {
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
