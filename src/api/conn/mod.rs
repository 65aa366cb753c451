//! How connections are held: bounded in number, in time and in what a head may hold.

mod body;

use std::net::SocketAddr;

use http::{Request, Response};

pub use body::{BodyError, RequestBody};

use super::Body;

/// What answers the requests of every connection. Cloned once a connection, so a clone should be cheap.
pub trait Handler: Clone + Send + Sync + 'static {
    /// Answers one request of `peer`. It runs inside the connection's own task; a client that goes away drops the future.
    fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> impl Future<Output = Response<Body>> + Send;
}
