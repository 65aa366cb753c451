//! The headers that access adds to an answer, made once.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, VARY,
};

use crate::model::text::Short;

/// Requests left: [draft-ietf-httpapi-ratelimit-headers-10](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/),
/// `"<limit>";r=<requests left>;t=<seconds to a full quota>`.
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// The quota, of the same draft: `"<limit>";q=<requests>;w=<seconds>`.
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// For quotas up to this size, all header values are rendered in advance.
const MAX_RENDERED: u32 = 8192;

/// Which pages may read an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// The request has no `Origin`.
    Absent,
    /// Every page, as in the legacy gateway.
    Any,
    /// Only the sending page.
    One(HeaderValue),
    /// The sending page may not read it.
    Refused,
}

impl Cors {
    /// Adds the headers, with `Vary` where they depend on the page.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        match self {
            Self::Absent => {}
            Self::Any => allow(headers, HeaderValue::from_static("*")),
            Self::One(origin) => {
                allow(headers, origin.clone());
                headers.append(VARY, ORIGIN.into());
            }
            Self::Refused => {
                headers.append(VARY, ORIGIN.into());
            }
        }
    }
}

/// The legacy gateway's CORS headers.
fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type, Authorization"));
}

/// The values of both rate limit headers. The time until a quota is full follows from what is left, so one number gives the value.
#[derive(Debug)]
pub(super) struct RateHeaders {
    limit: &'static str,
    quota: u32,
    policy: HeaderValue,
    rendered: Vec<HeaderValue>,
}

impl RateHeaders {
    pub(super) fn new(limit: &'static str, quota: u32) -> Self {
        let policy = value(format!("\"{limit}\";q={quota};w=60").as_bytes());
        let rendered = if quota <= MAX_RENDERED {
            (0..=quota).map(|left| left_of(limit, quota, left)).collect()
        } else {
            Vec::new()
        };
        Self { limit, quota, policy, rendered }
    }

    pub(super) fn write(&self, headers: &mut HeaderMap, left: u32) {
        let rendered = usize::try_from(left).ok().and_then(|left| self.rendered.get(left)).cloned();
        headers.insert(RATE_LIMIT, rendered.unwrap_or_else(|| left_of(self.limit, self.quota, left)));
        headers.insert(RATE_LIMIT_POLICY, self.policy.clone());
    }
}

fn left_of(limit: &str, quota: u32, left: u32) -> HeaderValue {
    let spent = u64::from(quota.saturating_sub(left));
    let seconds = (spent * 60).div_ceil(u64::from(quota.max(1)));
    let (mut left_digits, mut seconds_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
    let parts = ["\"", limit, "\";r=", left_digits.format(left), ";t=", seconds_digits.format(seconds)];
    value(Short::<48>::of(parts).as_bytes())
}

/// Digits and ASCII punctuation are always a header value.
fn value(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from_static("\"default\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_quotas_say_the_same() {
        for quota in [60, 1_000_000] {
            let rates = RateHeaders::new("reads", quota);
            let mut headers = HeaderMap::new();
            rates.write(&mut headers, quota / 2);
            assert_eq!(headers["ratelimit"], format!("\"reads\";r={};t=30", quota / 2));
            assert_eq!(headers["ratelimit-policy"], format!("\"reads\";q={quota};w=60"));
        }
    }
}
