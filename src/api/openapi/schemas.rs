//! The types that `/openapi.json` describes, for the routes' annotations.

pub use crate::wire::{
    AcknowledgementRequest, BeatRequest, Done, DrainRequest, Heard, ManyServices, OneService, Refusal, Registration,
};
