//! What becomes of an instance while it is registered: heartbeats, drains, warnings, acknowledgements.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words::reason;
use crate::model::time::UnixMs;
use crate::model::{acknowledgement, service};

/// Something that does not pass, but does not make the instance unusable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    /// The check that warns.
    #[serde(default)]
    #[schema(required = true)]
    pub check: Box<str>,
    /// Why.
    #[serde(default)]
    #[schema(required = true, schema_with = reason)]
    pub reason: Box<str>,
    /// One sentence.
    #[serde(default)]
    #[schema(required = true)]
    pub message: Box<str>,
}

impl From<&service::Warning> for Warning {
    fn from(known: &service::Warning) -> Self {
        let (check, reason) = (known.check.as_str().into(), known.reason.as_str().into());
        Self { check, reason, message: known.message.as_str().into() }
    }
}

/// Why and how long an instance is out of selection on purpose. Its weight stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Drain {
    /// For people.
    #[serde(default)]
    #[schema(required = true)]
    pub reason: Box<str>,
    /// Who asked for it: a token's subject, or `anonymous`.
    #[serde(default)]
    #[schema(required = true)]
    pub by: Box<str>,
    /// When.
    #[serde(default)]
    #[schema(required = true, value_type = String, format = DateTime)]
    pub since: Option<UnixMs>,
    /// When it ends by itself; absent when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<UnixMs>,
}

impl From<&service::Drain> for Drain {
    fn from(known: &service::Drain) -> Self {
        let (reason, by) = (known.reason.as_str().into(), known.by.as_str().into());
        Self { reason, by, since: Some(known.since), until: known.until }
    }
}

/// What a drain call sends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Why, for people.
    #[schema(example = "kernel update", min_length = 1, max_length = 256)]
    pub reason: String,
    /// After how long it ends by itself; it does not when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub for_seconds: Option<u32>,
}

/// Who knows about a failure. It ends when the failure does, and never covers a new one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Acknowledgement {
    /// For people.
    #[serde(default)]
    #[schema(required = true)]
    pub note: Box<str>,
    /// Who gave it: a token's subject, or `anonymous`.
    #[serde(default)]
    #[schema(required = true)]
    pub by: Box<str>,
    /// When.
    #[serde(default)]
    #[schema(required = true, value_type = String, format = DateTime)]
    pub since: Option<UnixMs>,
    /// When it ends by itself at the latest; absent when only the failure ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<UnixMs>,
}

impl From<&acknowledgement::Acknowledgement> for Acknowledgement {
    fn from(known: &acknowledgement::Acknowledgement) -> Self {
        let (note, by) = (known.note.as_str().into(), known.by.as_str().into());
        Self { note, by, since: Some(known.since), until: known.until }
    }
}

/// What an acknowledgement call sends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcknowledgementRequest {
    /// What is known about the failure, for people.
    #[schema(example = "disk ordered, ticket 4711", min_length = 1, max_length = 256)]
    pub note: String,
    /// After how long it ends by itself; only with the failure when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub for_seconds: Option<u32>,
}

/// What a heartbeat sends. Without a body it is a `pass`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeatRequest {
    /// `pass`, `warn`: usable, but something is wrong; or `fail`: counts like a failed probe. `pass` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(pass|warn|fail)$")]
    pub status: Option<String>,
    /// What is wrong, in the program's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub note: Option<String>,
}

/// A heartbeat that was heard.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct HeardBeat {
    /// The instance.
    #[serde(default)]
    #[schema(required = true)]
    pub instance: Box<str>,
    /// What it reported.
    #[serde(default)]
    #[schema(required = true, pattern = "^(pass|warn|fail)$")]
    pub status: Box<str>,
    /// The time within which the next one is due.
    #[serde(default)]
    #[schema(required = true)]
    pub ttl_seconds: u64,
}
