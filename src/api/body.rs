//! The one response body of the API.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::BoxStream;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// Bytes handed to a connection at once. It copies them behind the head, so that most answers leave in one piece, and keeps the room.
const PIECE: usize = 32 * 1024;

/// A response body.
pub enum Body {
    /// Ready bytes.
    Ready(Bytes),
    /// Piece by piece, until the stream ends or the client goes.
    Stream(BoxStream<'static, Bytes>),
}

impl Body {
    /// Bytes that are left to send, as far as they are known.
    pub fn len(&self) -> usize {
        match self {
            Self::Ready(bytes) => bytes.len(),
            Self::Stream(_) => 0,
        }
    }

    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Ready(bytes) if bytes.is_empty())
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::Ready(Bytes::new())
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready(bytes) => f.debug_tuple("Ready").field(bytes).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Ready(bytes.into())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Ready(rest) if rest.is_empty() => Poll::Ready(None),
            Self::Ready(rest) => {
                let piece = if rest.len() <= PIECE { std::mem::take(rest) } else { rest.split_to(PIECE) };
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Self::Stream(stream) => {
                stream.as_mut().poll_next(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ready(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
