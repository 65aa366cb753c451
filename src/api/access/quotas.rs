//! The quotas of every client: writes, reads, the larger quotas of requests that change nothing, heartbeats, and failed attempts.

use std::fmt;
use std::time::Duration;

use http::header::HeaderMap;

use super::RateSnapshot;
use super::class::{Counting, Limit};
use super::headers::RateHeaders;
use super::rate_limiter::{QuotaSpent, RateLimiter};
use crate::api::clients::ClientKey;
use crate::api::http::envelope::ApiError;
use crate::model::time::{Clock, UnixMs};
use crate::telemetry::metrics::Metrics;

/// Clients that have a bucket of their own at once; further ones share one. About 5 MB for each of the eight limits.
pub(super) const MAX_CLIENTS: usize = 65_536;
/// The larger quota, as a multiple of the quota.
const UNCOUNTED: u32 = 20;
/// Heartbeats, as a multiple of the quota of writes: behind one address there may be hundreds of programs.
const HEARTBEATS: u32 = 200;
/// Failed attempts a minute where writes are not limited.
const FAILED: u32 = 60;
/// Bytes of an answer that count as one more read.
const BYTES_OF_A_READ: usize = 32 * 1024;

/// The quota of one limit.
#[derive(Debug)]
struct Quota {
    per_minute: u32,
    counted: RateLimiter,
    uncounted: RateLimiter,
    headers: RateHeaders,
}

impl Quota {
    fn new(limit: Limit, per_minute: u32) -> Self {
        Self {
            per_minute,
            counted: RateLimiter::new(per_minute, MAX_CLIENTS),
            uncounted: RateLimiter::new(per_minute.saturating_mul(UNCOUNTED), MAX_CLIENTS),
            headers: RateHeaders::new(limit.as_str(), per_minute),
        }
    }
}

/// What an answer costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerSize {
    pub(super) bytes: usize,
    pub(super) to_a_write: bool,
    /// Whether its request counts in the larger quota.
    pub(super) uncounted: bool,
}

#[derive(Debug)]
pub(super) struct Quotas {
    writes: Option<Quota>,
    reads: Option<Quota>,
    /// The part of the reads that answers to writes count as. Only these delay further writes.
    answers: Option<Box<RateLimiter>>,
    heartbeats: Option<RateLimiter>,
    failed: RateLimiter,
    metrics: Metrics,
    clock: Clock,
}

impl Quotas {
    /// Writes and reads a minute for each client; none where both are unlimited.
    pub(super) fn new(writes: Option<u32>, reads: Option<u32>, metrics: Metrics, clock: Clock) -> Option<Self> {
        writes.or(reads)?;
        Some(Self {
            writes: writes.map(|quota| Quota::new(Limit::Writes, quota)),
            reads: reads.map(|quota| Quota::new(Limit::Reads, quota)),
            answers: reads.map(|quota| Box::new(RateLimiter::new(quota, MAX_CLIENTS))),
            heartbeats: writes.map(|quota| RateLimiter::new(quota.saturating_mul(HEARTBEATS), MAX_CLIENTS)),
            failed: RateLimiter::new(writes.unwrap_or(FAILED), MAX_CLIENTS),
            metrics,
            clock,
        })
    }

    fn now(&self) -> UnixMs {
        self.clock.steady()
    }

    fn quota(&self, limit: Limit) -> Option<&Quota> {
        match limit {
            Limit::Writes => self.writes.as_ref(),
            Limit::Reads => self.reads.as_ref(),
        }
    }

    /// Takes one request. One that may turn out uncounted takes from the larger quota when this one is spent, a separate one takes from the
    /// larger quota alone. A write also waits while its client owes reads for the answers to earlier ones. None where there is no limit.
    pub(super) fn spend(
        &self,
        client: ClientKey,
        limit: Limit,
        counting: Counting,
    ) -> Result<Option<RateSnapshot>, ApiError> {
        let now = self.now();
        if counting == Counting::Heartbeats {
            return self.spend_heartbeat(client, now).map(|()| None);
        }
        if limit == Limit::Writes
            && counting != Counting::Removals
            && let Some(wait) = self.answers.as_ref().and_then(|answers| answers.overdue(client, now))
        {
            return self.spend_owing(client, counting, wait).map(Some);
        }
        let Some(quota) = self.quota(limit) else { return Ok(None) };
        if matches!(counting, Counting::Separate | Counting::Removals) {
            let taken = quota.uncounted.spend(client, now);
            taken.map_err(|refused| {
                let most = u64::from(quota.per_minute) * u64::from(UNCOUNTED);
                let (what, setting) = (limit.as_str(), limit.setting());
                self.too_often(client, limit, refused).hint(format!(
                    "{} may make {most} {what} of this kind a minute, {UNCOUNTED} times what {setting} sets",
                    Named(client)
                ))
            })?;
            return Ok(Some(RateSnapshot { limit, remaining: quota.counted.left(client, now), spent: None }));
        }
        match quota.counted.spend(client, now) {
            Ok(remaining) => Ok(Some(RateSnapshot { limit, remaining, spent: None })),
            Err(refused) if counting == Counting::UnlessUnchanged && quota.uncounted.spend(client, now).is_ok() => {
                Ok(Some(RateSnapshot { limit, remaining: 0, spent: Some(refused.wait) }))
            }
            Err(refused) => Err(self.too_often(client, limit, refused)),
        }
    }

    /// Takes a write of a client that owes reads for answers. Only a renewal may go on, so that no lease expires for it.
    fn spend_owing(&self, client: ClientKey, counting: Counting, wait: Duration) -> Result<RateSnapshot, ApiError> {
        if counting != Counting::UnlessUnchanged {
            return Err(self.too_often(client, Limit::Reads, QuotaSpent { wait }));
        }
        if let Some(writes) = &self.writes {
            let now = self.now();
            let spent = writes.uncounted.spend(client, now).or_else(|_| writes.counted.spend(client, now));
            spent.map_err(|refused| self.too_often(client, Limit::Writes, refused))?;
        }
        Ok(RateSnapshot { limit: Limit::Reads, remaining: 0, spent: Some(wait) })
    }

    /// Takes a heartbeat, whose answer names no quota: writes are none of its client's business.
    fn spend_heartbeat(&self, client: ClientKey, now: UnixMs) -> Result<(), ApiError> {
        let Some(heartbeats) = &self.heartbeats else { return Ok(()) };
        heartbeats.spend(client, now).map(drop).map_err(|refused| {
            self.metrics.reject("heartbeat_rate_limit");
            let hint = format!(
                "{} may send {HEARTBEATS} heartbeats for each write that PORTOLAN_RATE_LIMIT_PER_MINUTE allows",
                Named(client)
            );
            rate_limited(refused.wait).hint(hint)
        })
    }

    /// Takes one failed attempt to show a token.
    pub(super) fn fail(&self, client: ClientKey) -> Result<(), ApiError> {
        self.failed.spend(client, self.now()).map(drop).map_err(|refused| {
            self.metrics.reject("failed_auth_limit");
            let hint = format!("{} sent too many invalid tokens", Named(client));
            rate_limited(refused.wait).hint(hint)
        })
    }

    /// Moves a request to the larger quota, while that lasts.
    pub(super) fn give_back(&self, client: ClientKey, rate: &mut RateSnapshot) {
        if let Some(quota) = self.quota(rate.limit)
            && rate.spent.is_none()
            && quota.uncounted.spend(client, self.now()).is_ok()
        {
            quota.counted.refund(client);
            rate.remaining += 1;
        }
    }

    /// Takes what an answer's size counts as, always in reads; from their larger quota where the request itself counts there.
    pub(super) fn charge(&self, client: ClientKey, answer: AnswerSize, rate: Option<&mut RateSnapshot>) {
        let more = u32::try_from(answer.bytes / BYTES_OF_A_READ).unwrap_or(u32::MAX);
        let Some(quota) = self.reads.as_ref().filter(|_| more > 0) else { return };
        let now = self.now();
        let limiter = if answer.uncounted { &quota.uncounted } else { &quota.counted };
        limiter.charge(client, now, more);
        if answer.uncounted {
            return;
        }
        if let Some(answers) = self.answers.as_ref().filter(|_| answer.to_a_write) {
            answers.charge(client, now, more);
        }
        if let Some(rate) = rate.filter(|rate| rate.limit == Limit::Reads) {
            rate.remaining = rate.remaining.saturating_sub(more);
        }
    }

    /// The refusal that takes the place of a renewal's answer of `bytes` while its client owes more than a minute of the larger quota of reads.
    pub(super) fn too_much_renewed(&self, client: ClientKey, bytes: usize) -> Option<ApiError> {
        let quota = self.reads.as_ref().filter(|_| bytes >= BYTES_OF_A_READ)?;
        let wait = quota.uncounted.overdue(client, self.now())?;
        self.metrics.reject(Limit::Reads.reason());
        let hint = format!(
            "the lease is renewed, but {} has received the services it renews too often: {} times 32 KiB a minute are allowed, \
             {UNCOUNTED} times what {} sets; a heartbeat renews with a small answer",
            Named(client),
            u64::from(quota.per_minute) * u64::from(UNCOUNTED),
            Limit::Reads.setting()
        );
        Some(rate_limited(wait).hint(hint))
    }

    /// The refusal of a request that turned out to count.
    pub(super) fn refuse(&self, client: ClientKey, limit: Limit, wait: Duration) -> ApiError {
        self.too_often(client, limit, QuotaSpent { wait })
    }

    pub(super) fn write(&self, headers: &mut HeaderMap, rate: RateSnapshot) {
        if let Some(quota) = self.quota(rate.limit) {
            quota.headers.write(headers, rate.remaining);
        }
    }

    fn too_often(&self, client: ClientKey, limit: Limit, refused: QuotaSpent) -> ApiError {
        self.metrics.reject(limit.reason());
        let mut error = rate_limited(refused.wait);
        let Some(quota) = self.quota(limit) else { return error };
        quota.headers.write(error.headers_mut(), 0);
        let size =
            if limit == Limit::Reads { ", each 32 KiB of an answer, also to a write, counting as one" } else { "" };
        // Other writes have a larger quota.
        let what = if limit == Limit::Writes { "registrations and checks" } else { limit.as_str() };
        error.hint(format!(
            "{} may make {} {what} a minute{size}; {} sets the limit",
            Named(client),
            quota.per_minute,
            limit.setting()
        ))
    }
}

fn rate_limited(wait: Duration) -> ApiError {
    let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(60).max(1);
    ApiError::rate_limited().retry_after(seconds)
}

/// A client, for the sentence that refuses it.
struct Named(ClientKey);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ClientKey::Subject(_) => f.write_str("this token's subject"),
            ClientKey::V4(ip) => ip.fmt(f),
            ClientKey::V6(prefix) => {
                let ip = std::net::Ipv6Addr::from(u128::from(prefix) << 64);
                write!(f, "{ip}/64")
            }
        }
    }
}
