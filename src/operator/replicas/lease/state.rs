//! The election's result, for everything that asks before a write or a probe.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::decide::RENEW;
use crate::model::ports::Role;

/// Another replica that holds the Lease, as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub identity: String,
    /// Where it answers; none if it gave no valid address.
    pub address: Option<SocketAddr>,
}

/// The claim is a moment on the monotonic clock that every reader compares with its own reading, so it ends without anybody's action.
#[derive(Debug)]
pub(super) struct State {
    base: Instant,
    /// End of the claim, in nanoseconds after `base`; 0 for none.
    until: AtomicU64,
    /// Whether it led, and has seen no other holder since.
    led: AtomicBool,
    holder: ArcSwapOption<Holder>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            base: Instant::now(),
            until: AtomicU64::new(0),
            led: AtomicBool::new(false),
            holder: ArcSwapOption::empty(),
        }
    }

    /// The steady clock.
    pub(super) fn now(&self) -> Duration {
        self.base.elapsed()
    }

    pub(super) fn role(&self) -> Role {
        let until = Duration::from_nanos(self.until.load(Ordering::Acquire));
        if self.now() < until {
            Role::Leads
        } else if self.led.load(Ordering::Acquire) {
            Role::Alone
        } else {
            Role::Follows
        }
    }

    pub(super) fn holder(&self) -> Option<Holder> {
        self.holder.load().as_deref().cloned()
    }

    /// The renewal sent at `sent` succeeded.
    pub(super) fn renewed(&self, sent: Duration) {
        let until = u64::try_from((sent + RENEW).as_nanos()).unwrap_or(u64::MAX);
        self.holder.store(None);
        self.led.store(true, Ordering::Release);
        self.until.store(until, Ordering::Release);
    }

    /// Another replica holds the Lease.
    pub(super) fn follows(&self, holder: Holder) {
        self.gives_up();
        self.holder.store(Some(holder.into()));
    }

    /// Gives up the claim.
    pub(super) fn gives_up(&self) {
        self.until.store(0, Ordering::Release);
        self.led.store(false, Ordering::Release);
    }
}
