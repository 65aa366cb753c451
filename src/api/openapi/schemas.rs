//! The types that `/openapi.json` describes, for the routes' annotations.

pub use crate::wire::{Done, ManyServices, OneService, Refusal, Registration};
