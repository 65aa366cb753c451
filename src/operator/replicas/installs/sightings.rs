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

/// What a look at a Lease found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// There is none.
    Gone,
    /// Its holder, and when that renewed it.
    Held(Option<String>, Option<MicroTime>),
}

/// How an install stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
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
struct Sighting {
    look: Look,
    /// When it was first seen like this.
    since: Instant,
    /// Whether it was ever seen to change.
    changed: bool,
}

/// Of the installs that are looked at.
#[derive(Debug, Default)]
pub(super) struct Sightings(HashMap<String, Sighting>);

impl Sightings {
    /// Takes in a look at the Lease of `install`.
    pub(super) fn note(&mut self, install: &str, look: Look, now: Instant) -> Standing {
        let before = self.0.get(install);
        let (since, changed) = match before {
            Some(before) if before.look == look => (before.since, before.changed),
            before => (now, before.is_some()),
        };
        let lasted = now.duration_since(since);
        let standing = match look {
            Look::Gone if lasted >= GONE => Standing::Gone,
            Look::Held(..) if lasted >= SILENT => Standing::Silent,
            Look::Held(..) if changed => Standing::Alive,
            _ => Standing::Undecided,
        };
        self.0.insert(install.to_owned(), Sighting { look, since, changed });
        standing
    }

    /// Forgets all but those that are still of interest.
    pub(super) fn keep(&mut self, of_interest: impl Fn(&str) -> bool) {
        self.0.retain(|install, _| of_interest(install));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(renewed: i64) -> Look {
        let at = jiff::Timestamp::from_second(renewed).expect("a time");
        Look::Held(Some("a".to_owned()), Some(MicroTime(at)))
    }

    #[test]
    fn an_install_is_over_once_its_lease_stays_as_it_is() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let mut at = |seconds, look| sightings.note("a/b", look, start + Duration::from_secs(seconds));
        assert_eq!(at(0, held(1)), Standing::Undecided);
        assert_eq!(at(5, held(3)), Standing::Alive);
        assert_eq!(at(64, held(3)), Standing::Alive);
        assert_eq!(at(65, held(3)), Standing::Silent);
        assert_eq!(at(70, held(4)), Standing::Alive, "it is back");
        assert_eq!(at(75, Look::Gone), Standing::Undecided, "it may be made anew");
        assert_eq!(at(76, held(5)), Standing::Alive);
        assert_eq!(at(77, Look::Gone), Standing::Undecided);
        assert_eq!(at(82, Look::Gone), Standing::Gone);
    }

    #[test]
    fn a_lease_that_never_moves_is_silent_and_what_is_forgotten_begins_anew() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        assert_eq!(sightings.note("a/b", held(1), start), Standing::Undecided);
        assert_eq!(sightings.note("a/b", held(1), start + SILENT), Standing::Silent);
        sightings.keep(|install| install != "a/b");
        assert_eq!(sightings.note("a/b", held(1), start + SILENT), Standing::Undecided);
    }
}
