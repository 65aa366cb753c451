//! How an instance is probed. [`model::check`](crate::model::check) has the fields, since the store keeps them in the same form.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::model::check::{self, CheckSchema};

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
