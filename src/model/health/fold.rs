//! What the checks of one instance add up to. Pure.
//!
//! - An instance is unhealthy if any required check is, healthy if all required ones are, and otherwise unknown. Without a required check
//!   it is unknown, [`Reason::NotChecked`].
//! - One check *decides*: its reason and message are those of the instance. Among several unhealthy ones that is the one that fell first,
//!   so that a second failure changes nothing that readers see; among healthy ones the one that recovered last; among unknown ones one
//!   whose check cannot run, else the first.
//! - Advisory checks decide nothing. What they find is a warning.

use crate::model::outcome::{Health, Reason};
use crate::model::time::UnixMs;

/// One check, as far as the fold reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckView {
    /// Whether it only warns.
    pub advisory: bool,
    /// What its outcomes add up to.
    pub health: Health,
    /// Why.
    pub reason: Reason,
    /// Since when, wall clock.
    pub since: UnixMs,
}

/// What the checks add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The index of the check that decides; none if no check is required.
    pub by: Option<usize>,
    /// The instance's health.
    pub health: Health,
    /// Its reason.
    pub reason: Reason,
}

/// Folds the checks, in order of position.
///
/// ```
/// use portolan::model::health::{CheckView, fold};
/// use portolan::model::outcome::{Health, Reason};
/// use portolan::model::time::UnixMs;
///
/// let check = |advisory, health, reason| CheckView { advisory, health, reason, since: UnixMs(1) };
/// let up = check(false, Health::Healthy, Reason::Passed);
/// let down = check(false, Health::Unhealthy, Reason::Timeout);
/// let decided = fold([up, down].into_iter());
/// assert_eq!((decided.health, decided.reason, decided.by), (Health::Unhealthy, Reason::Timeout, Some(1)));
/// let advisory = CheckView { advisory: true, ..down };
/// assert_eq!(fold([up, advisory].into_iter()).health, Health::Healthy);
/// ```
pub fn fold(checks: impl Iterator<Item = CheckView>) -> Decision {
    let required = checks.enumerate().filter(|(_, check)| !check.advisory);
    let decides = required.min_by_key(|(at, check)| order(*at, check));
    decides.map_or(Decision { by: None, health: Health::Unknown, reason: Reason::NotChecked }, |(at, check)| Decision {
        by: Some(at),
        health: check.health,
        reason: check.reason,
    })
}

/// The check with the least order decides.
fn order(at: usize, check: &CheckView) -> (u8, i64, usize) {
    match check.health {
        Health::Unhealthy => (0, check.since.0, at),
        Health::Unknown => (1, i64::from(!check.reason.bars_check()), at),
        Health::Healthy => (2, check.since.0.saturating_neg(), at),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(advisory: bool, health: Health, reason: Reason, since: i64) -> CheckView {
        CheckView { advisory, health, reason, since: UnixMs(since) }
    }

    #[test]
    fn without_a_required_check_nothing_is_checked() {
        let nothing = Decision { by: None, health: Health::Unknown, reason: Reason::NotChecked };
        assert_eq!(fold(std::iter::empty()), nothing);
        assert_eq!(fold([check(true, Health::Unhealthy, Reason::Timeout, 1)].into_iter()), nothing);
    }

    #[test]
    fn the_first_to_fall_decides_and_the_last_to_recover() {
        let down = |since| check(false, Health::Unhealthy, Reason::Timeout, since);
        let up = |since| check(false, Health::Healthy, Reason::Passed, since);
        assert_eq!(fold([up(1), down(9), down(3)].into_iter()).by, Some(2));
        assert_eq!(fold([down(3), down(3)].into_iter()).by, Some(0));
        assert_eq!(fold([up(1), up(9), up(3)].into_iter()).by, Some(1));
    }

    #[test]
    fn what_keeps_a_check_from_running_is_shown_first() {
        let probing = check(false, Health::Unknown, Reason::Probing, 1);
        let barred = check(false, Health::Unknown, Reason::CaUnavailable, 2);
        assert_eq!(fold([probing, barred].into_iter()).by, Some(1));
        assert_eq!(fold([check(false, Health::Healthy, Reason::Passed, 5), probing].into_iter()).by, Some(1));
    }

    fn any_check() -> impl Strategy<Value = CheckView> {
        let health = prop_oneof![Just(Health::Unknown), Just(Health::Healthy), Just(Health::Unhealthy)];
        (any::<bool>(), health, 0_i64..4).prop_map(|(advisory, health, since)| {
            let reason = match health {
                Health::Healthy => Reason::Passed,
                Health::Unhealthy => Reason::Timeout,
                Health::Unknown => Reason::Probing,
            };
            check(advisory, health, reason, since)
        })
    }

    proptest! {
        #[test]
        fn the_health_follows_the_required_checks(checks in proptest::collection::vec(any_check(), 0..9)) {
            let decided = fold(checks.iter().copied());
            let required: Vec<_> = checks.iter().filter(|check| !check.advisory).collect();
            let expected = if required.iter().any(|check| check.health == Health::Unhealthy) {
                Health::Unhealthy
            } else if !required.is_empty() && required.iter().all(|check| check.health == Health::Healthy) {
                Health::Healthy
            } else {
                Health::Unknown
            };
            prop_assert_eq!(decided.health, expected);
            if let Some(by) = decided.by {
                prop_assert!(!checks[by].advisory);
                prop_assert_eq!((checks[by].health, checks[by].reason), (decided.health, decided.reason));
            } else {
                prop_assert!(required.is_empty());
            }
        }

        /// A single required check is the instance, whatever advises beside it.
        #[test]
        fn one_required_check_decides_alone(one in any_check(), advisory in proptest::collection::vec(any_check(), 0..5)) {
            let one = CheckView { advisory: false, ..one };
            let all = advisory.into_iter().map(|check| CheckView { advisory: true, ..check }).chain([one]);
            let decided = fold(all);
            prop_assert_eq!((decided.health, decided.reason), (one.health, one.reason));
        }

        /// Another check that fails too changes nothing that readers see.
        #[test]
        fn a_later_fall_changes_nothing(checks in proptest::collection::vec(any_check(), 1..8), at in 0_usize..8) {
            let before = fold(checks.iter().copied());
            prop_assume!(before.health == Health::Unhealthy);
            let mut after = checks;
            let at = at % after.len();
            prop_assume!(after[at].health != Health::Unhealthy);
            after[at] = check(false, Health::Unhealthy, Reason::Timeout, 9);
            prop_assert_eq!(fold(after.into_iter()), before);
        }
    }
}
