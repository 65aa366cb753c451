//! Creates and deletes objects for labelled core Services.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use tokio::time::timeout;

use super::labels::Change;
use crate::model::name::ServiceKey;
use crate::model::ports::Leadership;
use crate::model::text;
use crate::operator::crd::ServiceResource;
use crate::operator::ingest::Ingest;
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
    pub(super) ingest: Ingest,
    pub(super) leadership: Arc<dyn Leadership>,
}

/// How a write ended.
#[derive(Debug)]
pub(super) enum WriteOutcome {
    /// Written, or this process no longer leads.
    Done,
    /// Somebody else was faster: the watch delivers what they did.
    Behind,
    /// 403 for lack of rights.
    Forbidden(String),
    /// Anything else; it is tried again.
    Failed(String),
}

impl Writer {
    /// Makes the change. An answer is ingested, so that it is not made twice.
    pub(super) async fn write(self, change: Change) -> (ServiceKey, WriteOutcome) {
        let key = change.key().clone();
        let outcome = if self.leadership.leads() { self.make(change).await } else { WriteOutcome::Done };
        (key, outcome)
    }

    async fn make(&self, change: Change) -> WriteOutcome {
        let api: Api<ServiceResource> = Api::namespaced(self.client.clone(), change.key().namespace());
        match change {
            Change::Create(_, object) => {
                let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
                match timeout(ANSWER_TIMEOUT, api.create(&params, &object)).await {
                    Ok(Ok(created)) => ingested(self.ingest.put(created).await),
                    other => failed(other.map(|answer| answer.map(drop))),
                }
            }
            Change::Delete(key, id, revision) => {
                let preconditions =
                    Some(Preconditions { uid: Some(id.to_string()), resource_version: Some(revision.to_string()) });
                let params = DeleteParams { preconditions, ..DeleteParams::default() };
                match timeout(ANSWER_TIMEOUT, api.delete(key.name(), &params)).await {
                    Ok(Ok(gone)) if gone.is_right() => ingested(self.ingest.remove(key, id, revision + 1).await),
                    other => failed(other.map(|answer| answer.map(drop))),
                }
            }
        }
    }
}

/// What could not be ingested comes with the watch.
fn ingested<E>(_: Result<(), E>) -> WriteOutcome {
    WriteOutcome::Done
}

fn failed(answer: Result<kube::Result<()>, tokio::time::error::Elapsed>) -> WriteOutcome {
    match answer {
        Ok(Ok(())) => WriteOutcome::Done,
        Ok(Err(kube::Error::Api(status))) => match status.code {
            404 if status.details.as_ref().is_some_and(|details| details.kind != "namespaces") => WriteOutcome::Behind,
            409 => WriteOutcome::Behind,
            403 if lacks_rights(&status.message) => WriteOutcome::Forbidden(text::escape(&status.message, MAX_TEXT)),
            _ => WriteOutcome::Failed(text::escape(&status.message, MAX_TEXT)),
        },
        Ok(Err(error)) => WriteOutcome::Failed(text::escape(&error.to_string(), MAX_TEXT)),
        Err(_) => WriteOutcome::Failed(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_lack_of_rights_is_forbidden() {
        let outcome = |message: &str| {
            let status = json!({ "status": "Failure", "reason": "Forbidden", "code": 403, "message": message });
            failed(Ok(Err(kube::Error::Api(serde_json::from_value(status).expect("a status")))))
        };
        let of = r#"services.portolan.dev "web" is forbidden: "#;
        let rights =
            r#"User "a" cannot create resource "services" in API group "portolan.dev" in the namespace "shop""#;
        let lacking = outcome(&format!("{of}{rights}"));
        assert!(matches!(&lacking, WriteOutcome::Forbidden(why) if why.contains("cannot create")), "{lacking:?}");
        for why in [
            "exceeded quota: few, requested: count/services.portolan.dev=1, used: count/services.portolan.dev=0",
            "unable to create new content in namespace shop because it is being terminated",
            "no services on Sundays",
        ] {
            let refused = outcome(&format!("{of}{why}"));
            assert!(matches!(&refused, WriteOutcome::Failed(said) if said.ends_with(why)), "{refused:?}");
        }
    }
}
