//! `/healthz`, `/readyz` and `/metrics`: for those who run Portolan; plain text, no rate limit.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use super::Body;
use super::call::Call;
use super::envelope::{ApiError, Code};
use super::freshness;
use crate::model::text;
use crate::telemetry::service_metrics::ServiceInstances;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// [OpenMetrics 1.0](https://prometheus.io/docs/specs/om/open_metrics_spec/#content-type).
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// The last line of the text.
const END: &str = "# EOF\n";

/// Longest account of a part, in characters.
const MAX_TEXT: usize = 400;

/// One part of Portolan that must work before it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name: `store`, `prober`, …
    pub name: &'static str,
    /// How it is.
    pub state: PartState,
}

/// How a part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartState {
    /// It works; in a few words, how.
    Ready(String),
    /// It does not, and why.
    NotReady(String),
}

impl Part {
    fn is_ready(&self) -> bool {
        matches!(self.state, PartState::Ready(_))
    }
}

/// What knows whether Portolan is ready.
pub trait Readiness: Send + Sync + 'static {
    /// Every part, ready or not.
    fn parts(&self) -> Vec<Part>;
}

/// Says that the process answers.
#[utoipa::path(
    get,
    operation_id = "healthz",
    tag = "operations",
    path = "/healthz",
    responses((status = 200, description = "The process answers", body = String, content_type = "text/plain"))
)]
pub(super) fn healthz() -> Response<Body> {
    plain(StatusCode::OK, TEXT, "ok\n")
}

/// Says whether every part is ready, and of each that is not, why.
#[utoipa::path(
    get,
    operation_id = "readyz",
    tag = "operations",
    path = "/readyz",
    params(("verbose" = Option<bool>, Query, description = "A line for each part")),
    responses(
        (status = 200, description = "Every part is ready", body = String, content_type = "text/plain"),
        (status = 503, description = "A part is not ready; the answer says which and why", body = String, content_type = "text/plain"),
    )
)]
pub(super) fn readyz(call: &Call<'_>) -> Response<Body> {
    let mut parts = call.api.readiness.parts();
    parts.extend(freshness::part(&call.api.freshness));
    let asked = call.head.uri.query().unwrap_or_default();
    told(&parts, asked.split('&').any(|part| part.split('=').next() == Some("verbose")))
}

/// A line for each part, or for those that are not ready.
pub(super) fn told(parts: &[Part], verbose: bool) -> Response<Body> {
    let ready = parts.iter().all(Part::is_ready);
    let mut out = String::new();
    for part in parts.iter().filter(|part| verbose || !part.is_ready()) {
        let (sign, how) = match &part.state {
            PartState::Ready(how) => ('+', how),
            PartState::NotReady(why) => ('-', why),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "[{sign}] {}: {}", part.name, text::escape(how, MAX_TEXT));
    }
    out.push_str(if ready { "ready\n" } else { "not ready\n" });
    plain(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, TEXT, out)
}

/// Gives every metric as OpenMetrics text.
#[utoipa::path(
    get,
    operation_id = "metrics",
    tag = "operations",
    path = "/metrics",
    security((), ("token" = [])),
    responses((status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text"))
)]
pub(super) async fn metrics(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let metrics = call.api.metrics.clone();
    // Thousands of series take milliseconds, which other requests of this thread should not wait for.
    let rendered = tokio::task::spawn_blocking(move || metrics.render()).await.map_err(|error| error.to_string());
    let rendered = rendered.and_then(|rendered| rendered.map_err(|error| error.to_string()));
    let rendered = rendered.map_err(|error| {
        tracing::error!(error, "the metrics could not be written");
        ApiError::new(Code::Internal, "the metrics could not be written; the server's log says why")
    })?;
    if !call.api.settings.service_metrics {
        return Ok(plain(StatusCode::OK, OPEN_METRICS, rendered));
    }
    // Before the end, which says that all of it came.
    let (before, end) = rendered.split_at(rendered.len() - if rendered.ends_with(END) { END.len() } else { 0 });
    let pin = call.api.catalog.pin();
    let series = ServiceInstances::of(call.api.catalog.snapshot());
    let len = rendered.len() + series.len();
    let (before, end) = (Bytes::copy_from_slice(before.as_bytes()), Bytes::copy_from_slice(end.as_bytes()));
    let kept = before.len();
    let body = Body::made(len, kept, std::iter::once(before).chain(series).chain(std::iter::once(end)), pin);
    Ok(plain(StatusCode::OK, OPEN_METRICS, body))
}

fn plain(status: StatusCode, kind: HeaderValue, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
