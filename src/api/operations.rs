//! `/healthz`, `/readyz` and `/metrics`: for those who run Portolan; plain text, no rate limit.

use std::fmt::Write;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, VARY};
use http::{Response, StatusCode};

use super::Body;
use super::call::Call;
use super::envelope::{ApiError, Code};
use super::freshness;
use crate::model::text;
use crate::telemetry::metrics::services::ServiceInstances;
use crate::telemetry::metrics::text_format;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// [OpenMetrics 1.0](https://prometheus.io/docs/specs/om/open_metrics_spec/#content-type).
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// [Text format 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).
const TEXT_METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

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

/// Gives every metric as OpenMetrics, or in Prometheus's text format 0.0.4 when `Accept` prefers `text/plain`.
#[utoipa::path(
    get,
    operation_id = "metrics",
    tag = "operations",
    path = "/metrics",
    security((), ("token" = [])),
    responses((status = 200, description = "All metrics", content(
        (String = "application/openmetrics-text"),
        (String = "text/plain"),
    )))
)]
pub(super) async fn metrics(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    let metrics = call.api.metrics.clone();
    let as_text = prefers_text(&call.head.headers);
    // Thousands of series take milliseconds, which other requests of this thread should not wait for.
    let render = move || {
        let open = metrics.render()?;
        Ok::<_, std::fmt::Error>(if as_text { text_format::from_open_metrics(&open) } else { open })
    };
    let rendered = tokio::task::spawn_blocking(render).await.map_err(|error| error.to_string());
    let rendered = rendered.and_then(|rendered| rendered.map_err(|error| error.to_string()));
    let rendered = rendered.map_err(|error| {
        tracing::error!(error, "the metrics could not be written");
        ApiError::new(Code::Internal, "the metrics could not be written; the server's log says why")
    })?;
    let kind = if as_text { TEXT_METRICS } else { OPEN_METRICS };
    let body = if call.api.settings.service_metrics { with_services(call, &rendered) } else { rendered.into() };
    let mut response = plain(StatusCode::OK, kind, body);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// The text with the series of each service, which are made while they are sent.
fn with_services(call: &Call<'_>, rendered: &str) -> Body {
    // Before the end, which says that all of it came.
    let (before, end) = rendered.split_at(rendered.len() - if rendered.ends_with(END) { END.len() } else { 0 });
    let pin = call.api.catalog.pin();
    let series = ServiceInstances::of(call.api.catalog.snapshot());
    let len = rendered.len() + series.len();
    let (before, end) = (Bytes::copy_from_slice(before.as_bytes()), Bytes::copy_from_slice(end.as_bytes()));
    let kept = before.len();
    Body::made(len, kept, std::iter::once(before).chain(series).chain(std::iter::once(end)), pin)
}

/// Whether `Accept` ([RFC 9110 §12.5.1](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1)) ranks `text/plain` above OpenMetrics.
fn prefers_text(headers: &HeaderMap) -> bool {
    let fields: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok()).collect();
    let ranges = || fields.iter().flat_map(|field| field.split(','));
    let best = |wanted: &str| ranges().filter_map(|range| quality(range, wanted)).max_by(f32::total_cmp);
    let weight =
        |family: &str, exact: &str| best(exact).or_else(|| best(family)).or_else(|| best("*/*")).unwrap_or(0.0);
    weight("text/*", "text/plain") > weight("application/*", "application/openmetrics-text")
}

/// The weight of a range such as `text/plain;version=0.0.4;q=0.5`, when it is the `wanted` one.
fn quality(range: &str, wanted: &str) -> Option<f32> {
    let mut parts = range.split(';').map(str::trim);
    parts.next().filter(|kind| kind.eq_ignore_ascii_case(wanted))?;
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some(weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
}

fn plain(status: StatusCode, kind: HeaderValue, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
