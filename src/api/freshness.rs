//! The age of what readers get: in cluster mode the mirror can be cut off from the Kubernetes API.

use std::time::Duration;

use http::Response;
use http::header::{HeaderName, HeaderValue};

use super::access::RouteClass;
use super::http::body::Body;
use crate::model::ports::{Freshness, PROBED_ELSEWHERE};

/// Whole seconds since the mirror was last known to be current; absent while it is.
const STALE_SECONDS: HeaderName = HeaderName::from_static("portolan-stale-seconds");

/// Adds to a read's answer how stale it may be, where it is, and whether another replica probes. Without a `source` nothing is mirrored.
pub(super) fn mark(source: Option<&dyn Freshness>, class: RouteClass, response: &mut Response<Body>) {
    let read = matches!(class, RouteClass::OpenRead | RouteClass::TokenRead | RouteClass::ServiceRead);
    let Some(source) = source.filter(|_| read) else { return };
    if let Some(age) = source.stale_for() {
        response.headers_mut().insert(STALE_SECONDS, seconds(age).into());
    }
    if !source.probes_here() {
        response.headers_mut().insert(PROBED_ELSEWHERE, HeaderValue::from_static("true"));
    }
}

/// Never 0: that would read as current.
fn seconds(age: Duration) -> u64 {
    age.as_secs().max(1)
}
