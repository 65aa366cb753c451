//! `/healthz`, `/readyz` and `/metrics`, for operators: plain text, no rate limit.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, VARY};
use http::{Response, StatusCode};

use super::Answer;
use super::request::RequestContext;
use crate::api::http::body::Body;
use crate::api::http::envelope::{ApiError, Code};
use crate::api::state::{Part, PartState};
use crate::catalog::Catalog;
use crate::model::text;
use crate::telemetry::metrics::services::{self, ServiceInstances};
use crate::telemetry::metrics::{Metrics, text_format};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// [OpenMetrics 1.0](https://prometheus.io/docs/specs/om/open_metrics_spec/#content-type).
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// [Text format 0.0.4](https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format).
const TEXT_METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The last line of the text.
const END: &str = "# EOF\n";

/// Longest text about a component, in characters.
const MAX_TEXT: usize = 400;

/// Says that the process answers.
#[utoipa::path(
    get,
    operation_id = "healthz",
    tag = "operations",
    path = "/healthz",
    responses((status = 200, description = "The process answers", body = String, content_type = "text/plain"))
)]
pub(in crate::api) fn healthz() -> Response<Body> {
    plain(StatusCode::OK, TEXT, "ok\n")
}

/// Says whether every component is ready, and why each of the others is not.
#[utoipa::path(
    get,
    operation_id = "readyz",
    tag = "operations",
    path = "/readyz",
    params(("verbose" = Option<serde_json::Value>, Query, description = "A line for each component; with any value")),
    responses(
        (status = 200, description = "Every component is ready", body = String, content_type = "text/plain"),
        (status = 503, description = "A component is not ready; the answer says which and why", body = String, content_type = "text/plain"),
    )
)]
pub(super) fn readyz(request: &RequestContext<'_>) -> Response<Body> {
    let parts = request.state.readiness.parts();
    let query = request.head.uri.query().unwrap_or_default();
    readiness(&parts, query.split('&').any(|part| part.split('=').next() == Some("verbose")))
}

/// A line for each component, or for those that are not ready.
pub(in crate::api) fn readiness(parts: &[Part], verbose: bool) -> Response<Body> {
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

/// Shows every metric as OpenMetrics, or in Prometheus's text format 0.0.4 when `Accept` prefers `text/plain`.
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
pub(super) async fn metrics(request: &RequestContext<'_>) -> Answer {
    let turn = request.renderings.turn(request.principal.client).await?;
    let metrics = request.state.metrics.clone();
    let catalog = request.state.settings.service_metrics.then(|| Arc::clone(&request.state.catalog));
    let as_text = prefers_text(&request.head.headers);
    // Thousands of series take milliseconds, which other requests of this thread should not wait for.
    let rendered = turn.run(move || render(&metrics, catalog.as_deref(), as_text)).await;
    let rendered = rendered.map_err(|error| error.to_string());
    let rendered = rendered.and_then(|rendered| rendered.map_err(|error| error.to_string()));
    let body = rendered.map_err(|error| {
        tracing::error!(error, "the metrics could not be written");
        ApiError::new(Code::Internal, "the metrics could not be written; the server's log says why")
    })?;
    let kind = if as_text { TEXT_METRICS } else { OPEN_METRICS };
    let mut response = plain(StatusCode::OK, kind, body);
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// The text, with the series of each service where a catalog is given.
fn render(metrics: &Metrics, catalog: Option<&Catalog>, as_text: bool) -> Result<Body, std::fmt::Error> {
    let open = metrics.render()?;
    let rendered = if as_text { text_format::from_open_metrics(&open) } else { open };
    Ok(match catalog {
        Some(catalog) => with_services(metrics, catalog, &rendered, as_text),
        None => rendered.into(),
    })
}

/// The text with the series of each service, which are rendered while they are sent.
fn with_services(metrics: &Metrics, catalog: &Catalog, rendered: &str, as_text: bool) -> Body {
    // Before the last line, which marks the text as complete.
    let (before, end) = rendered.split_at(rendered.len() - if rendered.ends_with(END) { END.len() } else { 0 });
    let pin = catalog.pin();
    let snapshot = catalog.snapshot();
    // Few services show certificates, and each has one series.
    let certificates = Bytes::from(services::certificates(&metrics.certificates, &snapshot));
    let series = ServiceInstances::of(snapshot, as_text);
    let len = rendered.len() + certificates.len() + series.len();
    let (before, end) = (Bytes::copy_from_slice(before.as_bytes()), Bytes::copy_from_slice(end.as_bytes()));
    let maker_bytes = before.len() + certificates.len();
    let pieces = std::iter::once(before).chain((!certificates.is_empty()).then_some(certificates)).chain(series);
    Body::made(len, maker_bytes, pieces.chain(std::iter::once(end)), pin)
}

/// Whether `Accept` ([RFC 9110 §12.5.1](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1)) ranks `text/plain` above OpenMetrics.
fn prefers_text(headers: &HeaderMap) -> bool {
    let fields: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok()).collect();
    let ranges = || fields.iter().flat_map(|field| field.split(','));
    let best = |kind: &str| ranges().filter_map(|range| quality(range, kind)).max_by(f32::total_cmp);
    let weight =
        |family: &str, exact: &str| best(exact).or_else(|| best(family)).or_else(|| best("*/*")).unwrap_or(0.0);
    weight("text/*", "text/plain") > weight("application/*", "application/openmetrics-text")
}

/// The weight of a range such as `text/plain;version=0.0.4;q=0.5`, when it is the one for `kind`.
fn quality(range: &str, kind: &str) -> Option<f32> {
    let mut parts = range.split(';').map(str::trim);
    parts.next().filter(|range| range.eq_ignore_ascii_case(kind))?;
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some(weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
}

fn plain(status: StatusCode, kind: HeaderValue, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
