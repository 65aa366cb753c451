//! Who ends a connection first, and so keeps its port busy for a minute (TIME_WAIT).
//!
//! A peer that closes first spares us that. Where we close first with a FIN, the port waits here; a machine has about 28,000 of them, so
//! beyond a few thousand waiting sockets a connection is reset instead.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the system is asked how many there are.
const ASKED_EVERY: Duration = Duration::from_millis(500);
/// How long a socket waits (Linux: `TCP_TIMEWAIT_LEN`).
const WAIT: Duration = Duration::from_mins(1);
const COUNTERS: &str = "/proc/net/sockstat";

/// Counts the sockets that wait, as the kernel says, or by our own where it does not.
#[derive(Debug)]
pub(crate) struct TimeWait {
    /// Most sockets of this machine in TIME_WAIT while more may be added.
    most: u32,
    count: Mutex<Count>,
}

#[derive(Debug)]
struct Count {
    asked: Option<Instant>,
    waiting: u32,
    /// Ended first by us since then.
    since: u32,
}

impl TimeWait {
    pub(crate) fn new(most: u32) -> Self {
        Self { most, count: Mutex::new(Count { asked: None, waiting: 0, since: 0 }) }
    }

    /// Whether one more connection may be ended with a FIN before the peer's; counts it if so.
    pub(crate) fn may_be_first(&self) -> bool {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        count.refresh(Instant::now(), || std::fs::read_to_string(COUNTERS).ok().as_deref().and_then(time_wait));
        count.take(self.most)
    }
}

impl Count {
    fn refresh(&mut self, now: Instant, system: impl FnOnce() -> Option<u32>) {
        let passed = self.asked.map(|asked| now.duration_since(asked));
        if passed.is_some_and(|passed| passed < ASKED_EVERY) {
            return;
        }
        self.waiting = system().unwrap_or_else(|| self.left(passed.unwrap_or(WAIT)));
        self.since = 0;
        self.asked = Some(now);
    }

    /// About how many of ours still wait.
    fn left(&self, passed: Duration) -> u32 {
        let all = self.waiting.saturating_add(self.since);
        let seconds = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let gone = u64::from(all) * u64::from(seconds(passed)) / u64::from(seconds(WAIT));
        all.saturating_sub(u32::try_from(gone).unwrap_or(u32::MAX))
    }

    fn take(&mut self, most: u32) -> bool {
        let room = self.waiting.saturating_add(self.since) < most;
        self.since += u32::from(room);
        room
    }
}

/// The count in the line `TCP: inuse 5 orphan 0 tw 17 alloc 9 mem 2`.
fn time_wait(text: &str) -> Option<u32> {
    let mut words = text.lines().find_map(|line| line.strip_prefix("TCP:"))?.split_ascii_whitespace();
    words.find(|word| *word == "tw")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 4096;

    #[test]
    fn connections_are_ended_first_until_too_many_wait() {
        let start = Instant::now();
        let mut count = Count { asked: None, waiting: 0, since: 0 };
        count.refresh(start, || {
            time_wait("sockets: used 9\nTCP: inuse 5 orphan 0 tw 4094 alloc 9 mem 2\nUDP: inuse 1\n")
        });
        assert_eq!([count.take(MOST), count.take(MOST), count.take(MOST)], [true, true, false]);
        count.refresh(start, || Some(0));
        assert!(!count.take(MOST), "not asked again so soon");
        count.refresh(start + ASKED_EVERY, || Some(0));
        assert!(count.take(MOST));
    }

    #[test]
    fn without_the_systems_count_our_own_runs_out_within_a_minute() {
        let start = Instant::now();
        let mut count = Count { asked: None, waiting: 0, since: 0 };
        count.refresh(start, || None);
        while count.take(MOST) {}
        count.refresh(start + WAIT / 2, || None);
        assert_eq!(count.waiting, MOST / 2);
        count.refresh(start + WAIT * 2, || None);
        assert_eq!(count.waiting, 0);
    }
}
