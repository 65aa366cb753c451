//! Requests that only the leader can answer, when this replica is not it.

use bytes::Bytes;
use http::{Request, Response};

use super::Body;
use super::call::Call;
use super::envelope::{ApiError, Code};
use crate::model::ports::PassOnError;

/// Seconds until another replica may lead.
const ELECTION: u64 = 5;

/// The leader's answer to a request without a body; none where there are no other replicas.
pub(super) async fn to_leader(call: &Call<'_>) -> Option<Result<Response<Body>, ApiError>> {
    let line = call.api.pass_on.as_ref()?;
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = call.head.method.clone();
    *request.uri_mut() = call.head.uri.clone();
    *request.headers_mut() = call.head.headers.clone();
    let answer = line.pass_on(request).await;
    Some(answer.map(|answer| answer.map(Body::from)).map_err(refused))
}

fn refused(error: PassOnError) -> ApiError {
    let (code, wait) = match error {
        PassOnError::NoLeader => (Code::Unavailable, ELECTION),
        PassOnError::SecondHop => (Code::Unavailable, 1),
        PassOnError::Busy => (Code::Busy, 1),
    };
    ApiError::new(code, error.to_string()).retry_after(wait)
}
