//! One status write.

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
use crate::operator::read::raw::RawObject;
use crate::operator::replicas::installs::Installs;
use crate::operator::status;

/// Who the status belongs to, for server-side apply.
pub const FIELD_MANAGER: &str = "portolan";
/// Time for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Time for the watch to bring what a conflict shows to be there.
const FRESH: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);
/// Longest foreign text in a log line, in characters.
const MAX_TEXT: usize = 500;

/// Writing it again would change nothing, for ever.
const ALTERED: &str =
    "the Kubernetes API keeps less than what was written: its CRD is of another version than this server";

/// What each write needs.
#[derive(Clone)]
pub(super) struct Pen {
    pub(super) client: Client,
    pub(super) ingest: Ingest,
    pub(super) catalog: Arc<Catalog>,
    pub(super) installs: Installs,
    pub(super) leadership: Arc<dyn Leadership>,
}

/// How a write ended.
#[derive(Debug)]
pub(super) enum Done {
    /// Its status said it by now.
    Needless,
    /// This process does not lead any more.
    NotLeading,
    /// Written, and known here.
    Written(Box<Written>),
    /// Somebody wrote the object meanwhile; what they wrote is known here now.
    Conflict,
    /// The object is gone.
    Gone,
    /// 403.
    Forbidden(String),
    /// 422 and other answers that another try does not change.
    Refused(String),
    /// No answer, or one that another try may change.
    Away(String),
}

/// Before and after.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) known: Arc<ObservedObject>,
    pub(super) status: ServiceStatus,
}

impl Done {
    /// The `result` label.
    pub(super) fn label(&self) -> Option<&'static str> {
        Some(match self {
            Self::Needless | Self::NotLeading => return None,
            Self::Written(_) => "written",
            Self::Conflict => "conflict",
            Self::Gone => "gone",
            Self::Forbidden(_) => "forbidden",
            Self::Refused(_) => "refused",
            Self::Away(_) => "away",
        })
    }
}

impl Pen {
    /// What is to be written of `key` now.
    pub(super) fn plan(&self, key: &ServiceKey) -> Option<Plan> {
        plan::plan(key, &self.ingest, &self.catalog, &self.installs)
    }

    /// Writes what is to be said of `key` now.
    pub(super) async fn write(self, key: ServiceKey) -> (ServiceKey, Done) {
        let done = self.try_write(&key).await.unwrap_or_else(|done| done);
        (key, done)
    }

    async fn try_write(&self, key: &ServiceKey) -> Result<Done, Done> {
        let Some(Plan { known, status, .. }) = self.plan(key) else {
            return Ok(Done::Needless);
        };
        let request = request(&known, &status)?;
        if !self.leadership.leads() {
            return Ok(Done::NotLeading);
        }
        match self.ask(request).await {
            Ok(seen) => {
                let kept = seen.status().is_some_and(|kept| status::same(kept, &status));
                self.take_in(seen).await?;
                Ok(if kept {
                    Done::Written(Box::new(Written { known, status }))
                } else {
                    Done::Refused(ALTERED.to_owned())
                })
            }
            Err(Done::Conflict) => self.refresh(key, &known).await,
            Err(done) => Err(done),
        }
    }

    async fn ask(&self, request: http::Request<Vec<u8>>) -> Result<RawObject, Done> {
        match timeout(ANSWER, self.client.request::<RawObject>(request)).await {
            Ok(answer) => answer.map_err(refusal),
            Err(_) => Err(Done::Away(format!("no answer within {} s", ANSWER.as_secs()))),
        }
    }

    async fn take_in(&self, seen: RawObject) -> Result<(), Done> {
        match self.ingest.put_raw(seen).await {
            // What the store could not write is its own to try again.
            Ok(()) | Err(IngestError::Store(_)) => Ok(()),
            Err(error) => Err(Done::Away(error.to_string())),
        }
    }

    /// Waits for the watch to bring what is newer than `known`, and asks for it when that takes long.
    async fn refresh(&self, key: &ServiceKey, known: &ObservedObject) -> Result<Done, Done> {
        let newer = async {
            while self.ingest.known(key).is_some_and(|now| now.revision() == known.revision()) {
                sleep(LOOK).await;
            }
        };
        if timeout(FRESH, newer).await.is_err() {
            let request = Request::new(ServiceResource::url_path(&(), Some(key.namespace())));
            let request = request.get(key.name(), &GetParams::default()).map_err(unbuilt)?;
            self.take_in(self.ask(request).await?).await?;
        }
        Ok(Done::Conflict)
    }
}

/// A server-side apply of the status, good only for the very object that it was made from.
fn request(known: &ObservedObject, status: &ServiceStatus) -> Result<http::Request<Vec<u8>>, Done> {
    let body = Patch::Apply(json!({
        "apiVersion": ServiceResource::api_version(&()),
        "kind": ServiceResource::kind(&()),
        "metadata": {
            "name": known.key().name(),
            "namespace": known.key().namespace(),
            "uid": known.id(),
            "resourceVersion": known.revision().to_string(),
        },
        "status": status,
    }));
    let request = Request::new(ServiceResource::url_path(&(), Some(known.key().namespace())));
    let params = PatchParams::apply(FIELD_MANAGER).force();
    request.patch_subresource("status", known.key().name(), &params, &body).map_err(unbuilt)
}

#[expect(clippy::needless_pass_by_value, reason = "the form of map_err")]
fn unbuilt(error: kube::core::request::Error) -> Done {
    Done::Refused(error.to_string())
}

fn refusal(error: kube::Error) -> Done {
    match error {
        kube::Error::Api(status) => {
            let why = text::escape(&status.message, MAX_TEXT);
            match status.code {
                409 => Done::Conflict,
                404 => Done::Gone,
                403 => Done::Forbidden(why),
                401 | 429 | 500.. => Done::Away(why),
                _ => Done::Refused(why),
            }
        }
        error => Done::Away(text::escape(&error.to_string(), MAX_TEXT)),
    }
}
