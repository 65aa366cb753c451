//! Whether the wall clock may say what is too old: one that jumped ahead would have all history forgotten.

use std::time::Duration;

use crate::model::time::{Now, UnixMs};

/// How long the wall clock has to go with the steady one.
const AGREED: Duration = Duration::from_hours(1);
/// How far they may part.
const APART: u64 = 60_000;

/// The wall clock held against the steady one, from the start or the last jump on.
#[derive(Debug)]
pub(in crate::store) struct WallClock {
    since: UnixMs,
    ahead: i64,
}

impl WallClock {
    pub(in crate::store) fn new(now: Now) -> Self {
        Self { since: now.steady, ahead: ahead(now) }
    }

    /// Looks, and says whether the wall clock can be believed.
    pub(in crate::store) fn is_sound(&mut self, now: Now) -> bool {
        let jump = ahead(now).saturating_sub(self.ahead);
        if jump.unsigned_abs() > APART {
            *self = Self::new(now);
            tracing::warn!(
                seconds = jump / 1000,
                "the wall clock was set; no history is forgotten for its age before the clock has run evenly for an hour"
            );
        }
        now.steady.since(self.since) >= AGREED
    }
}

fn ahead(now: Now) -> i64 {
    now.wall.0.saturating_sub(now.steady.0)
}
