//! The types that `/openapi.json` describes, for the routes' annotations.

pub use crate::model::check_json::HttpJson;
pub use crate::wire::{Done, ManyServices, OneService, Refusal, Registration};
