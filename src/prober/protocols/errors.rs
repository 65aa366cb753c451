//! What a broken exchange says about the peer.

use std::error::Error;
use std::io;

use super::tcp::TooMuch;
use super::tls::alert;
use super::trace::Ending;
use crate::model::outcome::Reason;

/// An HTTP/2 exchange that broke.
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

/// A read or write that failed.
pub(crate) fn broken_io(error: &io::Error) -> Ending {
    if error.get_ref().and_then(|inner| inner.downcast_ref::<TooMuch>()).is_some() {
        return Ending::fail(Reason::ProtocolError, "the peer sent more than 1 MiB without an answer in it");
    }
    alert(error).unwrap_or_else(closed)
}

/// The peer closed without an answer.
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
