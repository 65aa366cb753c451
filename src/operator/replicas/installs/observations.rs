//! The state of other installs, from their Leases over time. Pure; the caller passes the time.
//!
//! Wall clocks are not compared: an install has ended when its Lease has not changed for long enough on our steady clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// A Lease that nobody renews for so long is abandoned: four times what its own replicas wait before one of them takes it.
pub(super) const SILENT: Duration = Duration::from_mins(1);
/// A missing Lease must be missing for so long: its leader may create it again.
pub(super) const GONE: Duration = Duration::from_secs(5);

/// What one read of a Lease found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeaseView {
    /// There is none.
    Gone,
    /// Its holder, and when it was renewed.
    Held(Option<String>, Option<MicroTime>),
}

/// The state of an install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InstallState {
    /// Too early to tell.
    Undecided,
    /// Its Lease was renewed recently.
    Alive,
    /// Its Lease is gone.
    Gone,
    /// Nobody renews its Lease.
    Silent,
}

#[derive(Debug)]
struct Observation {
    view: LeaseView,
    /// When it was first seen in this state.
    since: Instant,
    /// Whether it was ever seen to change.
    changed: bool,
}

/// What is known about the other installs.
#[derive(Debug, Default)]
pub(super) struct Observations(HashMap<String, Observation>);

impl Observations {
    /// Notes what a read of the Lease of `install` found.
    pub(super) fn note(&mut self, install: &str, view: LeaseView, now: Instant) -> InstallState {
        let before = self.0.get(install);
        let (since, changed) = match before {
            Some(before) if before.view == view => (before.since, before.changed),
            before => (now, before.is_some()),
        };
        let lasted = now.duration_since(since);
        let state = match view {
            LeaseView::Gone if lasted >= GONE => InstallState::Gone,
            LeaseView::Held(..) if lasted >= SILENT => InstallState::Silent,
            LeaseView::Held(..) if changed => InstallState::Alive,
            _ => InstallState::Undecided,
        };
        self.0.insert(install.to_owned(), Observation { view, since, changed });
        state
    }

    /// Forgets all others.
    pub(super) fn keep(&mut self, of_interest: impl Fn(&str) -> bool) {
        self.0.retain(|install, _| of_interest(install));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(renewed: i64) -> LeaseView {
        let at = jiff::Timestamp::from_second(renewed).expect("a time");
        LeaseView::Held(Some("a".to_owned()), Some(MicroTime(at)))
    }

    #[test]
    fn an_install_is_over_once_its_lease_stays_as_it_is() {
        let (mut observations, start) = (Observations::default(), Instant::now());
        let mut at = |seconds, view| observations.note("a/b", view, start + Duration::from_secs(seconds));
        assert_eq!(at(0, held(1)), InstallState::Undecided);
        assert_eq!(at(5, held(3)), InstallState::Alive);
        assert_eq!(at(64, held(3)), InstallState::Alive);
        assert_eq!(at(65, held(3)), InstallState::Silent);
        assert_eq!(at(70, held(4)), InstallState::Alive, "it is back");
        assert_eq!(at(75, LeaseView::Gone), InstallState::Undecided, "it may be created again");
        assert_eq!(at(76, held(5)), InstallState::Alive);
        assert_eq!(at(77, LeaseView::Gone), InstallState::Undecided);
        assert_eq!(at(82, LeaseView::Gone), InstallState::Gone);
    }

    #[test]
    fn a_lease_that_never_changes_is_silent_and_a_forgotten_one_starts_over() {
        let (mut observations, start) = (Observations::default(), Instant::now());
        assert_eq!(observations.note("a/b", held(1), start), InstallState::Undecided);
        assert_eq!(observations.note("a/b", held(1), start + SILENT), InstallState::Silent);
        observations.keep(|install| install != "a/b");
        assert_eq!(observations.note("a/b", held(1), start + SILENT), InstallState::Undecided);
    }
}
