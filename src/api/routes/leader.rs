//! Requests that only the leader can answer, since it alone probes and writes status.

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use uuid::Uuid;

use super::Answer;
use super::request::RequestContext;
use crate::api::http::body::Body;
use crate::api::http::envelope::{ApiError, Code};
use crate::model::name::InstanceName;
use crate::model::owner::CERTIFICATE_ISSUER;
use crate::model::ports::{
    Beat, BeatPassed, CERTIFICATE_SUBJECT, NOT_LEADING, OnDemandError, PASSED_ON, PassOnError, PassedBeat,
};
use crate::model::service::Owner;
use crate::wire::Refusal;

/// Seconds until another replica may lead.
const ELECTION: u64 = 5;

/// The answer when this replica's prober cannot give one: the leader's, where it runs elsewhere, or a refusal. The forwarded request has
/// no body.
pub(super) async fn forward_or_refuse(request: &RequestContext<'_>, error: &OnDemandError) -> Answer {
    match error {
        OnDemandError::Unavailable if request.state.pass_on.is_some() => forward(request, Bytes::new()).await,
        error => Err(prober_refusal(error)),
    }
}

/// The leader's answer to a request with that body.
pub(super) async fn forward(request: &RequestContext<'_>, body: Bytes) -> Answer {
    let Some(leader) = &request.state.pass_on else { return Err(forward_refusal(PassOnError::NoLeader)) };
    let answer = leader.pass_on(as_it_came(request, body)).await;
    answer.map(as_ours).map_err(forward_refusal)
}

/// The leader's answer to a heartbeat, where the prober runs elsewhere; none if it is kept until somebody leads.
///
/// # Errors
/// Why it is neither; 503 where there are no other replicas.
pub(super) async fn pass_beat(
    request: &RequestContext<'_>,
    service: Uuid,
    instance: InstanceName,
    beat: Beat,
    body: Bytes,
) -> Result<Option<Response<Body>>, ApiError> {
    let Some(leader) = &request.state.pass_on else { return Err(prober_refusal(&OnDemandError::Unavailable)) };
    let passed = PassedBeat { service, instance, beat: Some(beat), request: as_it_came(request, body) };
    match leader.heartbeat(passed).await.map_err(forward_refusal)? {
        BeatPassed::Answered(answer) => Ok(Some(as_ours(answer))),
        BeatPassed::Kept => Ok(None),
    }
}

/// Lets the leader renew a lease, for a register call that only repeats what is registered.
///
/// # Errors
/// 503 for a call that was passed on already: the replica that sent it keeps it for the one that leads.
pub(super) fn pass_renewal(
    request: &RequestContext<'_>,
    service: Uuid,
    instance: InstanceName,
    body: Bytes,
) -> Result<(), ApiError> {
    let Some(leader) = &request.state.pass_on else { return Ok(()) };
    if request.head.headers.contains_key(&PASSED_ON) {
        return Err(forward_refusal(PassOnError::SecondHop));
    }
    leader.renewal(PassedBeat { service, instance, beat: None, request: as_it_came(request, body) });
    Ok(())
}

/// The leader's answer, with the code of its refusal in the extensions as in a refusal of ours.
fn as_ours(answer: Response<Bytes>) -> Response<Body> {
    let read = || serde_json::from_slice::<Refusal>(answer.body()).ok();
    let refusal = if answer.status().is_success() { None } else { read() };
    let code = refusal.and_then(|refusal| Code::ALL.iter().find(|code| code.as_str() == &*refusal.code));
    let mut answer = answer.map(Body::from);
    if let Some(code) = code {
        answer.extensions_mut().insert(*code);
    }
    answer
}

/// The request with its caller's token. A certificate cannot be passed on, so the leader takes its subject from this replica.
fn as_it_came(request: &RequestContext<'_>, body: Bytes) -> Request<Bytes> {
    let mut forwarded = Request::new(body);
    *forwarded.method_mut() = request.head.method.clone();
    *forwarded.uri_mut() = request.head.uri.clone();
    let headers = forwarded.headers_mut();
    headers.clone_from(&request.head.headers);
    headers.remove(CERTIFICATE_SUBJECT);
    if let Owner::Token { issuer, subject } = &request.principal.owner
        && **issuer == *CERTIFICATE_ISSUER
        && let Ok(subject) = HeaderValue::from_str(subject)
    {
        headers.insert(CERTIFICATE_SUBJECT, subject);
    }
    forwarded
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
    let refusal = ApiError::new(code, error.to_string()).retry_after(wait);
    match error {
        PassOnError::SecondHop => refusal.header(NOT_LEADING, HeaderValue::from_static("1")),
        PassOnError::NoLeader | PassOnError::Busy => refusal,
    }
}
