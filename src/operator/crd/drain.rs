//! `instances[].drain`: an instance that is out of selection on purpose.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;
use crate::model::service::{Drain, MAX_DRAIN_REASON};
use crate::model::text;
use crate::model::time::UnixMs;

/// Longest name of who drained an instance, in characters: an issuer and a subject.
pub const MAX_DRAINED_BY: usize = 640;
/// Who drained an instance of a manifest that does not say it.
const AUTHOR: &str = "its manifest";

/// Why and how long an instance is out of selection on purpose.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::drain()))]
pub struct DrainEntry {
    /// Why, in a sentence for people.
    #[schemars(length(min = 1, max = MAX_DRAIN_REASON), regex(pattern = rules::PLAIN))]
    pub reason: String,
    /// Who drains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_DRAINED_BY), regex(pattern = rules::PLAIN))]
    pub by: Option<String>,
    /// Since when. Left out, since Portolan first read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::moment")]
    pub since: Option<String>,
    /// When it ends by itself, such as 2026-01-02T15:00:00Z. Left out, it lasts until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::moment")]
    pub until: Option<String>,
}

/// Reads it; `since` where it says nothing.
///
/// # Errors
/// A sentence that names the field that is wrong.
pub fn read_drain(entry: &DrainEntry, since: UnixMs) -> Result<Drain, String> {
    let moment = |field: &str, text: Option<&String>| {
        let at = text.map(|text| text.parse::<UnixMs>());
        at.transpose().map_err(|_| format!("{field}: write a time such as 2026-01-02T15:00:00Z"))
    };
    if entry.reason.is_empty() {
        return Err("reason: say why, in 1 to 256 characters".to_owned());
    }
    text::accept(&entry.reason, MAX_DRAIN_REASON).map_err(|error| format!("reason: {error}"))?;
    let by = entry.by.as_deref().unwrap_or(AUTHOR);
    text::accept(by, MAX_DRAINED_BY).map_err(|error| format!("by: {error}"))?;
    Ok(Drain {
        reason: entry.reason.clone(),
        by: by.to_owned(),
        since: moment("since", entry.since.as_ref())?.unwrap_or(since),
        until: moment("until", entry.until.as_ref())?,
    })
}

/// Writes it. The inverse of [`read_drain`].
pub fn drain_entry(drain: &Drain) -> DrainEntry {
    DrainEntry {
        reason: drain.reason.clone(),
        by: Some(drain.by.clone()),
        since: Some(drain.since.to_string()),
        until: drain.until.map(|until| until.to_string()),
    }
}
