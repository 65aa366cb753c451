//! How other installs stand, by what their Leases say over time. Pure, told the time.
//!
//! Wall clocks are not compared: an install is over when its Lease stayed as it is for long enough on our steady clock.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// A Lease that nobody renews for so long is abandoned: four times what its holder's replicas wait before one of them takes it.
pub(super) const SILENT: Duration = Duration::from_mins(1);
/// One that is gone stays so for as long, or it was deleted under a leader that makes it anew.
pub(super) const GONE: Duration = Duration::from_secs(5);

/// What a view at a Lease found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeaseView {
    /// There is none.
    Gone,
    /// Its holder, and when that renewed it.
    Held(Option<String>, Option<MicroTime>),
}

/// How an install stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InstallState {
    /// Too early to tell.
    Undecided,
    /// Its Lease was renewed lately.
    Alive,
    /// Its Lease is gone.
    Gone,
    /// Nobody renews its Lease.
    Silent,
}

#[derive(Debug)]
struct Observation {
    view: LeaseView,
    /// When it was first seen like this.
    since: Instant,
    /// Whether it was ever seen to change.
    changed: bool,
}

/// Of the installs that are looked at.
#[derive(Debug, Default)]
pub(super) struct Observations(HashMap<String, Observation>);

impl Observations {
    /// Takes in a view at the Lease of `install`.
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

    /// Forgets all but those that are still of interest.
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
        assert_eq!(at(75, LeaseView::Gone), InstallState::Undecided, "it may be made anew");
        assert_eq!(at(76, held(5)), InstallState::Alive);
        assert_eq!(at(77, LeaseView::Gone), InstallState::Undecided);
        assert_eq!(at(82, LeaseView::Gone), InstallState::Gone);
    }

    #[test]
    fn a_lease_that_never_moves_is_silent_and_what_is_forgotten_begins_anew() {
        let (mut observations, start) = (Observations::default(), Instant::now());
        assert_eq!(observations.note("a/b", held(1), start), InstallState::Undecided);
        assert_eq!(observations.note("a/b", held(1), start + SILENT), InstallState::Silent);
        observations.keep(|install| install != "a/b");
        assert_eq!(observations.note("a/b", held(1), start + SILENT), InstallState::Undecided);
    }
}
