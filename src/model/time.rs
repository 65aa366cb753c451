//! Points in time, in whole milliseconds, and the one clock that hands them out.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC. Shown as RFC 3339 with three decimals (`2026-01-02T03:04:05.678Z`, always 24 bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// The system clock's reading. It may jump; intervals come from [`Clock::steady`] instead.
    pub fn wall() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    /// Time from `earlier` to `self`, zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `self` moved forward, saturating.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{at:.3}")
    }
}

impl std::str::FromStr for UnixMs {
    type Err = jiff::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse::<jiff::Timestamp>().map(|at| Self(at.as_millisecond()))
    }
}

impl Serialize for UnixMs {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnixMs {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Both readings of one moment: `steady` for intervals and thresholds, `wall` for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock at process start plus the monotonic time since: never jumps while the process lives,
    /// and is comparable with a stored reading after a restart.
    pub steady: UnixMs,
    /// The system clock.
    pub wall: UnixMs,
}

/// The process's clock. Cloning shares the anchor. Tests drive one by hand with [`Clock::manual`].
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System { anchor: UnixMs, started: Instant },
    Manual(Arc<std::sync::Mutex<Now>>),
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self(Source::System { anchor: UnixMs::wall(), started: Instant::now() })
    }

    /// A clock that stands still until [`Clock::set`] moves it.
    pub fn manual(now: Now) -> Self {
        Self(Source::Manual(Arc::new(std::sync::Mutex::new(now))))
    }

    /// Moves a manual clock; the machine's clock ignores it.
    pub fn set(&self, now: Now) {
        if let Source::Manual(cell) = &self.0 {
            *cell.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = now;
        }
    }

    /// The steady reading alone: half the cost of both.
    pub fn steady(&self) -> UnixMs {
        match &self.0 {
            Source::System { anchor, started } => anchor.plus(started.elapsed()),
            Source::Manual(_) => self.now().steady,
        }
    }

    /// This moment.
    pub fn now(&self) -> Now {
        match &self.0 {
            Source::System { anchor, started } => Now { steady: anchor.plus(started.elapsed()), wall: UnixMs::wall() },
            Source::Manual(cell) => *cell.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        }
    }
}
