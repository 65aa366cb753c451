//! Writes the status of one object.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::{GetParams, Patch, PatchParams, Request, Resource};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::plan::{self, Plan};
use crate::catalog::Catalog;
use crate::model::name::ServiceKey;
use crate::model::ports::Leadership;
use crate::model::text;
use crate::operator::crd::{ServiceResource, ServiceStatus};
use crate::operator::ingest::{Ingest, IngestError, ObservedObject};
use crate::operator::kubernetes::outage::concerns_all;
use crate::operator::kubernetes::rights::lacks_rights;
use crate::operator::publish::Publications;
use crate::operator::read::raw::RawObject;
use crate::operator::replicas::installs::Installs;
use crate::operator::status;

/// The field manager, for server-side apply.
pub const FIELD_MANAGER: &str = "portolan";
/// Time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the watch to deliver the version that a conflict revealed.
const PROPAGATION: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);
/// Longest foreign text in a log line, in characters.
const MAX_TEXT: usize = 500;

/// Writing it again would change nothing.
const ALTERED: &str =
    "the Kubernetes API keeps less than what was written: its CRD is of another version than this server";

/// What each write needs.
#[derive(Clone)]
pub(super) struct StatusWriter {
    pub(super) client: Client,
    pub(super) ingest: Ingest,
    pub(super) catalog: Arc<Catalog>,
    pub(super) installs: Installs,
    pub(super) publications: Publications,
    pub(super) leadership: Arc<dyn Leadership>,
}

/// How a write ended.
#[derive(Debug)]
pub(super) enum WriteOutcome {
    /// The status was up to date.
    UpToDate,
    /// This process no longer leads.
    NotLeading,
    /// Written and ingested.
    Written(Box<Written>),
    /// Somebody else wrote the object; that version is ingested by now.
    Conflict,
    /// The object does not exist any more.
    Gone,
    /// This program lacks the right.
    Forbidden(String),
    /// What concerns this object alone.
    Refused(String),
    /// No answer came in time. Perhaps a webhook that is asked about some objects only hangs.
    Unanswered(String),
    /// What concerns all writes.
    Unavailable(String),
}

/// The object before, and its new status.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) observed: Arc<ObservedObject>,
    pub(super) status: ServiceStatus,
}

impl WriteOutcome {
    /// The `result` label.
    pub(super) fn label(&self) -> Option<&'static str> {
        Some(match self {
            Self::UpToDate | Self::NotLeading => return None,
            Self::Written(_) => "written",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::Forbidden(_) => "forbidden",
            Self::Refused(_) => "refused",
            Self::Unanswered(_) | Self::Unavailable(_) => "away",
        })
    }
}

impl StatusWriter {
    /// The write for `key`.
    pub(super) fn plan(&self, key: &ServiceKey) -> Option<Plan> {
        plan::plan(key, &self.ingest, &self.catalog, &self.installs, &self.publications)
    }

    /// Writes the status of `key`.
    pub(super) async fn write(self, key: ServiceKey) -> (ServiceKey, WriteOutcome) {
        let outcome = self.try_write(&key).await.unwrap_or_else(|outcome| outcome);
        (key, outcome)
    }

    async fn try_write(&self, key: &ServiceKey) -> Result<WriteOutcome, WriteOutcome> {
        let Some(Plan { observed, status, .. }) = self.plan(key) else {
            return Ok(WriteOutcome::UpToDate);
        };
        let request = request(&observed, &status)?;
        if !self.leadership.leads() {
            return Ok(WriteOutcome::NotLeading);
        }
        match self.ask(request).await {
            Ok(raw) => {
                // A status that says nothing is none.
                let stored = raw.status().map_or_else(|| !status.is_written(), |stored| status::same(stored, &status));
                self.ingest_answer(raw).await?;
                Ok(if stored {
                    WriteOutcome::Written(Box::new(Written { observed, status }))
                } else {
                    WriteOutcome::Refused(ALTERED.to_owned())
                })
            }
            Err(WriteOutcome::Conflict) => self.refresh(key, &observed).await,
            Err(outcome) => Err(outcome),
        }
    }

    async fn ask(&self, request: http::Request<Vec<u8>>) -> Result<RawObject, WriteOutcome> {
        match timeout(ANSWER_TIMEOUT, self.client.request::<RawObject>(request)).await {
            Ok(answer) => answer.map_err(outcome_of),
            Err(_) => Err(WriteOutcome::Unanswered(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))),
        }
    }

    async fn ingest_answer(&self, raw: RawObject) -> Result<(), WriteOutcome> {
        match self.ingest.put_raw(raw).await {
            // The ingest task retries what the store could not write.
            Ok(()) | Err(IngestError::Store(_)) => Ok(()),
            Err(error) => Err(WriteOutcome::Unavailable(error.to_string())),
        }
    }

    /// Waits until the watch delivers a newer version than `observed`, and reads it if that takes long.
    async fn refresh(&self, key: &ServiceKey, observed: &ObservedObject) -> Result<WriteOutcome, WriteOutcome> {
        let newer = async {
            let known = || self.ingest.known(key).or_else(|| self.ingest.known_aside(key));
            while known().is_some_and(|now| now.revision() == observed.revision()) {
                sleep(POLL).await;
            }
        };
        if timeout(PROPAGATION, newer).await.is_err() {
            let request = Request::new(ServiceResource::url_path(&(), Some(key.namespace())));
            let request = request.get(key.name(), &GetParams::default()).map_err(unbuilt)?;
            self.ingest_answer(self.ask(request).await?).await?;
        }
        Ok(WriteOutcome::Conflict)
    }
}

/// A server-side apply of the status, on condition that the object is still the one that it was made from.
fn request(observed: &ObservedObject, status: &ServiceStatus) -> Result<http::Request<Vec<u8>>, WriteOutcome> {
    let body = Patch::Apply(json!({
        "apiVersion": ServiceResource::api_version(&()),
        "kind": ServiceResource::kind(&()),
        "metadata": {
            "name": observed.key().name(),
            "namespace": observed.key().namespace(),
            "uid": observed.id(),
            "resourceVersion": observed.revision().to_string(),
        },
        "status": status,
    }));
    let request = Request::new(ServiceResource::url_path(&(), Some(observed.key().namespace())));
    let params = PatchParams::apply(FIELD_MANAGER).force();
    request.patch_subresource("status", observed.key().name(), &params, &body).map_err(unbuilt)
}

#[expect(clippy::needless_pass_by_value, reason = "the form of map_err")]
fn unbuilt(error: kube::core::request::Error) -> WriteOutcome {
    WriteOutcome::Refused(error.to_string())
}

fn outcome_of(error: kube::Error) -> WriteOutcome {
    match error {
        kube::Error::Api(status) => {
            let why = text::escape(&status.message, MAX_TEXT);
            match status.code {
                409 => WriteOutcome::Conflict,
                404 => WriteOutcome::Gone,
                403 if lacks_rights(&status.message) => WriteOutcome::Forbidden(why),
                _ if concerns_all(&status) => WriteOutcome::Unavailable(why),
                _ => WriteOutcome::Refused(why),
            }
        }
        error => WriteOutcome::Unavailable(text::escape(&error.to_string(), MAX_TEXT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_whom_it_concerns() {
        let forbidden =
            "services.portolan.dev \"cart\" is forbidden: User \"a\" cannot patch resource \"services/status\"";
        let frozen = "services.portolan.dev \"cart\" is forbidden: ValidatingAdmissionPolicy 'freeze' denied request";
        for (code, message, label) in [
            (401, "", "away"),
            (403, forbidden, "forbidden"),
            (403, frozen, "refused"),
            (404, "", "gone"),
            (409, "", "conflict"),
            (422, "", "refused"),
            (500, "etcdserver: leader changed", "away"),
            (500, "failed calling webhook", "refused"),
            (503, "", "away"),
        ] {
            let status = json!({ "status": "Failure", "reason": "", "code": code, "message": message });
            let outcome = outcome_of(kube::Error::Api(serde_json::from_value(status).expect("a status")));
            assert_eq!(outcome.label(), Some(label), "{code}: {outcome:?}");
        }
    }
}
