//! A request's body that must arrive in time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::watch::Watch;
use crate::api::envelope::{ApiError, Code};

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Not whole in time.
    #[error("the request's body did not arrive within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The connection broke, or the framing is wrong.
    #[error("the request's body broke off")]
    Broken(#[from] hyper::Error),
}

/// A request's body. Its timer exists only while a part of it is late.
#[derive(Debug)]
pub struct RequestBody {
    source: Source,
    limit: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    started: Option<Instant>,
    /// Told how the body ends; gone once it has.
    watch: Option<Arc<Watch>>,
}

#[derive(Debug)]
enum Source {
    Wire(Incoming),
    Ready(Full<Bytes>),
}

impl RequestBody {
    /// A body from a connection, which must be whole `limit` after its first part was asked for.
    pub(super) fn wire(incoming: Incoming, limit: Duration, watch: Arc<Watch>) -> Self {
        Self { source: Source::Wire(incoming), limit, deadline: None, started: None, watch: Some(watch) }
    }

    /// No bytes.
    pub fn empty() -> Self {
        Self::from(Bytes::new())
    }

    /// The whole body.
    ///
    /// # Errors
    /// 413 `body_too_large` over `max` bytes, 408 `request_timeout`, 400 `bad_request` when it breaks off.
    pub async fn read(self, max: usize) -> Result<Bytes, ApiError> {
        if self.size_hint().lower() > max as u64 {
            return Err(too_large(max));
        }
        match Limited::new(self, max).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => match error.downcast::<BodyError>() {
                Ok(error) => Err(error.as_ref().into()),
                Err(_) => Err(too_large(max)),
            },
        }
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let started = *self.started.get_or_insert_with(Instant::now);
        let limit = self.limit;
        self.deadline.get_or_insert_with(|| Box::pin(sleep_until(started + limit))).as_mut().poll(cx)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.body_left();
        }
    }
}

fn too_large(max: usize) -> ApiError {
    ApiError::new(Code::BodyTooLarge, format!("the body is over {max} bytes"))
}

impl From<&BodyError> for ApiError {
    fn from(error: &BodyError) -> Self {
        let code = match error {
            BodyError::Timeout(_) => Code::RequestTimeout,
            BodyError::Broken(_) => Code::BadRequest,
        };
        Self::new(code, error.to_string())
    }
}

impl<T: Into<Bytes>> From<T> for RequestBody {
    fn from(bytes: T) -> Self {
        let source = Source::Ready(Full::new(bytes.into()));
        Self { source, limit: Duration::MAX, deadline: None, started: None, watch: None }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = match &mut this.source {
            Source::Wire(incoming) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::Broken),
            Source::Ready(full) => Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
        };
        if polled.is_pending() && this.poll_deadline(cx).is_ready() {
            return Poll::Ready(Some(Err(BodyError::Timeout(this.limit))));
        }
        let ended = matches!(polled, Poll::Ready(None)) || (polled.is_ready() && this.is_end_stream());
        if ended && let Some(watch) = this.watch.take() {
            watch.body_done();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Wire(incoming) => incoming.is_end_stream(),
            Source::Ready(full) => full.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Wire(incoming) => incoming.size_hint(),
            Source::Ready(full) => full.size_hint(),
        }
    }
}
