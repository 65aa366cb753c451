//! The two answers without an envelope, as the legacy gateway gives them.

use http::Response;

use crate::api::http::body::Body;
use crate::api::http::envelope::ok;
use crate::model::time::UnixMs;
use crate::wire::{Alive, Root};

/// Names the API.
#[utoipa::path(
    get,
    operation_id = "root",
    tag = "operations",
    path = "/",
    responses((status = 200, description = "What answers", body = Root))
)]
pub(super) fn root() -> Response<Body> {
    ok(&Root { message: "Microservice Gateway API".into(), version: "1.0.0".into() })
}

/// Says that the API answers; `/readyz` says whether it is ready.
#[utoipa::path(
    get,
    operation_id = "health",
    tag = "operations",
    path = "/api/v1/health",
    responses((status = 200, description = "It answers", body = Alive))
)]
pub(super) fn health() -> Response<Body> {
    ok(&Alive { status: "healthy".into(), timestamp: UnixMs::wall().0.div_euclid(1000) })
}
