//! The rules by which a job turns one state into the next. Pure: no I/O.
//!
//! In: a [`state::State`] and a job's content. Out: the next state, what to write
//! ([`Write`](super::schema::write::Write)), and the answer or the refusal.
//!
//! 1. [`state`]: what the writer knows, and the [`state::Work`] of one batch.
//! 2. [`register`], [`drain`], [`deregister`]: REST calls, by the rules of `model::registration`; [`acknowledge`], by those of
//!    `model::acknowledging`.
//! 3. [`health`]: verdicts and probe rows.
//! 4. [`spans`]: how the services stood, for availability.
//! 5. [`mirror`]: objects of the Kubernetes API. [`status_acknowledgements`]: what their status says of acknowledgements.

mod acknowledge;
mod deregister;
mod drain;
mod health;
mod mirror;
mod register;
pub(crate) mod spans;
pub(crate) mod state;
mod status_acknowledgements;
