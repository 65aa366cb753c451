//! Whether the wall clock may decide what is too old or over: a clock that jumped ahead would delete all history, and end what people set to
//! last longer.

use std::time::Duration;

use crate::model::time::{Now, UnixMs};

/// How long both clocks have to agree.
const AGREED: Duration = Duration::from_hours(1);
/// How far they may differ, in milliseconds.
const APART: u64 = 60_000;

/// Compares the wall clock with the steady one since the start or the last jump.
#[derive(Debug)]
pub(crate) struct WallClock {
    since: UnixMs,
    ahead: i64,
}

impl WallClock {
    pub(crate) fn new(now: Now) -> Self {
        Self { since: now.steady, ahead: ahead(now) }
    }

    /// Compares the clocks, and returns whether the wall clock can be trusted; a change of it is logged.
    pub(crate) fn is_sound(&mut self, now: Now) -> bool {
        if let Some(jump) = self.jump(now) {
            tracing::warn!(
                seconds = jump / 1000,
                "the wall clock was changed; no history is deleted for its age until the clock has run evenly for an hour"
            );
        }
        self.agrees(now)
    }

    /// Compares the clocks: by how much the wall clock was changed, if it was, in milliseconds. From then on they have to agree anew.
    pub(crate) fn jump(&mut self, now: Now) -> Option<i64> {
        let jump = ahead(now).saturating_sub(self.ahead);
        (jump.unsigned_abs() > APART).then(|| {
            *self = Self::new(now);
            jump
        })
    }

    /// Whether the clocks agreed for long enough, as of the last comparison.
    pub(crate) fn agrees(&self, now: Now) -> bool {
        now.steady.since(self.since) >= AGREED
    }
}

fn ahead(now: Now) -> i64 {
    now.wall.0.saturating_sub(now.steady.0)
}
