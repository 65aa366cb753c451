//! The state of an instance's check: what is shown, and what counts towards a change.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FLAP_WINDOW, MAX_FLAPS, MIN_ALLOWANCE, STEADY_PASSES, STEADY_SPAN};
use crate::model::check::Timing;
use crate::model::outcome::{Health, Reason};
use crate::model::time::{Now, UnixMs};

/// Conclusive outcomes of one kind in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub enum Streak {
    /// None yet, or none since it became unproven.
    None,
    /// Passes, ≥ 1.
    Pass(u32),
    /// Fails, ≥ 1.
    Fail(u32),
}

impl From<Streak> for i64 {
    fn from(streak: Streak) -> Self {
        match streak {
            Streak::None => 0,
            Streak::Pass(n) => n.into(),
            Streak::Fail(n) => -Self::from(n),
        }
    }
}

impl From<i64> for Streak {
    fn from(n: i64) -> Self {
        let count = u32::try_from(n.unsigned_abs()).unwrap_or(u32::MAX);
        match n.signum() {
            0 => Self::None,
            1 => Self::Pass(count),
            _ => Self::Fail(count),
        }
    }
}

/// The conclusive outcomes of one kind in a row, and how many of them change the health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreakProgress {
    /// Whether they passed.
    pub passing: bool,
    /// How many there are.
    pub count: u32,
    /// How many change the health, ≥ 1.
    pub of: u32,
}

/// A check's state: compact JSON, stored with the probe row. Its times are of the steady clock, except `since`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckState {
    #[serde(flatten)]
    pub(super) shown: Shown,
    #[serde(rename = "n")]
    pub(super) streak: Streak,
    /// When the streak began, steady.
    #[serde(rename = "b", with = "millis")]
    pub(super) began: UnixMs,
    /// Last conclusive outcome, or the start of the allowance, steady.
    #[serde(rename = "p", with = "millis")]
    pub(super) proven: UnixMs,
    /// Fails in a row for the same reason.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(super) same: Option<(Reason, u32)>,
}

/// The part that readers see, which a withheld step leaves unchanged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Shown {
    #[serde(rename = "h")]
    pub(super) health: Health,
    #[serde(rename = "r")]
    pub(super) reason: Reason,
    /// Wall clock.
    #[serde(rename = "s", with = "millis")]
    pub(super) since: UnixMs,
    #[serde(rename = "f", default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) held: bool,
    /// Steady times of the latest counted changes, oldest first, at most [`MAX_FLAPS`].
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty", with = "many_millis")]
    pub(super) flaps: Vec<UnixMs>,
}

impl CheckState {
    /// A new or changed instance: unknown, `Probing`.
    pub fn new(now: Now) -> Self {
        let shown =
            Shown { health: Health::Unknown, reason: Reason::Probing, since: now.wall, held: false, flaps: Vec::new() };
        Self { shown, streak: Streak::None, began: now.steady, proven: now.steady, same: None }
    }

    /// A state that shows this health, with nothing counted for or against it: for an instance whose own state is lost.
    pub fn shown_as(health: Health, reason: Reason, since: UnixMs, now: Now) -> Self {
        let held = health == Health::Unhealthy && reason == Reason::Flapping;
        let shown = Shown { health, reason, since, held, flaps: Vec::new() };
        Self { shown, ..Self::new(now) }
    }

    /// The state after a restart. Health, reason, streak and hold stay. `Unproven` gets a fresh allowance, since nothing could have been
    /// probed. Times in the future (the clock was set back meanwhile) become now. The time away does not count as steady passing: a pause
    /// within the allowance is cut out of the streak, a longer one restarts its span and the passes that end a hold.
    #[must_use]
    pub fn resume(mut self, timing: &Timing, now: Now) -> Self {
        let span = self.proven.since(self.began);
        let paused = now.steady.since(self.proven) < allowance(timing);
        self.began = if paused { now.steady.minus(span) } else { now.steady };
        if self.shown.held && !paused {
            // The time until the next pass proves nothing either.
            self.streak = Streak::None;
        }
        self.proven = now.steady;
        self.shown.since = self.shown.since.min(now.wall);
        let surplus = self.shown.flaps.len().saturating_sub(MAX_FLAPS);
        self.shown.flaps.drain(..surplus);
        for at in &mut self.shown.flaps {
            *at = (*at).min(now.steady);
        }
        self
    }

    /// What the outcomes add up to.
    pub fn health(&self) -> Health {
        self.shown.health
    }

    /// Why; while unhealthy the latest confirmed reason.
    pub fn reason(&self) -> Reason {
        self.shown.reason
    }

    /// Since when the health is what it is, wall clock.
    pub fn since(&self) -> UnixMs {
        self.shown.since
    }

    /// Whether it is held unhealthy for flapping.
    pub fn held(&self) -> bool {
        self.shown.held
    }

    /// Conclusive outcomes in a row.
    pub fn streak(&self) -> Streak {
        self.streak
    }

    /// The streak, and how long it has to be to change the health.
    pub fn progress(&self, timing: &Timing) -> StreakProgress {
        let passes = match (self.health(), self.held()) {
            // The very first pass is enough.
            (Health::Unknown, _) => 1,
            (_, true) => STEADY_PASSES.max(timing.healthy_threshold),
            (_, false) => timing.healthy_threshold,
        };
        match self.streak {
            Streak::None => StreakProgress { passing: self.health() != Health::Unhealthy, count: 0, of: passes },
            Streak::Pass(count) => StreakProgress { passing: true, count, of: passes },
            Streak::Fail(count) => StreakProgress { passing: false, count, of: timing.unhealthy_threshold },
        }
    }

    /// When the streak began, steady clock; for [`Streak::None`] when the state did or when it became unproven.
    pub fn streak_since(&self) -> UnixMs {
        self.began
    }

    /// How long its fails in a row span; zero without a fail.
    pub fn failing_for(&self) -> Duration {
        if matches!(self.streak, Streak::Fail(_)) { self.proven.since(self.began) } else { Duration::ZERO }
    }

    /// The same if all of them came for this reason; else zero.
    pub fn failing_for_only(&self, reason: Reason) -> Duration {
        match (self.streak, self.same) {
            (Streak::Fail(all), Some((same, n))) if same == reason && n >= all => self.failing_for(),
            _ => Duration::ZERO,
        }
    }

    /// When [`super::Event::Silence`] would make it unknown, steady clock: max(3 intervals, 3 timeouts, 60 s) after the last conclusive
    /// outcome (a timeout longer than the interval stretches the time between outcomes). `i64::MAX` if silence changes nothing, because
    /// it is unproven already, its check cannot run, or it is held.
    pub fn unproven_at(&self, timing: &Timing) -> UnixMs {
        let barred = self.shown.health == Health::Unknown && self.shown.reason.bars_check();
        if self.shown.held || self.shown.reason == Reason::Unproven || barred {
            return UnixMs(i64::MAX);
        }
        self.proven.plus(allowance(timing))
    }

    /// Subtracts from its silence, and from the time for which it fails, a time in which it was due but waited for the prober, at most
    /// the time since the last conclusive outcome.
    pub fn excuse(&mut self, waited: Duration) {
        self.proven = self.proven.plus(waited);
        if matches!(self.streak, Streak::Fail(_)) {
            self.began = self.began.plus(waited);
        }
    }

    pub(super) fn showing_as(self, before: &Self) -> Self {
        Self { shown: before.shown.clone(), ..self }
    }

    /// Whether the last conclusive outcome is so old that the next one starts a new streak.
    pub(super) fn is_stale(&self, timing: &Timing, now: Now) -> bool {
        now.steady.since(self.proven) >= allowance(timing)
    }

    /// One more pass.
    pub(super) fn passed(&self, timing: &Timing, now: Now) -> (Self, u32) {
        let before = match self.streak {
            Streak::Pass(n) if !self.is_stale(timing, now) => n,
            _ => 0,
        };
        let count = before.saturating_add(1);
        (self.counted(Streak::Pass(count), before == 0, None, now), count)
    }

    /// One more fail.
    pub(super) fn failed(&self, reason: Reason, timing: &Timing, now: Now) -> (Self, u32) {
        let stale = self.is_stale(timing, now);
        let before = match self.streak {
            Streak::Fail(n) if !stale => n,
            _ => 0,
        };
        let same = match self.same {
            Some((was, n)) if was == reason && !stale => n.saturating_add(1),
            _ => 1,
        };
        let count = before.saturating_add(1);
        (self.counted(Streak::Fail(count), before == 0, Some((reason, same)), now), count)
    }

    fn counted(&self, streak: Streak, first: bool, same: Option<(Reason, u32)>, now: Now) -> Self {
        let began = if first { now.steady } else { self.began };
        Self { shown: self.shown.clone(), streak, began, proven: now.steady, same }
    }

    /// Whether the passes so far end a hold.
    pub(super) fn is_steady(&self, timing: &Timing, now: Now) -> bool {
        matches!(self.streak, Streak::Pass(n) if n >= STEADY_PASSES.max(timing.healthy_threshold))
            && now.steady.since(self.began) >= STEADY_SPAN
    }

    /// Notes a change between healthy and unhealthy; returns `false` and notes nothing if it is one too many.
    pub(super) fn note_flap(&mut self, now: Now) -> bool {
        self.shown.flaps.retain(|at| now.steady.since(*at) < FLAP_WINDOW);
        let room = self.shown.flaps.len() < MAX_FLAPS;
        if room {
            self.shown.flaps.push(now.steady);
        }
        room
    }
}

/// Time without a conclusive outcome that makes an instance unknown.
pub(super) fn allowance(timing: &Timing) -> Duration {
    timing.interval.max(timing.timeout).saturating_mul(3).max(MIN_ALLOWANCE)
}

mod millis {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::model::time::UnixMs;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn serialize<S: Serializer>(at: &UnixMs, s: S) -> Result<S::Ok, S::Error> {
        at.0.serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<UnixMs, D::Error> {
        i64::deserialize(d).map(UnixMs)
    }
}

mod many_millis {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::time::UnixMs;

    pub(super) fn serialize<S: Serializer>(times: &[UnixMs], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(times.iter().map(|at| at.0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<UnixMs>, D::Error> {
        Ok(Vec::<i64>::deserialize(d)?.into_iter().map(UnixMs).collect())
    }
}
