//! How many probes may be runnable at once: a few per core, whatever the number of slots.
//!
//! A probe that waits for its peer holds a slot and costs nothing; one that has just started or just heard from its peer needs the
//! processor. If all slots were filled at once, each probe would wait for all others, and on an overloaded machine would time out by our
//! own fault. So the probes that started a moment ago and have not ended are counted, and more are started as they end or turn out to
//! wait. The bound follows from how late the engine itself wakes up, which is how late everything on these threads is.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// A probe that has not ended by then waits for its peer, unless the processor is short.
const YOUNG: Duration = Duration::from_millis(5);
/// By then it waits for its peer in any case.
const OLD: Duration = Duration::from_millis(100);
/// Waking up this late means that the processor is short.
const LATE: Duration = Duration::from_millis(10);
/// The lower bound on runnable probes, per core.
const FEWEST_PER_CORE: usize = 8;
/// The upper bound on runnable probes, per core.
const MOST_PER_CORE: usize = 64;
/// A probe that has not ended by then hangs, or may.
const HANGS: Duration = Duration::from_millis(250);

/// Probes that started at the same instant.
#[derive(Debug)]
struct Started {
    at: Instant,
    /// How many of them have not ended.
    open: usize,
}

/// The young probes, and how many there may be.
#[derive(Debug)]
pub(crate) struct Pace {
    young: VecDeque<Started>,
    open: usize,
    allowed: usize,
    fewest: usize,
    most: usize,
}

impl Pace {
    pub(crate) fn new(cores: usize) -> Self {
        let (fewest, most) = (FEWEST_PER_CORE * cores, MOST_PER_CORE * cores);
        Self { young: VecDeque::new(), open: 0, allowed: most / 4, fewest, most }
    }

    /// A tick at `now`, `late` after it was planned.
    pub(crate) fn tick(&mut self, now: Instant, late: Duration) {
        let full = self.room() == 0;
        let young = if late >= LATE { OLD } else { YOUNG };
        while self.young.front().is_some_and(|started| now.duration_since(started.at) >= young) {
            self.open -= self.young.pop_front().map_or(0, |started| started.open);
        }
        if late >= LATE {
            self.allowed = (self.allowed / 2).max(self.fewest);
        } else if full {
            self.allowed = (self.allowed + self.allowed / 4).min(self.most);
        }
    }

    /// How many more may start now.
    pub(crate) fn room(&self) -> usize {
        self.allowed.saturating_sub(self.open)
    }

    /// Notes that one starts.
    pub(crate) fn started(&mut self, now: Instant) {
        self.open += 1;
        match self.young.back_mut() {
            Some(last) if last.at == now => last.open += 1,
            _ => self.young.push_back(Started { at: now, open: 1 }),
        }
    }

    /// Notes that one that started at `at` has ended.
    pub(crate) fn ended(&mut self, at: Instant) {
        let position = self.young.partition_point(|started| started.at < at);
        if let Some(started) = self.young.get_mut(position).filter(|started| started.at == at && started.open > 0) {
            started.open -= 1;
            self.open -= 1;
        }
    }
}

/// When a probe that started at `at` counts as one that hangs.
pub(crate) fn hangs_at(at: Instant) -> Instant {
    at + HANGS
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(5);

    #[test]
    fn young_probes_are_bounded_and_waiting_ones_make_room() {
        let mut pace = Pace::new(1);
        let mut now = Instant::now();
        let at_first = pace.room();
        (0..at_first).for_each(|_| pace.started(now));
        assert_eq!(pace.room(), 0);
        let first = now;
        pace.ended(first);
        assert_eq!(pace.room(), 1);
        now += YOUNG;
        pace.tick(now, LATE);
        assert!(pace.room() <= 1, "we are late, so they may wait for us");
        now += YOUNG;
        pace.tick(now, Duration::ZERO);
        let at_first = pace.room();
        assert!(at_first >= FEWEST_PER_CORE, "the others wait for their peers");
        pace.ended(first);
        assert_eq!(pace.room(), at_first, "one that was dropped counts once");
    }

    #[test]
    fn a_machine_that_is_late_starts_fewer_and_one_with_room_more() {
        let mut pace = Pace::new(2);
        let mut now = Instant::now();
        for _ in 0..20 {
            now += TICK;
            pace.tick(now, LATE);
        }
        assert_eq!(pace.room(), 2 * FEWEST_PER_CORE);
        for _ in 0..60 {
            now += TICK;
            (0..pace.room()).for_each(|_| pace.started(now));
            pace.tick(now, Duration::ZERO);
        }
        now += YOUNG;
        pace.tick(now, Duration::ZERO);
        assert_eq!(pace.room(), 2 * MOST_PER_CORE);
        for _ in 0..60 {
            now += YOUNG;
            pace.tick(now, Duration::ZERO);
        }
        assert_eq!(pace.room(), 2 * MOST_PER_CORE, "an unused allowance is not reduced");
    }
}
