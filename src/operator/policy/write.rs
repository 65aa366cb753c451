//! Writes the status of one policy.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource as _};
use serde_json::json;
use tokio::time::timeout;

use crate::model::text;
use crate::operator::crd::{NamespacePolicyResource, NamespacePolicyStatus};
use crate::operator::status_writer::FIELD_MANAGER;

/// Time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest foreign text in a log line, in characters.
const MAX_TEXT: usize = 300;

/// Applies the status.
///
/// # Errors
/// A sentence for the log.
pub(super) async fn write(client: Client, name: String, status: NamespacePolicyStatus) -> Result<(), String> {
    let api: Api<NamespacePolicyResource> = Api::all(client);
    let body = Patch::Apply(json!({
        "apiVersion": NamespacePolicyResource::api_version(&()),
        "kind": NamespacePolicyResource::kind(&()),
        "metadata": { "name": name },
        "status": status,
    }));
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match timeout(ANSWER_TIMEOUT, api.patch_status(&name, &params, &body)).await {
        Ok(Ok(_)) => Ok(()),
        // It was deleted meanwhile.
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(()),
        Ok(Err(error)) => Err(text::escape(&error.to_string(), MAX_TEXT)),
        Err(_) => Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
    }
}
