//! Answers before there is a catalog: the process is alive, but not ready.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};

use super::conn::{Handler, RequestBody};
use super::http::body::Body;
use super::http::envelope::{ApiError, Code};
use super::routes::{self, RouteId, operations};
use super::state::{Part, PartState};

/// Seconds after which a client may retry.
const RETRY: u64 = 2;

/// Answers every request with the reason why nothing is known yet. Cloning shares it.
#[derive(Clone)]
pub struct WaitingRoom(Arc<ArcSwap<String>>);

impl WaitingRoom {
    /// For the reason `why`.
    pub fn new(why: &str) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(why.to_owned())))
    }

    /// Sets the reason; returns whether it differs from the one before.
    pub fn set_reason(&self, why: String) -> bool {
        let before = self.0.swap(Arc::new(why));
        *before != *self.0.load_full()
    }
}

impl Handler for WaitingRoom {
    async fn call(&self, request: Request<RequestBody>, _peer: SocketAddr) -> Response<Body> {
        let why = self.0.load_full();
        let pattern = routes::find(request.method(), request.uri().path()).pattern;
        let is = |id: RouteId| pattern == Some(id.route().path);
        let mut answer = if is(RouteId::Healthz) {
            operations::healthz()
        } else if is(RouteId::Readyz) {
            let part = Part { name: "kubernetes", state: PartState::NotReady(why.to_string()) };
            operations::readiness(&[part], true)
        } else {
            ApiError::new(Code::Unavailable, format!("the server is still starting: {why}"))
                .retry_after(RETRY)
                .into_reply()
        };
        // Closed, so that the next request reaches the real server.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        answer
    }
}
