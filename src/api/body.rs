//! The one response body of the API.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// Bytes handed to a connection at once. It copies them behind the head, so that most answers leave in one piece, and keeps the room.
const PIECE: usize = 32 * 1024;

/// A response body: ready bytes.
#[derive(Debug, Clone, Default)]
pub struct Body(Bytes);

impl Body {
    /// Bytes that are left to send.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let rest = &mut self.get_mut().0;
        if rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = if rest.len() <= PIECE { std::mem::take(rest) } else { rest.split_to(PIECE) };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
