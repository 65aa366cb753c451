//! A request's body, which must arrive in time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Activity;
use crate::api::http::envelope::{ApiError, Code};
use crate::api::http::json::SMALL_BODY;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It did not arrive in time.
    #[error("the request's body did not arrive within {} s", .0.as_secs_f32())]
    Timeout(Duration),
    /// The connection broke, or the framing is wrong.
    #[error("the request's body broke off")]
    Broken(#[from] hyper::Error),
}

/// A request's body. Most requests have none, so the state of a timed one is boxed.
#[derive(Debug)]
pub struct RequestBody(Source);

#[derive(Debug)]
enum Source {
    Ready(Full<Bytes>),
    Wire(Box<Wire>),
}

/// A body that is arriving. Its timer exists only while a part of it is late.
#[derive(Debug)]
struct Wire {
    incoming: Incoming,
    limit: Duration,
    started: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    /// Records how the body ends; none once it has.
    activity: Option<Arc<Activity>>,
}

impl RequestBody {
    /// A body from a connection, which must be complete `limit` from now.
    pub(super) fn wire(incoming: Incoming, limit: Duration, activity: Arc<Activity>) -> Self {
        let wire = Wire { incoming, limit, started: Instant::now(), timer: None, activity: Some(activity) };
        Self(Source::Wire(Box::new(wire)))
    }

    /// No bytes.
    pub fn empty() -> Self {
        Self(Source::Ready(Full::default()))
    }

    /// Most memory that it takes once up to `max` bytes of it are read, in bytes; none where that is little.
    pub(in crate::api) fn weight(&self, max: usize) -> Option<usize> {
        if self.is_end_stream() {
            return None;
        }
        let announced = self.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
        let most = announced.map_or(max, |bytes| bytes.min(max));
        (most > SMALL_BODY).then_some(most)
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
}

impl Wire {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx).map_err(BodyError::Broken);
        if let Some(activity) = &self.activity {
            activity.awaits_body(polled.is_pending());
        }
        match &polled {
            Poll::Pending => {
                let (started, limit) = (self.started, self.limit);
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(started + limit)));
                return timer.as_mut().poll(cx).map(|()| Some(Err(BodyError::Timeout(limit))));
            }
            Poll::Ready(Some(Ok(_))) if !self.incoming.is_end_stream() => {}
            Poll::Ready(Some(Err(_))) => {}
            Poll::Ready(_) => {
                if let Some(activity) = self.activity.take() {
                    activity.body_done();
                }
            }
        }
        polled
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(activity) = &self.activity {
            activity.awaits_body(false);
            activity.body_left();
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
        Self(Source::Ready(Full::new(bytes.into())))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().0 {
            Source::Ready(full) => Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Source::Wire(wire) => wire.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Ready(full) => full.is_end_stream(),
            Source::Wire(wire) => wire.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Ready(full) => full.size_hint(),
            Source::Wire(wire) => wire.incoming.size_hint(),
        }
    }
}
