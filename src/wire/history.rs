//! Changes of health, drains, acknowledgements and removals.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Outcome;
use super::words::{health, known, known_or_default, reason};
use crate::model::history;
use crate::model::outcome::Health;
use crate::model::time::UnixMs;

/// What happened to an instance.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// Its number, growing with time.
    #[serde(default)]
    #[schema(required = true)]
    pub id: i64,
    /// `health`: its health changed; `removed`: it was deregistered, or its lease ran out; `drained`: it was taken out of selection, or its
    /// drain got another reason or end; `undrained`: its drain ended; `acknowledged`: somebody knows about its failure, or with it the whole
    /// service's; `unacknowledged`: that ended.
    #[serde(default)]
    #[schema(required = true, example = "health")]
    pub event: Box<str>,
    /// To which instance.
    #[serde(default)]
    #[schema(required = true)]
    pub instance: Box<str>,
    /// When.
    #[serde(default)]
    #[schema(required = true, value_type = String, format = DateTime)]
    pub at: UnixMs,
    /// Health before.
    #[serde(default, deserialize_with = "known_or_default")]
    #[schema(required = true, schema_with = health)]
    pub from: Health,
    /// Health after, the same as before for a drain or an acknowledgement; absent when it was removed.
    #[serde(default, deserialize_with = "known", skip_serializing_if = "Option::is_none")]
    #[schema(required = false, schema_with = health)]
    pub to: Option<Health>,
    /// Why; absent when it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = false, schema_with = reason)]
    pub reason: Option<Box<str>>,
    /// The check that decided it; absent when that is `default`, or none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Box<str>>,
    /// One sentence, built by Portolan.
    #[serde(default)]
    #[schema(required = true)]
    pub message: Box<str>,
    /// The probe that decided it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Outcome>,
}

impl From<history::HistoryEntry> for HistoryEntry {
    fn from(entry: history::HistoryEntry) -> Self {
        Self {
            id: entry.id,
            event: entry.event.as_str().into(),
            instance: entry.instance.as_str().into(),
            at: entry.at,
            from: entry.from,
            to: entry.to,
            reason: entry.reason.map(|reason| reason.as_str().into()),
            check: (!entry.check.is_default()).then(|| entry.check.as_str().into()),
            message: entry.message.into(),
            evidence: entry.evidence.map(Into::into),
        }
    }
}
