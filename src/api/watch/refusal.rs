//! The answer to a watch or a long poll beyond the limit.

use super::limiter::WatchFull;
use crate::api::http::envelope::{ApiError, Code};
use crate::telemetry::metrics::Metrics;

/// Seconds after which the client may try again.
const RETRY_SECONDS: u64 = 5;

/// Counts the refusal, and is its answer: 429 `too_many_watches`.
pub(in crate::api) fn refused(full: WatchFull, metrics: &Metrics) -> ApiError {
    metrics.reject(match full {
        WatchFull::Server => "watch_limit",
        WatchFull::Client => "client_watches",
    });
    ApiError::new(Code::TooManyWatches, full.to_string()).retry_after(RETRY_SECONDS)
}
