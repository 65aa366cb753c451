//! The response body of every answer.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::stream::BoxStream;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::in_flight::Permit;
use crate::catalog;

/// Bytes handed to a connection at once. It copies them behind the head, so that most answers leave in one write, and keeps that buffer.
pub(in crate::api) const PIECE: usize = 32 * 1024;

/// Most memory of a body that is made in pieces, in bytes: one piece here that is made, one in the connection that is written.
const STREAMED: usize = 2 * PIECE;

/// A response body.
pub enum Body {
    /// Ready bytes.
    Ready(Bytes),
    /// More than one piece: ready bytes, or what they are made from.
    Large(Box<Large>),
    /// Piece by piece, until the stream ends or the client disconnects.
    Stream(BoxStream<'static, Bytes>),
}

/// A body of known length that is sent in pieces.
pub struct Large {
    pieces: Pieces,
    /// Bytes that are left to send.
    left: usize,
    /// For its memory.
    permit: Option<Permit>,
}

enum Pieces {
    Ready(Bytes),
    /// Made while they are sent, from the catalog at the moment of the pin.
    Made {
        pieces: Box<dyn Iterator<Item = Bytes> + Send>,
        maker_bytes: usize,
        pin: catalog::Pin,
    },
}

impl Body {
    /// A body of `len` bytes that `pieces` makes while they are sent. It breaks off when `pin` is over, because too much in the catalog was
    /// replaced. `maker_bytes` is the memory of the maker itself, in bytes.
    pub(in crate::api) fn made(
        len: usize,
        maker_bytes: usize,
        pieces: impl Iterator<Item = Bytes> + Send + 'static,
        pin: catalog::Pin,
    ) -> Self {
        let pieces = Pieces::Made { pieces: Box::new(pieces), maker_bytes, pin };
        Self::Large(Box::new(Large { pieces, left: len, permit: None }))
    }

    /// Bytes that are left to send; 0 where that is unknown.
    pub fn len(&self) -> usize {
        match self {
            Self::Ready(bytes) => bytes.len(),
            Self::Large(large) => large.left,
            Self::Stream(_) => 0,
        }
    }

    /// Whether nothing is left to send.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Ready(_) | Self::Large(_) => self.len() == 0,
            Self::Stream(_) => false,
        }
    }

    /// Its memory while it is sent, in bytes; none where it is one piece.
    pub(in crate::api) fn weight(&self) -> Option<usize> {
        match self {
            Self::Ready(bytes) => (bytes.len() > PIECE).then(|| bytes.len()),
            Self::Large(large) => Some(match &large.pieces {
                Pieces::Ready(bytes) => bytes.len(),
                Pieces::Made { maker_bytes, .. } => STREAMED + maker_bytes,
            }),
            Self::Stream(_) => None,
        }
    }

    /// The same body, which gives `permit` back at its end.
    pub(in crate::api) fn permitted(self, permit: Permit) -> Self {
        match self {
            Self::Ready(bytes) => {
                let left = bytes.len();
                Self::Large(Box::new(Large { pieces: Pieces::Ready(bytes), left, permit: Some(permit) }))
            }
            Self::Large(mut large) => {
                large.permit = Some(permit);
                Self::Large(large)
            }
            stream @ Self::Stream(_) => stream,
        }
    }
}

impl Large {
    fn next(&mut self) -> Option<Bytes> {
        let piece = match &mut self.pieces {
            Pieces::Ready(rest) => piece_of(rest),
            Pieces::Made { pin, .. } if pin.is_over() => {
                if let Some(permit) = &self.permit {
                    permit.broke_off();
                }
                None
            }
            Pieces::Made { pieces, .. } => pieces.next(),
        };
        self.left = self.left.saturating_sub(piece.as_ref().map_or(0, Bytes::len));
        piece
    }
}

fn piece_of(rest: &mut Bytes) -> Option<Bytes> {
    match rest.len() {
        0 => None,
        len if len <= PIECE => Some(std::mem::take(rest)),
        _ => Some(rest.split_to(PIECE)),
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
            Self::Large(large) => f.debug_tuple("Large").field(&large.left).finish(),
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
        let piece = match self.get_mut() {
            Self::Ready(rest) => piece_of(rest),
            Self::Large(large) => large.next(),
            Self::Stream(stream) => {
                return stream.as_mut().poll_next(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))));
            }
        };
        Poll::Ready(piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ready(_) | Self::Large(_) => SizeHint::with_exact(self.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
