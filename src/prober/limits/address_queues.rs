//! The instances that wait for an address whose budget is spent, and when each queue is looked at next.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::address_budget::{Budget, Delay, DelayedCheck};
use crate::model::service::CheckId;
use crate::model::time::UnixMs;
use crate::prober::addresses::budget_key;

/// The address budgets' queues, driven by the engine.
#[derive(Debug)]
pub(crate) struct AddressQueues {
    budget: Arc<Budget>,
    wakeups: BinaryHeap<Reverse<(UnixMs, IpAddr)>>,
    /// Addresses in `wakeups`.
    planned: HashSet<IpAddr>,
}

impl AddressQueues {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, wakeups: BinaryHeap::new(), planned: HashSet::new() }
    }

    /// Queues a check for its address: in its turn, or in front if that queue released it before.
    pub(crate) fn wait(&mut self, delay: Delay, delayed: &DelayedCheck, in_front: bool) {
        self.budget.wait(delay.key, delayed, in_front);
        self.wake(delay.key, delay.until);
    }

    /// Looks at an address again at `at`, unless that is planned already.
    pub(crate) fn wake(&mut self, key: IpAddr, at: UnixMs) {
        if self.planned.insert(key) {
            self.wakeups.push(Reverse((at, key)));
        }
    }

    /// When the next address is due.
    pub(crate) fn next(&self) -> Option<UnixMs> {
        self.wakeups.peek().map(|Reverse((at, _))| *at)
    }

    /// An address that is due now.
    pub(crate) fn pop_wakeup(&mut self, now: UnixMs) -> Option<IpAddr> {
        let Reverse((at, key)) = *self.wakeups.peek()?;
        if at > now {
            return None;
        }
        self.wakeups.pop();
        self.planned.remove(&key);
        Some(key)
    }

    /// See [`Budget::release`].
    pub(crate) fn release(&self, key: IpAddr, now: UnixMs) -> (Option<CheckId>, Option<UnixMs>) {
        self.budget.release(key, now)
    }

    /// See [`Budget::room_at`]; `key` is a budget key.
    pub(crate) fn room_at(&self, key: IpAddr, may_hang: bool, now: UnixMs) -> UnixMs {
        self.budget.room_at(key, may_hang, now)
    }

    /// See [`Budget::room_at`], for an address in any spelling.
    pub(crate) fn room_at_address(&self, address: IpAddr, may_hang: bool, now: UnixMs) -> UnixMs {
        self.budget.room_at(budget_key(address), may_hang, now)
    }

    /// See [`Budget::sweep`].
    pub(crate) fn sweep(&self, now: UnixMs) {
        self.budget.sweep(now);
    }
}
