//! Bounds the sockets in TIME_WAIT: the side that closes a connection first keeps its port busy for a minute.
//!
//! If the peer closes first, its port waits. If we close first with a FIN, ours does; a machine has about 28,000 of them, so beyond a few
//! thousand waiting sockets a connection is reset instead.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the kernel's count is read.
const READ_EVERY: Duration = Duration::from_millis(500);
/// How long a socket stays in TIME_WAIT (Linux: `TCP_TIMEWAIT_LEN`).
const WAIT: Duration = Duration::from_mins(1);
/// This process's own view, since the whole of `/proc/net` is hidden from a unit with `ProcSubset=pid`.
const COUNTERS: &str = "/proc/self/net/sockstat";

/// Counts the sockets in TIME_WAIT: the kernel's count, or our own estimate where there is none.
#[derive(Debug)]
pub(crate) struct TimeWait {
    /// Most sockets of this machine in TIME_WAIT while more may be added.
    most: u32,
    count: Mutex<Count>,
}

#[derive(Debug)]
struct Count {
    read: Option<Instant>,
    waiting: u32,
    /// Closed first by us since then.
    since: u32,
}

impl TimeWait {
    pub(crate) fn new(most: u32) -> Self {
        Self { most, count: Mutex::new(Count { read: None, waiting: 0, since: 0 }) }
    }

    /// Whether one more connection may be closed before the peer closes it; counts it if so.
    pub(crate) fn may_be_first(&self) -> bool {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        count.refresh(Instant::now(), || std::fs::read_to_string(COUNTERS).ok().as_deref().and_then(time_wait));
        count.take(self.most)
    }
}

impl Count {
    fn refresh(&mut self, now: Instant, system: impl FnOnce() -> Option<u32>) {
        let passed = self.read.map(|read| now.duration_since(read));
        if passed.is_some_and(|passed| passed < READ_EVERY) {
            return;
        }
        self.waiting = system().unwrap_or_else(|| self.left(passed.unwrap_or(WAIT)));
        self.since = 0;
        self.read = Some(now);
    }

    /// An estimate of how many of ours still wait.
    fn left(&self, passed: Duration) -> u32 {
        let all = self.waiting.saturating_add(self.since);
        let seconds = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        let expired = u64::from(all) * u64::from(seconds(passed)) / u64::from(seconds(WAIT));
        all.saturating_sub(u32::try_from(expired).unwrap_or(u32::MAX))
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

    const LIMIT: u32 = 4096;

    #[test]
    fn connections_are_closed_first_until_too_many_wait() {
        let start = Instant::now();
        let mut count = Count { read: None, waiting: 0, since: 0 };
        count.refresh(start, || {
            time_wait("sockets: used 9\nTCP: inuse 5 orphan 0 tw 4094 alloc 9 mem 2\nUDP: inuse 1\n")
        });
        assert_eq!([count.take(LIMIT), count.take(LIMIT), count.take(LIMIT)], [true, true, false]);
        count.refresh(start, || Some(0));
        assert!(!count.take(LIMIT), "not read again so soon");
        count.refresh(start + READ_EVERY, || Some(0));
        assert!(count.take(LIMIT));
    }

    #[test]
    fn without_the_systems_count_our_own_runs_out_within_a_minute() {
        let start = Instant::now();
        let mut count = Count { read: None, waiting: 0, since: 0 };
        count.refresh(start, || None);
        while count.take(LIMIT) {}
        count.refresh(start + WAIT / 2, || None);
        assert_eq!(count.waiting, LIMIT / 2);
        count.refresh(start + WAIT * 2, || None);
        assert_eq!(count.waiting, 0);
    }
}
