//! Requests that only the leader can answer, since it alone probes.

use bytes::Bytes;
use http::{Request, Response};

use super::Answer;
use super::request::RequestContext;
use crate::api::http::body::Body;
use crate::api::http::envelope::{ApiError, Code};
use crate::model::ports::{OnDemandError, PassOnError};

/// Seconds until another replica may lead.
const ELECTION: u64 = 5;

/// The answer when this replica's prober cannot give one: the leader's, where it runs elsewhere, or a refusal. The forwarded request has
/// no body.
pub(super) async fn forward_or_refuse(request: &RequestContext<'_>, error: &OnDemandError) -> Answer {
    let leader = request.state.pass_on.as_ref().filter(|_| *error == OnDemandError::Unavailable);
    let Some(leader) = leader else { return Err(prober_refusal(error)) };
    let mut forwarded = Request::new(Bytes::new());
    *forwarded.method_mut() = request.head.method.clone();
    *forwarded.uri_mut() = request.head.uri.clone();
    *forwarded.headers_mut() = request.head.headers.clone();
    let answer = leader.pass_on(forwarded).await;
    answer.map(|answer: Response<Bytes>| answer.map(Body::from)).map_err(forward_refusal)
}

fn prober_refusal(error: &OnDemandError) -> ApiError {
    match error {
        OnDemandError::NotFound => ApiError::service_not_found(),
        OnDemandError::OverBudget { retry_after_seconds } => {
            ApiError::new(Code::ProbeBudget, error.to_string()).retry_after(*retry_after_seconds)
        }
        OnDemandError::Unavailable => ApiError::new(Code::Unavailable, error.to_string()).retry_after(1),
    }
}

fn forward_refusal(error: PassOnError) -> ApiError {
    let (code, wait) = match error {
        PassOnError::NoLeader => (Code::Unavailable, ELECTION),
        PassOnError::SecondHop => (Code::Unavailable, 1),
        PassOnError::Busy => (Code::Busy, 1),
    };
    ApiError::new(code, error.to_string()).retry_after(wait)
}
