//! The quotas of every client: what counts, what does not, and failed attempts.

use std::time::Duration;

use http::header::HeaderMap;

use super::RateSnapshot;
use super::headers::RateHeaders;
use super::limit::{Limiter, Refused};
use super::principal::ClientKey;
use crate::api::envelope::ApiError;
use crate::model::time::{Clock, UnixMs};
use crate::telemetry::metrics::Metrics;

/// Clients that have a bucket of their own at once; further ones share one. About 5 MB for each of the three limits.
const MAX_CLIENTS: usize = 65_536;
/// What is not counted is bounded by this many times the quota.
const UNCOUNTED: u32 = 20;

#[derive(Debug)]
pub(super) struct Rates {
    counted: Limiter,
    uncounted: Limiter,
    failed: Limiter,
    headers: RateHeaders,
    metrics: Metrics,
    clock: Clock,
}

impl Rates {
    /// `quota` requests a minute for each client.
    pub(super) fn new(quota: u32, metrics: Metrics, clock: Clock) -> Self {
        Self {
            counted: Limiter::new(quota, MAX_CLIENTS),
            uncounted: Limiter::new(quota.saturating_mul(UNCOUNTED), MAX_CLIENTS),
            failed: Limiter::new(quota, MAX_CLIENTS),
            headers: RateHeaders::new(quota),
            metrics,
            clock,
        }
    }

    fn now(&self) -> UnixMs {
        self.clock.steady()
    }

    /// Takes one request; one that `may_be_free` from the larger quota when this one is spent.
    pub(super) fn spend(&self, client: ClientKey, may_be_free: bool) -> Result<RateSnapshot, ApiError> {
        let now = self.now();
        match self.counted.spend(client, now) {
            Ok(remaining) => Ok(RateSnapshot { remaining, spent: None }),
            Err(refused) if may_be_free && self.uncounted.spend(client, now).is_ok() => {
                Ok(RateSnapshot { remaining: 0, spent: Some(refused.wait) })
            }
            Err(refused) => Err(self.too_often(refused, "rate_limit")),
        }
    }

    /// Takes one failed attempt to show a token.
    pub(super) fn fail(&self, client: ClientKey) -> Result<(), ApiError> {
        match self.failed.spend(client, self.now()) {
            Ok(_) => Ok(()),
            Err(refused) => Err(self.too_often(refused, "failed_auth_limit")),
        }
    }

    /// Gives a request back and takes it from the larger quota instead, while that lasts.
    pub(super) fn give_back(&self, client: ClientKey, rate: &mut RateSnapshot) {
        if rate.spent.is_none() && self.uncounted.spend(client, self.now()).is_ok() {
            self.counted.refund(client);
            rate.remaining += 1;
        }
    }

    /// The refusal of a request that was to be free and is not.
    pub(super) fn refuse(&self, wait: Duration) -> ApiError {
        self.too_often(Refused { wait }, "rate_limit")
    }

    pub(super) fn write(&self, headers: &mut HeaderMap, rate: RateSnapshot) {
        self.headers.write(headers, rate.remaining);
    }

    fn too_often(&self, refused: Refused, reason: &'static str) -> ApiError {
        self.metrics.reject(reason);
        let seconds = u64::try_from(refused.wait.as_millis().div_ceil(1000)).unwrap_or(60).max(1);
        let mut error = ApiError::rate_limited().retry_after(seconds);
        self.headers.write(error.headers_mut(), 0);
        error
    }
}
