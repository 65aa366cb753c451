//! The rules by which a job turns one state into the next. Pure: no I/O.
//!
//! In: a [`state::State`] and a job's content. Out: the next state, what to write
//! ([`Write`](super::schema::write::Write)), and the answer or the refusal.
//!
//! 1. [`state`]: what the writer knows, and the [`state::Work`] of one batch.
//! 2. [`register`], [`deregister`]: REST calls, by the rules of `model::registration`.
//! 3. [`health`]: verdicts and probe rows.
//! 4. [`mirror`]: objects of the Kubernetes API.

mod deregister;
mod health;
mod mirror;
mod register;
pub(crate) mod state;
