//! `PUT /api/v1/services/{id}/instances/{name}/heartbeat`.

use std::time::Duration;

use uuid::Uuid;

use super::request::{RequestContext, read_id};
use super::{Answer, deregister, leader};
use crate::api::conn::RequestBody;
use crate::api::http::envelope::{ApiError, Code, ok};
use crate::api::http::json::{self, Fields};
use crate::api::http::write_error::refused;
use crate::api::openapi::schemas;
use crate::model::name::InstanceName;
use crate::model::ports::{Beat, BeatError, BeatStatus, Heard, MAX_NOTE, WriteError};
use crate::model::service::{Instance, Service, Source};
use crate::model::value_error::ValueError;
use crate::wire::{self, HeardBeat};

const MESSAGE: &str = "Heartbeat received";

/// The fields of the body.
const FIELDS: [&str; 2] = ["status", "note"];

/// Takes in what a program reports of itself, and renews its lease. Changes no revision unless its health or its warning changes. A
/// manifest's instance belongs to nobody: every token that may register in its namespace may report for it.
#[utoipa::path(
    put,
    operation_id = "heartbeat",
    tag = "registration",
    path = "/api/v1/services/{id}/instances/{name}/heartbeat",
    params(
        ("id" = uuid::Uuid, Path, description = "The service's id"),
        ("name" = String, Path, description = "The instance's name"),
        ("If-Match" = Option<String>, Header, pattern = r#"^([0-9]{1,19}|"[0-9]{1,19}"|\*)$"#, description = "Only this generation, as register returned it, so that a process which was replaced does not keep its successor's registration alive"),
    ),
    request_body(content = Option<schemas::BeatRequest>, description = "`pass` when absent"),
    security(("token" = [])),
    responses(
        (status = 200, description = "Heard", body = schemas::Heard),
        (status = 400, description = "`invalid_payload`; `details` name each field", body = schemas::Refusal),
        (status = 403, description = "`not_owner`, `namespace_forbidden` or `cross_origin`", body = schemas::Refusal),
        (status = 404, description = "`instance_not_found`: register again", body = schemas::Refusal),
        (status = 409, description = "`no_heartbeat_check`: the instance was registered without one", body = schemas::Refusal),
        (status = 412, description = "`stale_generation`: the instance has another generation than `If-Match` asks for; `error` names both", body = schemas::Refusal),
        (status = 413, description = "Over 8 KiB", body = schemas::Refusal),
        (status = 415, description = "A body that is not declared as JSON", body = schemas::Refusal),
        (status = 503, description = "`unavailable`: the prober does not run, or in a cluster no replica leads; `busy`: too many reports wait; `Retry-After` says when to report again", body = schemas::Refusal),
    )
)]
pub(super) async fn heartbeat(request: &RequestContext<'_>, body: RequestBody) -> Answer {
    request.query()?.end(&[])?;
    let bytes = request.optional_json(body).await?;
    let beat = read(&bytes)?;
    let status = beat.status;
    let Lease { service, instance, ttl } = lease(request, deregister::if_match(&request.head.headers, true)?)?;
    let heard = match request.state.heartbeats.beat(service, &instance, beat.clone()) {
        Err(BeatError::Unavailable) => {
            if let Some(leaders) = leader::pass_beat(request, service, instance.clone(), beat, bytes).await? {
                return Ok(leaders);
            }
            Heard { ttl }
        }
        heard => heard.map_err(|error| not_heard(&error))?,
    };
    let data = HeardBeat {
        instance: instance.as_str().into(),
        status: status.as_str().into(),
        ttl_seconds: heard.ttl.as_secs(),
    };
    Ok(ok(&wire::Heard { success: true, message: MESSAGE.into(), data }))
}

/// What a heartbeat renews.
struct Lease {
    service: Uuid,
    instance: InstanceName,
    ttl: Duration,
}

/// The lease of the path, if the caller may renew it, and the instance has that generation.
fn lease(request: &RequestContext<'_>, if_generation: Option<u64>) -> Result<Lease, ApiError> {
    let snapshot = request.state.catalog.read();
    let entry = read_id(request.params.id).and_then(|id| snapshot.by_id(&id));
    let visible = entry.filter(|entry| request.principal.may_name(entry.service().key.namespace()));
    let found = visible.and_then(|entry| Some((entry.service(), entry.service().instance(request.params.name)?)));
    let Some((service, instance)) = found else {
        request.require_complete()?;
        return Err(not_heard(&BeatError::NotFound));
    };
    request.principal.require_write(service.key.namespace())?;
    require_owner(request, service, instance)?;
    if let Some(asked) = if_generation.filter(|asked| *asked != instance.shown_generation()) {
        return Err(replaced(asked, instance.shown_generation()));
    }
    let heartbeat = instance.spec.heartbeat().ok_or_else(|| not_heard(&BeatError::NoHeartbeatCheck))?;
    Ok(Lease { service: service.id, instance: instance.name.clone(), ttl: heartbeat.ttl() })
}

/// 412: another process has registered the instance since.
fn replaced(asked: u64, current: u64) -> ApiError {
    let message = format!(
        "If-Match names generation {asked}, but the instance now has generation {current}: its registration was replaced, so this heartbeat \
            was ignored"
    );
    ApiError::new(Code::StaleGeneration, message)
}

fn require_owner(request: &RequestContext<'_>, service: &Service, instance: &Instance) -> Result<(), ApiError> {
    let may = service.source == Source::Manifest || request.principal.may_change(&instance.owner);
    if may { Ok(()) } else { Err(refused(&WriteError::NotOwner)) }
}

/// Reads the body; an empty one is a `pass`, and so is `null`.
fn read(bytes: &[u8]) -> Result<Beat, ApiError> {
    let mut beat = Beat { status: BeatStatus::Pass, note: None };
    if matches!(bytes.trim_ascii(), b"" | b"null") {
        return Ok(beat);
    }
    let mut fields = Fields::read(bytes)?;
    if let Some(status) = fields.take::<String>("status") {
        let known = BeatStatus::ALL.iter().copied().find(|known| known.as_str() == status);
        beat.status = fields
            .check("status", known.ok_or_else(|| ValueError::is_not("pass, warn or fail")))
            .unwrap_or(BeatStatus::Pass);
    }
    if let Some(note) = fields.take::<String>("note") {
        let length = note.chars().count();
        let fits = if length <= MAX_NOTE { Ok(note) } else { Err(too_long(length)) };
        beat.note = fields.check("note", fits).filter(|note| !note.is_empty());
    }
    fields.end(&FIELDS, |_| None);
    if fields.problem_count() == 0 { Ok(beat) } else { Err(json::invalid(fields.problems())) }
}

fn too_long(length: usize) -> ValueError {
    let most = format!("at most {MAX_NOTE} characters");
    ValueError::new(format!("has {length} characters, more than {MAX_NOTE}")).expecting(most)
}

fn not_heard(error: &BeatError) -> ApiError {
    let message = error.to_string();
    match error {
        BeatError::NotFound | BeatError::Leaving => ApiError::new(Code::InstanceNotFound, message),
        BeatError::NoHeartbeatCheck => ApiError::new(Code::NoHeartbeatCheck, message),
        BeatError::Busy { retry_after_seconds } => ApiError::new(Code::Busy, message).retry_after(*retry_after_seconds),
        BeatError::Unavailable => ApiError::new(Code::Unavailable, message).retry_after(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(json: &str) -> Vec<String> {
        let error = read(json.as_bytes()).expect_err("refused");
        error.details().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_heartbeat_is_a_pass_unless_it_says_otherwise() {
        let pass = Beat { status: BeatStatus::Pass, note: None };
        for plain in ["", "null", "{}", r#"{"status":"pass"}"#, r#"{"status":null,"note":""}"#] {
            assert_eq!(read(plain.as_bytes()), Ok(pass.clone()), "{plain}");
        }
        let fail = Beat { status: BeatStatus::Fail, note: Some("disk\u{1b} full".to_owned()) };
        assert_eq!(read(r#"{"status":"fail","note":"disk\u001b full"}"#.as_bytes()), Ok(fail));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        let json = format!(r#"{{"status":"ok","note":"{}","ttl":1}}"#, "ä".repeat(257));
        let expected = ["status: is not pass, warn or fail", "note: has 257 characters, more than 256", "ttl: unknown"];
        let found = problems(&json);
        assert!(
            found.len() == 3 && found.iter().zip(expected).all(|(found, start)| found.starts_with(start)),
            "{found:?}"
        );
        assert!(read(format!(r#"{{"note":"{}"}}"#, "ä".repeat(256)).as_bytes()).is_ok());
    }
}
