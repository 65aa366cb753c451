//! What enters the store: jobs for the writer, and which services have one on its way.
//!
//! In: calls of [`Store`](super::Store). Out: [`job::Job`]s, which the writer takes in batches.
//!
//! 1. [`job`]: the jobs and their replies.
//! 2. [`pending`]: counts the calls on their way, so that no answer from the snapshot overtakes one.

pub(crate) mod job;
pub(crate) mod pending;
