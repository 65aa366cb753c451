//! Points in time, in whole milliseconds, and the clock that provides them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC. Displayed as RFC 3339 with three decimals (always 24 bytes).
///
/// ```
/// use portolan::model::time::UnixMs;
///
/// let at: UnixMs = "2026-01-02T03:04:05.678Z".parse()?;
/// assert_eq!((at.0, at.to_string().as_str()), (1_767_323_045_678, "2026-01-02T03:04:05.678Z"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// The system clock's time. It may jump, so use [`Clock::steady`] for intervals.
    pub fn wall() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// `self` moved forward; saturates.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// `self` moved back; saturates.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// The length of a unit of time as people write it: `ms`, `s`, `m`, `h` or `d`.
pub fn unit(name: &str) -> Option<Duration> {
    Some(match name {
        "ms" => Duration::from_millis(1),
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        "h" => Duration::from_hours(1),
        "d" => Duration::from_hours(24),
        _ => return None,
    })
}

/// So many of a unit; none if that is more than u64 milliseconds.
pub fn several(number: u64, unit: Duration) -> Option<Duration> {
    let millis = u64::try_from(unit.as_millis()).ok().and_then(|unit| number.checked_mul(unit))?;
    Some(Duration::from_millis(millis))
}

/// The first moment after year 9999.
const YEAR_10000: u64 = 253_402_300_800_000;

impl UnixMs {
    /// The displayed text, without an allocation; `None` outside the years 1970 to 9999.
    pub fn text(self) -> Option<[u8; 24]> {
        let ms = u64::try_from(self.0).ok().filter(|ms| *ms < YEAR_10000)?;
        let (day, ms) = (ms / 86_400_000, ms % 86_400_000);
        let (year, month, day) = date(day);
        let ([c1, c2], [y1, y2]) = (two(year / 100), two(year % 100));
        let ([o1, o2], [d1, d2]) = (two(month), two(day));
        let ([h1, h2], [m1, m2], [s1, s2]) = (two(ms / 3_600_000), two(ms / 60_000 % 60), two(ms / 1000 % 60));
        let ([t1, t2], t3) = (two(ms % 1000 / 10), digit(ms));
        Some([
            c1, c2, y1, y2, b'-', o1, o2, b'-', d1, d2, b'T', h1, h2, b':', m1, m2, b':', s1, s2, b'.', t1, t2, t3,
            b'Z',
        ])
    }
}

/// Converts days since 1970-01-01 to year, month and day in the Gregorian calendar. It counts years that start in March, so that the leap
/// day is the last one.
fn date(day: u64) -> (u64, u64, u64) {
    let since_year_0 = day + 719_468;
    let (era, of_era) = (since_year_0 / 146_097, since_year_0 % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// The last two digits.
fn two(number: u64) -> [u8; 2] {
    [digit(number / 10), digit(number)]
}

/// The last digit.
fn digit(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or(0)
}

impl fmt::Display for UnixMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.text() {
            return f.write_str(std::str::from_utf8(&text).unwrap_or_default());
        }
        let at = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        write!(f, "{at:.3}")
    }
}

/// A duration for people: its two largest units.
///
/// ```
/// use std::time::Duration;
/// use portolan::model::time::age;
///
/// let shown = [4, 192, 7500, 273_600].map(|s| age(Duration::from_secs(s)));
/// assert_eq!(shown, ["4s", "3m12s", "2h5m", "3d4h"]);
/// ```
pub fn age(of: Duration) -> String {
    let s = of.as_secs();
    let two = |big: u64, b: &str, small: u64, l: &str| {
        if small == 0 { format!("{big}{b}") } else { format!("{big}{b}{small}{l}") }
    };
    match s {
        0..60 => format!("{s}s"),
        60..3600 => two(s / 60, "m", s % 60, "s"),
        3600..86_400 => two(s / 3600, "h", s % 3600 / 60, "m"),
        _ => two(s / 86_400, "d", s % 86_400 / 3600, "h"),
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

/// One moment on both clocks: `steady` for intervals and thresholds, `wall` for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock at process start plus the monotonic time since then. It never jumps while the process runs, and can be compared
    /// with a stored value after a restart.
    pub steady: UnixMs,
    /// The system clock.
    pub wall: UnixMs,
}

/// The process's clock. Clones share its anchor.
///
/// ```
/// use portolan::model::time::{Clock, Now, UnixMs};
///
/// // In tests, time stands still until it is set.
/// let clock = Clock::manual(Now { steady: UnixMs(1000), wall: UnixMs(5000) });
/// clock.set(Now { steady: UnixMs(2000), wall: UnixMs(0) });
/// assert_eq!((clock.steady(), clock.now().wall), (UnixMs(2000), UnixMs(0)));
/// ```
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System { anchor: UnixMs, started: Instant },
    Manual(Arc<std::sync::Mutex<Now>>),
    Simulated(Simulated),
}

#[derive(Clone)]
struct Simulated(Arc<dyn Fn() -> Now + Send + Sync>);

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulated")
    }
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

    /// A clock for tests, which stands still until [`Clock::set`] moves it.
    pub fn manual(now: Now) -> Self {
        Self(Source::Manual(Arc::new(std::sync::Mutex::new(now))))
    }

    /// A clock that reads `now`, for a simulation that controls time.
    #[doc(hidden)]
    pub fn simulated(now: impl Fn() -> Now + Send + Sync + 'static) -> Self {
        Self(Source::Simulated(Simulated(Arc::new(now))))
    }

    /// Moves a manual clock; has no effect on other clocks.
    pub fn set(&self, now: Now) {
        if let Source::Manual(cell) = &self.0 {
            *cell.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = now;
        }
    }

    /// Only the steady reading: half the cost of both.
    pub fn steady(&self) -> UnixMs {
        match &self.0 {
            Source::System { anchor, started } => anchor.plus(started.elapsed()),
            Source::Manual(_) | Source::Simulated(_) => self.now().steady,
        }
    }

    /// The current moment on both clocks.
    pub fn now(&self) -> Now {
        match &self.0 {
            Source::System { anchor, started } => Now { steady: anchor.plus(started.elapsed()), wall: UnixMs::wall() },
            Source::Manual(cell) => *cell.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
            Source::Simulated(Simulated(now)) => now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_text_is_what_the_time_library_writes(ms in -1_000_i64..=253_402_300_800_000) {
            let theirs = jiff::Timestamp::from_millisecond(ms).map(|at| format!("{at:.3}"));
            if let Ok(theirs) = theirs {
                proptest::prop_assert_eq!(UnixMs(ms).to_string(), theirs);
            }
        }
    }

    #[test]
    fn leap_days_and_ends_of_years() {
        for text in [
            "2000-02-29T23:59:59.999Z",
            "2100-02-28T00:00:00.000Z",
            "2026-12-31T23:59:59.999Z",
            "1970-01-01T00:00:00.000Z",
        ] {
            let at: UnixMs = text.parse().expect("a time");
            assert_eq!(at.to_string(), text);
        }
    }

    #[test]
    fn ages_keep_their_two_largest_units() {
        let shown = [0, 59, 60, 192, 3600, 7500, 86_400, 273_600].map(|s| age(Duration::from_secs(s)));
        assert_eq!(shown, ["0s", "59s", "1m", "3m12s", "1h", "2h5m", "1d", "3d4h"]);
    }
}
