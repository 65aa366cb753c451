//! How an instance is probed. [`model::check`](crate::model::check) has the fields, since the store keeps them in the same form.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::model::check::{self, CheckSchema, NamedCheckSchema};

/// A check as it was written: a client passes on the checks of a newer server, which may be of kinds that it does not know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Check(Box<RawValue>);

impl Check {
    /// The JSON.
    pub fn get(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Check {}

impl From<&check::Check> for Check {
    fn from(check: &check::Check) -> Self {
        // A check consists of strings, numbers and maps with string keys: it always serialises.
        Self(serde_json::value::to_raw_value(check).unwrap_or_default())
    }
}

impl PartialSchema for Check {
    fn schema() -> RefOr<Schema> {
        CheckSchema::schema()
    }
}

impl ToSchema for Check {
    fn name() -> Cow<'static, str> {
        "Check".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        CheckSchema::schemas(schemas);
    }
}

/// A check beside the plain one as it was written, with its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NamedCheck(Box<RawValue>);

/// What every further check has.
#[derive(Debug, Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(default)]
    advisory: bool,
}

impl NamedCheck {
    /// The JSON.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Its name; empty where a server gives none.
    pub fn name(&self) -> String {
        serde_json::from_str::<Named<'_>>(self.get()).map(|named| named.name.into_owned()).unwrap_or_default()
    }

    /// Whether its failure only sets a warning.
    pub fn is_advisory(&self) -> bool {
        serde_json::from_str::<Named<'_>>(self.get()).is_ok_and(|named| named.advisory)
    }
}

impl PartialEq for NamedCheck {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for NamedCheck {}

impl From<&check::NamedCheck> for NamedCheck {
    fn from(check: &check::NamedCheck) -> Self {
        // As for a plain check.
        Self(serde_json::value::to_raw_value(check).unwrap_or_default())
    }
}

impl PartialSchema for NamedCheck {
    fn schema() -> RefOr<Schema> {
        flat(NamedCheckSchema::schema())
    }
}

impl ToSchema for NamedCheck {
    fn name() -> Cow<'static, str> {
        "NamedCheck".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        NamedCheckSchema::schemas(schemas);
    }
}

/// The schema of a named check as one object. The derive joins its own fields and those of a check by `allOf`, where each part would refuse
/// the fields of the other.
fn flat(derived: RefOr<Schema>) -> RefOr<Schema> {
    let RefOr::T(Schema::AllOf(parts)) = derived else { return derived };
    let unknown = Some(AdditionalProperties::FreeForm(false));
    let mut named = ObjectBuilder::new().description(parts.description).additional_properties(unknown);
    for part in parts.items {
        let part = if let RefOr::T(own) = part { RefOr::T(own) } else { CheckSchema::schema() };
        let RefOr::T(Schema::Object(part)) = part else { continue };
        named = part.properties.into_iter().fold(named, |named, (name, field)| named.property(name, field));
        named = part.required.into_iter().fold(named, ObjectBuilder::required);
    }
    RefOr::T(Schema::Object(named.build()))
}
