//! The clock of leases: it stands still while nobody could have been heard.
//!
//! Between two looks it advances, except
//! - while the mass-failure guard holds: then this machine may be cut off from everybody;
//! - while the listener turns connections away ([`Reachability`]);
//! - if the looks are further apart than [`LONGEST_GAP`]: then this process was stopped, or got no processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::model::reachability::Reachability;
use crate::model::time::UnixMs;

/// The engine looks at least twice a second.
const LONGEST_GAP: Duration = Duration::from_millis(2_500);
/// A listener that has turned nobody away for this long hears everybody again.
const DEAF_FOR: Duration = Duration::from_mins(1);

/// The time that was lost so far, shared with those who hear heartbeats: milliseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lost(Arc<AtomicI64>);

impl Lost {
    /// The leases' clock at `steady`.
    pub(crate) fn at(&self, steady: UnixMs) -> UnixMs {
        UnixMs(steady.0.saturating_sub(self.0.load(Ordering::Relaxed)))
    }

    /// When the leases' clock will show `at`, if it does not stand still: steady clock.
    pub(crate) fn steady(&self, at: UnixMs) -> UnixMs {
        UnixMs(at.0.saturating_add(self.0.load(Ordering::Relaxed)))
    }
}

/// Moves the leases' clock. Only the engine does.
#[derive(Debug)]
pub(crate) struct LeaseClock {
    lost: Lost,
    reachability: Reachability,
    /// The last look, steady clock.
    looked: Option<UnixMs>,
    /// Connections turned away as of the last look, and when that number last grew.
    turned_away: (u64, UnixMs),
}

impl LeaseClock {
    pub(crate) fn new(reachability: Reachability) -> Self {
        Self { lost: Lost::default(), reachability, looked: None, turned_away: (0, UnixMs(0)) }
    }

    pub(crate) fn lost(&self) -> &Lost {
        &self.lost
    }

    /// Looks at `now`, steady clock. `holding`: the guard holds.
    pub(crate) fn look(&mut self, now: UnixMs, holding: bool) {
        let Some(looked) = self.looked.replace(now) else { return };
        let gap = now.since(looked);
        if holding || self.is_deaf(now) || gap > LONGEST_GAP {
            let gap = i64::try_from(gap.as_millis()).unwrap_or(0);
            self.lost.0.fetch_add(gap, Ordering::Relaxed);
        }
    }

    fn is_deaf(&mut self, now: UnixMs) -> bool {
        let (count, full) = self.reachability.read();
        if count != self.turned_away.0 {
            self.turned_away = (count, now);
            return true;
        }
        full && now.since(self.turned_away.1) < DEAF_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every 500 ms from `from` to `to`.
    fn run(clock: &mut LeaseClock, from: i64, to: i64, holding: bool) {
        (from..=to).step_by(500).for_each(|at| clock.look(UnixMs(at), holding));
    }

    #[test]
    fn it_stands_still_while_nobody_could_be_heard() {
        let reachability = Reachability::default();
        let mut clock = LeaseClock::new(reachability.clone());
        run(&mut clock, 0, 10_000, false);
        assert_eq!(clock.lost().at(UnixMs(10_000)), UnixMs(10_000));
        run(&mut clock, 10_500, 70_000, true);
        assert_eq!(clock.lost().at(UnixMs(70_000)), UnixMs(10_000), "the guard holds");
        clock.look(UnixMs(100_000), false);
        assert_eq!(clock.lost().at(UnixMs(100_000)), UnixMs(10_000), "the process was stopped");
        reachability.turned_away();
        run(&mut clock, 100_500, 130_000, false);
        assert_eq!(clock.lost().at(UnixMs(130_000)), UnixMs(10_000), "the listener is full");
        reachability.admitted();
        run(&mut clock, 130_500, 140_000, false);
        assert_eq!(clock.lost().at(UnixMs(140_000)), UnixMs(20_000));
        assert_eq!(clock.lost().steady(UnixMs(20_000)), UnixMs(140_000));
    }

    #[test]
    fn a_full_listener_that_nobody_tries_does_not_keep_everything_alive() {
        let reachability = Reachability::default();
        let mut clock = LeaseClock::new(reachability.clone());
        clock.look(UnixMs(0), false);
        reachability.turned_away();
        run(&mut clock, 500, 200_000, false);
        let shown = clock.lost().at(UnixMs(200_000)).0;
        assert!((139_000..=140_000).contains(&shown), "a minute is given back: {shown}");
    }
}
