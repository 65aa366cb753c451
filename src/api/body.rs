//! The one response body of the API.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// A response body: ready bytes, sent without another allocation, or whatever a router made.
#[derive(Debug)]
pub enum Body {
    /// Known whole.
    Full(Full<Bytes>),
    /// From an axum handler.
    Routed(axum::body::Body),
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::Full(Full::default())
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Full(Full::new(bytes.into()))
    }
}

impl From<Body> for axum::body::Body {
    fn from(body: Body) -> Self {
        match body {
            Body::Full(full) => Self::new(full),
            Body::Routed(routed) => routed,
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Self::Full(full) => Pin::new(full).poll_frame(cx).map_err(|never: Infallible| match never {}),
            Self::Routed(routed) => Pin::new(routed).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(full) => full.is_end_stream(),
            Self::Routed(routed) => routed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(full) => full.size_hint(),
            Self::Routed(routed) => routed.size_hint(),
        }
    }
}
