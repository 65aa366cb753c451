//! An instance's drain: when it began, and whether it is over.
//!
//! An object is what all replicas agree on, so nothing here reads a clock: the leader writes into the status when a drain without a `since`
//! began, and that one with an `until` is over.

use crate::model::service::Drain;
use crate::model::time::UnixMs;
use crate::operator::crd::{DrainEntry, InstanceStatus, read_drain};

/// The drain as it is written; it may be over.
///
/// # Errors
/// A sentence that names the field that is wrong.
pub(super) fn read(
    entry: Option<&DrainEntry>,
    reported: Option<&InstanceStatus>,
    written_at: UnixMs,
) -> Result<Option<Drain>, String> {
    let since = reported.and_then(|reported| reported.drained_since).unwrap_or(written_at);
    entry.map(|entry| read_drain(entry, since)).transpose().map_err(|error| format!("drain.{error}"))
}

/// Whether the leader has ended it. Another `until` makes it another drain.
pub(super) fn is_over(drain: &Drain, reported: Option<&InstanceStatus>) -> bool {
    drain.until.is_some() && reported.is_some_and(|reported| reported.drain_over == drain.until)
}
