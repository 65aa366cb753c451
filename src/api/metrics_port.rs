//! `/metrics` on a port of its own, where it needs no token: for a scraper, while `PORTOLAN_READ_AUTH` protects the API's own.

use std::net::{IpAddr, SocketAddr};

use http::{Request, Response};

use super::conn::{Handler, RequestBody};
use super::dispatch::Api;
use super::http::body::Body;
use super::http::envelope::{ApiError, Code};
use super::routes::{self, RouteId};

/// Answers `GET /metrics`, and nothing else. Cloning shares it.
#[derive(Clone)]
pub struct MetricsPort {
    api: Api,
    on_loopback: bool,
}

impl MetricsPort {
    /// The metrics of `api`, on a port at `address`.
    pub fn new(api: Api, address: IpAddr) -> Self {
        Self { api, on_loopback: address.to_canonical().is_loopback() }
    }
}

impl Handler for MetricsPort {
    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response<Body> {
        let matched = routes::find(request.method(), request.uri().path());
        if matched.is(RouteId::Metrics) {
            return self.api.metrics_for_all(request, peer, self.on_loopback).await;
        }
        ApiError::new(Code::UnknownRoute, "this port serves GET /metrics alone").into_reply()
    }
}
