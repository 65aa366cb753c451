//! How long a connection may stay in a phase.
//!
//! One coarse timer per connection reads its [`Activity`]; only an incomplete head or a blocked write sets that timer to a precise deadline.

use std::time::Duration;

use tokio::time::Instant;

use super::ConnSettings;
use super::activity::{Activity, Observation, Phase};

/// The result of an inspection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inspection {
    /// Not expired; inspect again at this time.
    Again(Instant),
    /// The phase took too long.
    Expired(Phase),
}

/// Inspects an [`Activity`] whenever the timer fires.
#[derive(Debug)]
pub(super) struct Watchdog {
    limits: Limits,
    observed: Observation,
    since: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    head: Duration,
    idle: Duration,
    write: Duration,
    /// The fewest bytes that a peer must accept within `write`.
    least: u32,
}

/// Longest wait for the peer's last bytes.
const CLOSING: Duration = Duration::from_secs(2);

impl Watchdog {
    /// For a connection that opens now.
    pub(super) fn new(settings: &ConnSettings, now: Instant) -> Self {
        let least = u128::from(settings.write_rate) * settings.write.as_millis() / 1000;
        let least = u32::try_from(least).unwrap_or(u32::MAX).max(1);
        let limits = Limits { head: settings.head, idle: settings.idle, write: settings.write, least };
        Self { limits, observed: Observation { phase: Phase::Fresh, episode: 0, sent: 0 }, since: now }
    }

    /// Whether the connection has made no real progress since the last observation.
    fn is_stalled(&self, now: Observation) -> bool {
        let accepted = now.sent.wrapping_sub(self.observed.sent);
        now.phase == self.observed.phase && now.episode == self.observed.episode && accepted < self.limits.least
    }

    /// When to inspect first.
    pub(super) fn first_inspection(&self) -> Instant {
        self.since + self.limits.head
    }

    /// The deadline of a phase that begins now and needs a precise one; `None` where the coarse timer is enough.
    pub(super) fn precise_deadline(&mut self, activity: &Activity, now: impl FnOnce() -> Instant) -> Option<Instant> {
        let phase = activity.phase();
        let limit = match phase {
            Phase::Fresh | Phase::Idle | Phase::InFlight => return None,
            Phase::Head => self.limits.head,
            Phase::Blocked => self.limits.write,
            Phase::Closing => CLOSING.min(self.limits.write),
        };
        let observed = activity.observe(phase);
        if self.is_stalled(observed) {
            return None;
        }
        self.observed = observed;
        self.since = now();
        Some(self.since + limit)
    }

    pub(super) fn inspect(&mut self, activity: &Activity, now: Instant) -> Inspection {
        let phase = activity.phase();
        let observed = activity.observe(phase);
        if !self.is_stalled(observed) {
            self.observed = observed;
            self.since = now;
        }
        let limit = match phase {
            Phase::Fresh | Phase::Head => self.limits.head,
            Phase::Blocked => self.limits.write,
            Phase::Closing => CLOSING.min(self.limits.write),
            Phase::Idle => self.limits.idle,
            Phase::InFlight => return Inspection::Again(now + self.limits.idle / 4),
        };
        let end = self.since + limit;
        if now >= end {
            return Inspection::Expired(phase);
        }
        // Use of an idle connection in between goes unnoticed: inspect so often that expiry is noticed at most a quarter of the limit late.
        Inspection::Again(if phase == Phase::Idle { end.min(now + limit / 4) } else { end })
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    fn dog() -> (Watchdog, Activity, Instant) {
        let now = Instant::now();
        (Watchdog::new(&ConnSettings::default(), now), Activity::default(), now)
    }

    fn after(now: Instant, seconds: u64) -> Instant {
        now + Duration::from_secs(seconds)
    }

    #[test]
    fn a_connection_that_sends_nothing_ends_after_the_heads_time() {
        let (mut dog, activity, now) = dog();
        assert_eq!(dog.first_inspection(), after(now, 5));
        assert_eq!(dog.inspect(&activity, after(now, 4)), Inspection::Again(after(now, 5)));
        assert_eq!(dog.inspect(&activity, after(now, 5)), Inspection::Expired(Phase::Fresh));
    }

    #[test]
    fn a_dripping_head_has_one_limit_from_its_first_byte() {
        let (mut dog, activity, now) = dog();
        activity.read();
        assert_eq!(dog.precise_deadline(&activity, || after(now, 1)), Some(after(now, 6)));
        activity.read();
        assert_eq!(dog.precise_deadline(&activity, || after(now, 4)), None, "another drop buys no time");
        assert_eq!(dog.inspect(&activity, after(now, 6)), Inspection::Expired(Phase::Head));
    }

    #[test]
    fn a_keep_alive_connection_lives_while_it_asks() {
        let (mut dog, activity, now) = dog();
        let ask = || {
            activity.read();
            activity.request();
            activity.answered();
            activity.handed();
            activity.flushed();
        };
        ask();
        assert_eq!(activity.phase(), Phase::Idle);
        assert_eq!(dog.precise_deadline(&activity, || now), None, "a served request arms nothing");
        let Inspection::Again(mut at) = dog.inspect(&activity, after(now, 5)) else { panic!("over") };
        for _ in 0..20 {
            ask();
            let Inspection::Again(next) = dog.inspect(&activity, at) else { panic!("over") };
            at = next;
        }
        let start = at;
        let end = loop {
            match dog.inspect(&activity, at) {
                Inspection::Again(next) => at = next,
                Inspection::Expired(phase) => break (at - start, phase),
            }
        };
        assert_eq!(end.1, Phase::Idle);
        assert!(end.0 <= Duration::from_secs(75) && end.0 >= Duration::from_secs(75 / 2), "{end:?}");
    }

    #[test]
    fn a_handler_may_take_its_time_and_a_blocked_write_may_not() {
        let (mut dog, activity, now) = dog();
        activity.read();
        activity.request();
        assert!(matches!(dog.inspect(&activity, after(now, 1000)), Inspection::Again(_)));
        activity.answered();
        activity.wrote(&Poll::Pending);
        assert_eq!(dog.precise_deadline(&activity, || after(now, 1000)), Some(after(now, 1010)));
        take(&activity, 40 * 1024);
        assert_eq!(dog.precise_deadline(&activity, || after(now, 1009)), Some(after(now, 1019)), "progress buys time");
        take(&activity, 40 * 1024 - 1);
        assert_eq!(dog.precise_deadline(&activity, || after(now, 1018)), None, "too little of it buys none");
        assert_eq!(dog.inspect(&activity, after(now, 1019)), Inspection::Expired(Phase::Blocked));
    }

    fn take(activity: &Activity, bytes: usize) {
        activity.wrote(&Poll::Ready(Ok(bytes)));
        activity.wrote(&Poll::Pending);
    }

    #[test]
    fn an_answer_that_left_whole_is_no_part_of_the_next_ones_time() {
        let (mut dog, activity, now) = dog();
        activity.wrote(&Poll::Pending);
        assert_eq!(dog.precise_deadline(&activity, || now), Some(after(now, 10)));
        activity.wrote(&Poll::Ready(Ok(10)));
        activity.flushed();
        activity.wrote(&Poll::Pending);
        assert_eq!(dog.precise_deadline(&activity, || after(now, 9)), Some(after(now, 19)));
        assert_eq!(dog.inspect(&activity, after(now, 10)), Inspection::Again(after(now, 19)));
    }
}
