//! Why a request failed.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words::code;
use crate::model::value_error::ValueError;

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Detail {
    /// The field's path, or the parameter's or header's name.
    #[serde(default)]
    #[schema(required = true)]
    pub field: String,
    /// One sentence of what is wrong with it.
    #[serde(default)]
    #[schema(required = true)]
    pub problem: String,
    /// What may stand there, where that is a kind of value, a range or a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
}

/// The envelope of every refusal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    /// False.
    #[serde(default)]
    #[schema(required = true)]
    pub success: bool,
    /// One sentence for a person.
    #[serde(default)]
    #[schema(required = true)]
    pub error: String,
    /// A stable word for programs.
    #[serde(default)]
    #[schema(required = true, schema_with = code)]
    pub code: Box<str>,
    /// Where else to look, or why a token does not do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Everything that is wrong, as far as it has a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Option<Vec<Detail>>)]
    pub details: Vec<Detail>,
}

impl Detail {
    /// What is wrong with `field`.
    pub fn new(field: impl Into<String>, error: impl Into<ValueError>) -> Self {
        let ValueError { problem, expected } = error.into();
        Self { field: field.into(), problem, expected }
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}
