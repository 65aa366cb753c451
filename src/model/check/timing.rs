//! The numbers of a check: how often it probes, how long a probe may take, how many outcomes in a row count.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Seconds between probes.
pub const INTERVAL: RangeInclusive<u32> = 1..=86_400;
/// Seconds that one probe may take.
pub const TIMEOUT: RangeInclusive<u32> = 1..=60;
/// How long a client waits for the answer to an on-demand check: longer than the longest probe.
pub const ON_DEMAND_TIMEOUT: Duration = Duration::from_secs(75);
/// Seconds between confirming probes.
pub const RETRY_INTERVAL: RangeInclusive<u32> = 1..=300;
/// Outcomes in a row.
pub const THRESHOLD: RangeInclusive<u32> = 1..=10;

/// What absent numbers of a check mean; an absent interval means the setting `HEALTH_CHECK_INTERVAL`.
const DEFAULT_TIMEOUT: u32 = 5;
const DEFAULT_RETRY_INTERVAL: u32 = 1;
const DEFAULT_UNHEALTHY_THRESHOLD: u32 = 3;
const DEFAULT_HEALTHY_THRESHOLD: u32 = 1;

/// The numbers as a registration gives them. Absent ones take the defaults named here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckTiming {
    /// Time between probes, 1 to 86,400 s; default `HEALTH_CHECK_INTERVAL`.
    pub interval_seconds: Option<u32>,
    /// Time that one probe may take, 1 to 60 s; default 5.
    pub timeout_seconds: Option<u32>,
    /// Time between confirming probes after a change, 1 to 300 s and at most the interval; default 1.
    pub retry_interval_seconds: Option<u32>,
    /// Consecutive fails that make an instance unhealthy, 1 to 10; default 3.
    pub unhealthy_threshold: Option<u32>,
    /// Consecutive passes that make an unhealthy instance healthy again, 1 to 10; default 1.
    pub healthy_threshold: Option<u32>,
}

/// The numbers that drive a check, after defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timing {
    /// Time between the starts of two probes.
    pub interval: Duration,
    /// Time that one probe may take.
    pub timeout: Duration,
    /// Time between confirming probes, at most the interval.
    pub retry_interval: Duration,
    /// Consecutive fails that flip to unhealthy, ≥ 1.
    pub unhealthy_threshold: u32,
    /// Consecutive passes that flip back, ≥ 1.
    pub healthy_threshold: u32,
}

impl CheckTiming {
    /// Checks every number against its bounds.
    ///
    /// # Errors
    /// A sentence that names the first field that is wrong, and its bounds.
    pub fn accept(&self) -> Result<(), String> {
        for (field, value, range) in [
            ("interval_seconds", self.interval_seconds, INTERVAL),
            ("timeout_seconds", self.timeout_seconds, TIMEOUT),
            ("retry_interval_seconds", self.retry_interval_seconds, RETRY_INTERVAL),
            ("unhealthy_threshold", self.unhealthy_threshold, THRESHOLD),
            ("healthy_threshold", self.healthy_threshold, THRESHOLD),
        ] {
            if let Some(value) = value.filter(|value| !range.contains(value)) {
                return Err(format!("{field} is {value}, expected {} to {}", range.start(), range.end()));
            }
        }
        Ok(())
    }

    /// These numbers, and those of `defaults` where there is none.
    #[must_use]
    pub fn or(&self, defaults: &Self) -> Self {
        Self {
            interval_seconds: self.interval_seconds.or(defaults.interval_seconds),
            timeout_seconds: self.timeout_seconds.or(defaults.timeout_seconds),
            retry_interval_seconds: self.retry_interval_seconds.or(defaults.retry_interval_seconds),
            unhealthy_threshold: self.unhealthy_threshold.or(defaults.unhealthy_threshold),
            healthy_threshold: self.healthy_threshold.or(defaults.healthy_threshold),
        }
    }

    /// The numbers after defaults, with `interval` where none is given.
    pub fn resolve(&self, interval: Duration) -> Timing {
        let seconds = |given: u32| Duration::from_secs(given.into());
        let interval = self.interval_seconds.map_or(interval, seconds);
        let retry_interval = seconds(self.retry_interval_seconds.unwrap_or(DEFAULT_RETRY_INTERVAL));
        Timing {
            interval,
            timeout: seconds(self.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT)),
            retry_interval: retry_interval.min(interval),
            unhealthy_threshold: self.unhealthy_threshold.unwrap_or(DEFAULT_UNHEALTHY_THRESHOLD),
            healthy_threshold: self.healthy_threshold.unwrap_or(DEFAULT_HEALTHY_THRESHOLD),
        }
    }
}
