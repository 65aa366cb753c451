//! Closed sets of strings: their schemas, and how they are read from a server that may know more of them.

use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

use super::Code;
use crate::model::availability::Standing;
use crate::model::outcome::{Health, Reason, Stage, Verdict};

fn words(words: impl Iterator<Item = &'static str>, description: &str) -> Schema {
    let builder = ObjectBuilder::new().schema_type(SchemaType::new(Type::String)).description(Some(description));
    Schema::Object(builder.enum_values(Some(words)).build())
}

/// The schema of a health.
pub fn health() -> Schema {
    words(Health::ALL.iter().map(|h| h.as_str()), "What the outcomes of the check add up to.")
}

pub(super) fn verdict() -> Schema {
    words(Verdict::ALL.iter().map(|v| v.as_str()), "How the probe counts; `inconclusive` never does.")
}

pub(super) fn stage() -> Schema {
    words(Stage::ALL.iter().map(|s| s.as_str()), "How far the probe came.")
}

pub(super) fn reason() -> Schema {
    words(Reason::ALL.iter().map(|r| r.as_str()), "Why: one of a closed set of words.")
}

pub(super) fn standing() -> Schema {
    words(Standing::ALL.iter().map(|s| s.as_str()), "How it stands: `degraded` is up, while an instance is unhealthy.")
}

pub(super) fn code() -> Schema {
    words(Code::ALL.iter().map(|c| c.as_str()), "A stable word for programs; each belongs to one status.")
}

/// The value of a string; the default where this version does not know it.
///
/// # Errors
/// When it is not a string.
pub(super) fn known_or_default<'de, T: FromStr + Default, D: Deserializer<'de>>(json: D) -> Result<T, D::Error> {
    Ok(Box::<str>::deserialize(json)?.parse().unwrap_or_default())
}

/// The value of a string; none where this version does not know it, or it is null.
///
/// # Errors
/// When it is neither a string nor null.
pub(super) fn known<'de, T: FromStr, D: Deserializer<'de>>(json: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Box<str>>::deserialize(json)?.and_then(|text| text.parse().ok()))
}
