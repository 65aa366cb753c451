//! What readers are told of the age of what they read: in cluster mode the mirror can be cut off from the Kubernetes API.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::header::{HeaderName, HeaderValue};

use super::Body;
use super::access::RouteClass;
use crate::model::ports::{Freshness, PROBED_ELSEWHERE};

/// WholeNumber seconds since the mirror was last known to be current; absent while it is.
const STALE_SECONDS: HeaderName = HeaderName::from_static("portolan-stale-seconds");

/// None where nothing is mirrored: what is read is then what there is.
pub(super) type Source = Option<Arc<dyn Freshness>>;

/// Says on a read's answer how old it may be, when that is more than a moment, and whether another replica probes.
pub(super) fn mark(source: &Source, class: RouteClass, response: &mut Response<Body>) {
    let read = matches!(class, RouteClass::OpenRead | RouteClass::TokenRead | RouteClass::ServiceRead);
    let Some(source) = source.as_ref().filter(|_| read) else { return };
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
