//! What is answered before there is anything to read: the process is alive, and not ready.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};

use super::Body;
use super::conn::{Handler, RequestBody};
use super::envelope::{ApiError, Code};
use super::operations;
use super::operations::{Part, PartState};
use super::router::Route;

/// Seconds after which a client may ask again.
const RETRY: u64 = 2;

/// Answers every request with why there is nothing yet; cloning shares it.
#[derive(Clone)]
pub struct WaitingRoom(Arc<ArcSwap<String>>);

impl WaitingRoom {
    /// For the reason `why`.
    pub fn new(why: &str) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(why.to_owned())))
    }

    /// There is another reason now. Says whether it is another.
    pub fn because(&self, why: String) -> bool {
        let before = self.0.swap(Arc::new(why));
        *before != *self.0.load_full()
    }
}

impl Handler for WaitingRoom {
    async fn call(&self, request: Request<RequestBody>, _peer: SocketAddr) -> Response<Body> {
        let why = self.0.load_full();
        let mut answer = match Route::of(request.uri().path()) {
            Some(Route::Healthz) => operations::healthz(),
            Some(Route::Readyz) => {
                operations::told(&[Part { name: "kubernetes", state: PartState::NotReady(why.to_string()) }], true)
            }
            _ => {
                ApiError::new(Code::Unavailable, format!("nothing is known yet: {why}")).retry_after(RETRY).into_reply()
            }
        };
        // The next request is for who comes after.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        answer
    }
}
