//! The two answers without an envelope, as the legacy gateway gives them.

use http::{Response, StatusCode};

use crate::api::http::body::Body;
use crate::api::http::envelope::json_reply;
use crate::api::openapi::schemas;
use crate::model::time::UnixMs;

/// Names the API.
#[utoipa::path(
    get,
    operation_id = "root",
    tag = "operations",
    path = "/",
    responses((status = 200, description = "What answers", body = schemas::Root))
)]
pub(super) fn root() -> Response<Body> {
    json_reply(StatusCode::OK, &br#"{"message":"Microservice Gateway API","version":"1.0.0"}"#[..])
}

/// Says that the API answers; `/readyz` says whether it is ready.
#[utoipa::path(
    get,
    operation_id = "health",
    tag = "operations",
    path = "/api/v1/health",
    responses((status = 200, description = "It answers", body = schemas::Alive))
)]
pub(super) fn health() -> Response<Body> {
    let seconds = UnixMs::wall().0.div_euclid(1000);
    json_reply(StatusCode::OK, format!("{{\"status\":\"healthy\",\"timestamp\":{seconds}}}"))
}
