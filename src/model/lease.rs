//! When a registration ends by itself. Pure.
//!
//! - An instance with a heartbeat check leaves when its lease was not renewed for [`Terms::after`] *after it expired*: the time that it asked
//!   for, else ten TTLs and at least five minutes, and then never as the last of its service. As long as it reports anything, it stays,
//!   whatever its health.
//! - An instance without one leaves when it was unhealthy that long without a break, if it asked for that.
//! - A REST instance that asks for nothing leaves only if the server has a default for that, and never as the last of its service.
//! - A manifest's instance never leaves: the manifest says what there is.

use std::time::Duration;

use super::check::CheckKind;
use super::ports::RemovalReason;
use super::service::{InstanceSpec, Source};

/// Longest lapse of a lease, in TTLs, where the registration gives no time.
const TTLS: u32 = 10;
/// Shortest lapse of a lease that ends a registration which gives no time.
const LEAST: Duration = Duration::from_mins(5);

/// What ends a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Its lease is not renewed.
    Silence,
    /// It is unhealthy.
    Failure,
}

/// When a registration ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// What ends it.
    pub ends: Ends,
    /// After it has lasted this long.
    pub after: Duration,
    /// Whether the registration gave the time. A default removes no service's last instance.
    pub asked: bool,
}

/// What is known of an instance whose registration may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// How long the lease has been expired, or the instance unhealthy, as [`Terms::ends`] says; none if it is not. Time in which nobody could
    /// have been heard does not count.
    pub lasted: Option<Duration>,
    /// The time since the program was heard last; only of a lease.
    pub silent: Duration,
    /// The time for which the lease holds after that; zero without a lease.
    pub ttl: Duration,
    /// Whether it is the last instance of its service.
    pub last: bool,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing, until it begins to fail.
    Stay,
    /// Ask again after this time.
    Wait(Duration),
    /// Nothing as long as it is the last instance of its service.
    Last,
    /// Remove it.
    Remove(RemovalReason),
}

/// The terms of a registration; none if it never ends by itself. `default` is the server's, for those that ask for nothing.
pub fn terms(source: Source, spec: &InstanceSpec, default: Option<Duration>) -> Option<Terms> {
    if source == Source::Manifest {
        return None;
    }
    let asked = spec.deregister_after_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    let heartbeat = spec.all_checks().find_map(|check| match check.check.kind {
        Some(CheckKind::Heartbeat(heartbeat)) => Some((heartbeat.ttl(), check.advisory)),
        _ => None,
    });
    match (heartbeat, asked) {
        // A lease that only advises ends nothing unless that was asked for.
        (Some((_, true)), None) => None,
        (Some((ttl, _)), asked) => {
            let after = asked.unwrap_or_else(|| ttl.saturating_mul(TTLS).max(LEAST));
            Some(Terms { ends: Ends::Silence, after, asked: asked.is_some() })
        }
        (None, Some(after)) => Some(Terms { ends: Ends::Failure, after, asked: true }),
        (None, None) => {
            let after = default.filter(|after| !after.is_zero())?;
            Some(Terms { ends: Ends::Failure, after, asked: false })
        }
    }
}

/// Decides whether a registration ends now.
pub fn decide(terms: &Terms, situation: &Situation) -> Decision {
    let Some(lasted) = situation.lasted else { return Decision::Stay };
    // Renewed since it expired: the engine has yet to handle that report, or had no room for it.
    if let Some(left) = situation.ttl.checked_sub(situation.silent).filter(|left| !left.is_zero())
        && terms.ends == Ends::Silence
    {
        return Decision::Wait(left);
    }
    if let Some(left) = terms.after.checked_sub(lasted).filter(|left| !left.is_zero()) {
        return Decision::Wait(left);
    }
    if situation.last && !terms.asked {
        return Decision::Last;
    }
    Decision::Remove(match terms.ends {
        Ends::Silence => RemovalReason::LeaseNotRenewed(situation.silent.max(lasted)),
        Ends::Failure => RemovalReason::Unhealthy(lasted),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::check::{Check, HeartbeatCheck, NamedCheck};
    use crate::model::url::EndpointUrl;

    fn spec(ttl: Option<u32>, advisory: bool, asked: Option<u32>) -> InstanceSpec {
        let heartbeat = |ttl_seconds| Check {
            kind: Some(CheckKind::Heartbeat(HeartbeatCheck { ttl_seconds })),
            ..Check::default()
        };
        let mut spec = InstanceSpec::at(EndpointUrl::base("http://a.test").expect("a URL"));
        spec.deregister_after_seconds = asked;
        if let Some(ttl) = ttl {
            if advisory {
                let name = "heartbeat".parse().expect("a name");
                spec.checks = vec![NamedCheck { name, advisory, url: None, check: heartbeat(ttl) }];
            } else {
                spec.check = heartbeat(ttl);
            }
        }
        spec
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn who_asks_for_nothing_stays_unless_the_server_says_otherwise() {
        let plain = spec(None, false, None);
        assert_eq!(terms(Source::Rest, &plain, None), None);
        assert_eq!(terms(Source::Rest, &plain, Some(Duration::ZERO)), None);
        let by_default = Terms { ends: Ends::Failure, after: seconds(900), asked: false };
        assert_eq!(terms(Source::Rest, &plain, Some(seconds(900))), Some(by_default));
        assert_eq!(terms(Source::Rest, &spec(Some(5), true, None), Some(seconds(900))), None, "it only advises");
    }

    #[test]
    fn a_lease_that_was_renewed_since_it_expired_holds() {
        let terms = |ends| Terms { ends, after: seconds(60), asked: true };
        let heard =
            |silent| Situation { lasted: Some(seconds(90)), silent: seconds(silent), ttl: seconds(30), last: true };
        assert_eq!(decide(&terms(Ends::Silence), &heard(1)), Decision::Wait(seconds(29)));
        let removed = |reason| Decision::Remove(reason);
        let silence = removed(RemovalReason::LeaseNotRenewed(seconds(90)));
        assert_eq!(decide(&terms(Ends::Silence), &heard(30)), silence);
        let failure = removed(RemovalReason::Unhealthy(seconds(90)));
        assert_eq!(decide(&terms(Ends::Failure), &heard(1)), failure, "no lease decides");
    }

    #[test]
    fn a_lease_has_ten_ttls_and_at_least_five_minutes() {
        for (ttl, given, after) in [(5, None, 300), (60, None, 600), (60, Some(90), 90), (86_400, None, 864_000)] {
            let of_lease = Terms { ends: Ends::Silence, after: seconds(after), asked: given.is_some() };
            assert_eq!(terms(Source::Rest, &spec(Some(ttl), false, given), Some(seconds(1))), Some(of_lease));
        }
    }

    fn any_spec() -> impl Strategy<Value = InstanceSpec> {
        (prop::option::of(1_u32..=86_400), any::<bool>(), prop::option::of(60_u32..=31_536_000))
            .prop_map(|(ttl, advisory, asked)| spec(ttl, advisory, asked))
    }

    fn any_situation() -> impl Strategy<Value = Situation> {
        (prop::option::of(0_u64..40_000_000), 0_u64..40_000_000, any::<bool>()).prop_map(|(lasted, silent, last)| {
            Situation { lasted: lasted.map(seconds), silent: seconds(silent), ttl: Duration::ZERO, last }
        })
    }

    proptest! {
        #[test]
        fn a_manifest_instance_never_leaves(spec in any_spec(), default in 0_u64..100_000) {
            prop_assert_eq!(terms(Source::Manifest, &spec, Some(seconds(default))), None);
        }

        /// Nobody leaves before the time, nor while it is well; the last one of a service only if it asked for it.
        #[test]
        fn nobody_leaves_too_early(spec in any_spec(), default in 0_u64..100_000, situation in any_situation()) {
            let Some(terms) = terms(Source::Rest, &spec, Some(seconds(default))) else { return Ok(()) };
            match decide(&terms, &situation) {
                Decision::Remove(_) => {
                    prop_assert!(situation.lasted.expect("it fails") >= terms.after);
                    prop_assert!(terms.asked || !situation.last);
                }
                Decision::Wait(left) => prop_assert_eq!(Some(left), terms.after.checked_sub(situation.lasted.expect("it fails"))),
                Decision::Stay => prop_assert_eq!(situation.lasted, None),
                Decision::Last => prop_assert!(situation.last && !terms.asked),
            }
        }

        /// The wait that is announced is the wait that passes, if nothing changes.
        #[test]
        fn who_waits_long_enough_leaves(spec in any_spec(), situation in any_situation()) {
            let terms = terms(Source::Rest, &spec, Some(seconds(60)));
            let Some(terms) = terms else { return Ok(()) };
            if let Decision::Wait(left) = decide(&terms, &situation) {
                let later = Situation { lasted: situation.lasted.map(|lasted| lasted + left), ..situation };
                let decided = decide(&terms, &later);
                prop_assert!(matches!(decided, Decision::Remove(_) | Decision::Last), "{:?}", decided);
            }
        }
    }
}
