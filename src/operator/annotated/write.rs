//! Writes one object.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, DynamicObject};
use kube::{Client, Error};
use serde_json::Value;
use tokio::time::timeout;

use super::object::{ObjectRef, Seen};
use crate::model::ports::Leadership;
use crate::model::text;
use crate::operator::kubernetes::outage::concerns_all;
use crate::operator::kubernetes::rights::lacks_rights;
use crate::operator::status_writer::FIELD_MANAGER;

/// Time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest foreign text, in characters.
const MAX_TEXT: usize = 300;

/// What each write needs.
#[derive(Clone)]
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) leadership: Arc<dyn Leadership>,
}

/// How a write ended.
#[derive(Debug)]
pub(super) enum WriteOutcome {
    Written(Box<Seen>),
    /// This process no longer leads.
    NotLeading,
    /// Somebody else was faster; the watch delivers what they wrote.
    Conflict,
    /// 404: the object is gone, or its kind has no status of its own.
    NotFound,
    /// 403 for lack of rights.
    Forbidden(String),
    /// An answer about this object alone, such as 403 by an admission policy, 422, or 500 because a webhook cannot be called.
    Refused(String),
    /// No answer came in time. Perhaps a webhook that is asked about some objects only hangs.
    Unanswered(String),
    /// No connection, or an answer that concerns all writes.
    Unavailable(String),
}

impl WriteOutcome {
    /// The `result` label.
    pub(super) fn label(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotLeading => return None,
            Self::Written(_) => "written",
            Self::Conflict => "conflict",
            Self::NotFound => "gone",
            Self::Forbidden(_) => "forbidden",
            Self::Refused(_) => "refused",
            Self::Unanswered(_) | Self::Unavailable(_) => "away",
        })
    }
}

impl Writer {
    /// Sends the JSON patch.
    pub(super) async fn write(self, object: ObjectRef, patch: Vec<Value>) -> (ObjectRef, WriteOutcome) {
        let outcome = self.send(&object, patch).await.unwrap_or_else(|outcome| outcome);
        (object, outcome)
    }

    async fn send(&self, object: &ObjectRef, patch: Vec<Value>) -> Result<WriteOutcome, WriteOutcome> {
        let body = serde_json::to_vec(&patch).map_err(|error| WriteOutcome::Refused(error.to_string()))?;
        let request = http::Request::patch(self.path(object))
            .header(http::header::CONTENT_TYPE, "application/json-patch+json")
            .body(body)
            .map_err(|error| WriteOutcome::Refused(error.to_string()))?;
        if !self.leadership.leads() {
            return Ok(WriteOutcome::NotLeading);
        }
        match timeout(ANSWER_TIMEOUT, self.client.request::<DynamicObject>(request)).await {
            Ok(Ok(written)) => Ok(WriteOutcome::Written(Box::new(Seen::of(object.kind, &written)))),
            Ok(Err(error)) => Err(outcome_of(error)),
            Err(_) => Err(WriteOutcome::Unanswered(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))),
        }
    }

    fn path(&self, object: &ObjectRef) -> String {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &object.namespace, &object.kind.resource());
        let part = if object.kind.has_condition() { "/status" } else { "" };
        format!("{}/{}{part}?fieldManager={FIELD_MANAGER}", api.resource_url(), object.name)
    }
}

fn outcome_of(error: Error) -> WriteOutcome {
    match error {
        Error::Api(status) => {
            let why = text::escape(&status.message, MAX_TEXT);
            match status.code {
                409 => WriteOutcome::Conflict,
                404 => WriteOutcome::NotFound,
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
    use http::Response;
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::model::ports::Role;
    use crate::operator::annotated::kind::Kind;

    #[derive(Debug)]
    struct Leads;

    impl Leadership for Leads {
        fn role(&self) -> Role {
            Role::Leads
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_without_an_answer_concerns_one_object() {
        let silence = |_: http::Request<Body>| std::future::pending::<Result<Response<Body>, std::io::Error>>();
        let client = Client::new(tower::service_fn(silence), "shop");
        let object = ObjectRef { kind: Kind::WorkloadEntry, namespace: "shop".into(), name: "vm".into() };
        let (_, outcome) = Writer { client, leadership: Arc::new(Leads) }.write(object, Vec::new()).await;
        assert!(matches!(&outcome, WriteOutcome::Unanswered(_)) && outcome.label() == Some("away"), "{outcome:?}");
    }

    #[test]
    fn only_an_answer_that_concerns_all_writes_makes_them_wait() {
        let webhook = "failed calling webhook";
        for (code, message, concerns_all) in [
            (401, "", true),
            (403, "", false),
            (422, "", false),
            (500, "", true),
            (500, webhook, false),
            (503, "", true),
        ] {
            let status = json!({ "status": "Failure", "reason": "", "code": code, "message": message });
            let outcome = outcome_of(Error::Api(serde_json::from_value(status).expect("a status")));
            let kind = (matches!(outcome, WriteOutcome::Unavailable(_)), matches!(outcome, WriteOutcome::Refused(_)));
            assert_eq!(kind, (concerns_all, !concerns_all), "{code}: {outcome:?}");
        }
    }
}
