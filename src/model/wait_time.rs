//! How long a request may wait for its answer to change.

use std::str::FromStr;
use std::time::Duration;

use super::time::{several, unit};
use super::value_error::ValueError;

/// Longest wait.
const LONGEST: Duration = Duration::from_mins(5);
/// The form of a [`WaitTime`], as a regular expression of JSON Schema: no longer than five minutes in any unit.
pub const WAIT_PATTERN: &str = "^([1-5]m|([1-9][0-9]?|[12][0-9]{2}|300)s|([1-9][0-9]{0,4}|[12][0-9]{5}|300000)ms)$";

/// 1 ms to 5 minutes.
///
/// ```
/// use portolan::model::wait_time::WaitTime;
///
/// assert_eq!("30s".parse::<WaitTime>().map(|wait| wait.0.as_secs()), Ok(30));
/// assert!("6m".parse::<WaitTime>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTime(pub Duration);

impl FromStr for WaitTime {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, name) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let time = digits.parse().ok().zip(unit(name)).and_then(|(number, unit)| several(number, unit));
        let time = time.filter(|time| !time.is_zero() && *time <= LONGEST);
        time.map(Self).ok_or_else(|| ValueError::is_not("a time such as 500ms, 30s or 2m, at most 5m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_at_most_five_minutes() {
        for (text, millis) in [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("300s", 300_000)] {
            assert_eq!(text.parse(), Ok(WaitTime(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "0s", "30", "301s", "6m", "1h", "-1s", "1.5s", "s", "99999999999999999999s"] {
            assert!(text.parse::<WaitTime>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_has_the_form_of_a_wait_is_one(text in WAIT_PATTERN.trim_matches(['^', '$'])) {
            proptest::prop_assert!(text.parse::<WaitTime>().is_ok());
        }
    }
}
