//! One round of canaries.

use super::sample::{Entry, TargetResult, count_losses};
use super::{FEW_CANARIES, ROUND};
use crate::model::service::CheckId;
use crate::model::time::UnixMs;

/// Canaries probed together, and what they answered.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) at: UnixMs,
    pub(super) canaries: Vec<(Entry, Option<bool>)>,
}

impl Round {
    /// `Some(true)`: most are lost. A missing answer counts as lost once the time is over; until then the verdict stays open.
    pub(super) fn verdict(&self, now: UnixMs) -> Option<bool> {
        let results = self.canaries.iter().map(|(e, answer)| TargetResult {
            ns: e.ns,
            location: e.location,
            lost: *answer != Some(true),
        });
        let lost = count_losses(results).mostly_lost();
        let over = now.since(self.at) >= ROUND || self.canaries.iter().all(|(_, answer)| answer.is_some());
        (!lost || over).then_some(lost)
    }

    pub(super) fn answer(&mut self, check: CheckId, reached: bool) {
        if let Some((_, answer)) = self.canaries.iter_mut().find(|(e, answer)| e.check == check && answer.is_none()) {
            *answer = Some(reached);
        }
    }
}

/// A few reached targets among many lost ones prove little (they may be next door): lost ones are added, up to [`FEW_CANARIES`] or
/// `limit`.
pub(super) fn add_lost(canaries: &mut Vec<Entry>, lost: Vec<Entry>, limit: usize) {
    for entry in lost {
        if canaries.len() < FEW_CANARIES.min(limit) && canaries.iter().all(|c| c.location != entry.location) {
            canaries.push(entry);
        }
    }
}
