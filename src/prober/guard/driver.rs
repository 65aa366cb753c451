//! When the guard is judged next: the state that the engine needs to drive it.

use super::{Fall, Guard, GuardState, Observation, Release};
use crate::model::service::CheckId;
use crate::model::time::UnixMs;

/// The guard and its next judgement.
#[derive(Debug)]
pub(crate) struct GuardDriver {
    guard: Guard,
    slots: usize,
    /// When it is judged next, steady clock.
    due: Option<UnixMs>,
}

impl GuardDriver {
    /// For a prober with this many slots.
    pub(crate) fn new(slots: usize) -> Self {
        Self { guard: Guard::within(slots), slots, due: None }
    }

    /// Starts again with nothing known, and returns the state before.
    pub(crate) fn reset(&mut self) -> GuardState {
        let before = self.guard.state();
        *self = Self::new(self.slots);
        before
    }

    /// See [`Guard::observe`].
    pub(crate) fn observe(&mut self, observation: &Observation<'_>) {
        self.guard.observe(observation);
    }

    /// Whether it holds falls, as last judged.
    pub(crate) fn is_holding(&self) -> bool {
        matches!(self.guard.state(), GuardState::Holding { .. })
    }

    /// See [`Guard::holds`].
    pub(crate) fn holds(&mut self, fall: &Fall<'_>, now: UnixMs) -> bool {
        self.guard.holds(fall, now)
    }

    /// See [`Guard::keeps_back`].
    pub(crate) fn keeps_back(&self, check: CheckId) -> bool {
        self.guard.keeps_back(check)
    }

    /// See [`Guard::held`].
    pub(crate) fn held(&self) -> usize {
        self.guard.held()
    }

    /// See [`Guard::forget`].
    pub(crate) fn forget(&mut self, check: CheckId, namespace: &str) {
        self.guard.forget(check, namespace);
    }

    /// See [`Guard::canaries`].
    pub(crate) fn canaries(&mut self) -> Vec<CheckId> {
        self.guard.canaries()
    }

    /// See [`Guard::release_batch`].
    pub(crate) fn release_batch(&mut self, now: UnixMs) -> Vec<Release> {
        self.guard.release_batch(now)
    }

    /// When it is judged next.
    pub(crate) fn due(&self) -> Option<UnixMs> {
        self.due
    }

    /// Judges if that is due: the states before and after.
    pub(crate) fn judge_if_due(&mut self, now: UnixMs) -> Option<(GuardState, GuardState)> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        let before = self.guard.state();
        Some((before, self.guard.judge(now)))
    }

    /// Plans the next judgement, unless one is planned that has not come.
    pub(crate) fn plan(&mut self, now: UnixMs) {
        if self.due.is_none_or(|due| due <= now) {
            self.due = self.guard.due(now);
        }
    }
}
