//! The types that `/openapi.json` describes, for the routes' annotations.

pub use crate::wire::{
    AcknowledgedService, AcknowledgementRequest, BeatRequest, Done, DrainRequest, Heard, ManyServices, OneService,
    Refusal, Registration,
};
