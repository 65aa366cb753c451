//! Policies of namespaces: what a platform team sets for the services of its tenants.
//!
//! In: the policies, and the labels of a namespace. Out: a [`Ruling`] for that namespace, which the prober, the API and the operator
//! follow. A policy only narrows: it never permits what a setting or a built-in rule forbids.
//!
//! Several policies may select one namespace. They combine in the same way whatever the order in which they became known: defaults in order
//! of name, where a later one overrides an earlier one; of limits the strictest; networks, of which each policy's must admit an address.
//!
//! Read the files in this order: this one (a policy, and what several add up to), `networks` (which addresses they admit), `ruling` (what applies to
//! a namespace now).

mod networks;
mod ruling;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::networks::{NetworkDenied, Networks};
pub use self::ruling::{AnyNamespace, NamespacePolicies, Ruling};
use super::check::{Check, CheckKind, CheckTiming, Timing};
use super::label_selector::LabelSelector;

/// What one policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespacePolicy {
    /// Its name.
    pub name: Arc<str>,
    /// The namespaces that it is for.
    pub selector: LabelSelector,
    /// Values for checks that leave them out.
    pub defaults: CheckTiming,
    /// Bounds that no check exceeds.
    pub limits: CheckLimits,
    /// What may be probed.
    pub networks: Networks,
}

/// Bounds that protect the prober that all namespaces share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckLimits {
    /// Least time between two probes, 1 to 86,400 s.
    pub min_interval_seconds: Option<u32>,
    /// Most time that one probe may take, 1 to 60 s.
    pub max_timeout_seconds: Option<u32>,
    /// Most instances of a service, 1 to 256.
    pub max_instances_per_service: Option<u32>,
}

/// A bound, and the policy that sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The bound.
    pub value: u32,
    /// The policy's name.
    pub policy: Arc<str>,
}

/// The policies that apply to one namespace, combined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyInForce {
    names: Vec<Arc<str>>,
    defaults: CheckTiming,
    min_interval: Option<Limit>,
    max_timeout: Option<Limit>,
    max_instances: Option<Limit>,
    networks: Vec<(Arc<str>, Networks)>,
}

/// A value of a check that a limit does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excess {
    /// The field, as REST names it: `interval_seconds` or `timeout_seconds`.
    pub field: &'static str,
    /// The value.
    pub given: u32,
    /// What is used instead.
    pub limit: Limit,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { given, limit: Limit { value, policy }, .. } = self;
        let bound = if given < value { "at least" } else { "at most" };
        write!(f, "is {given}, but the NamespacePolicy {policy} allows {bound} {value}")
    }
}

impl PolicyInForce {
    /// What these policies add up to; none if there are none.
    pub fn combine<'a>(policies: impl IntoIterator<Item = &'a NamespacePolicy>) -> Option<Self> {
        let mut policies: Vec<&NamespacePolicy> = policies.into_iter().collect();
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        if policies.is_empty() {
            return None;
        }
        let limits = |of: fn(&CheckLimits) -> Option<u32>| {
            let limits = policies
                .iter()
                .filter_map(move |policy| Some(Limit { value: of(&policy.limits)?, policy: Arc::clone(&policy.name) }));
            limits.collect::<Vec<_>>()
        };
        // Of equal bounds, the first policy's is named.
        let least = |limits: Vec<Limit>| limits.into_iter().min_by_key(|limit| limit.value);
        let greatest = |limits: Vec<Limit>| limits.into_iter().rev().max_by_key(|limit| limit.value);
        let restricted = policies.iter().filter(|policy| policy.networks != Networks::default());
        Some(Self {
            names: policies.iter().map(|policy| Arc::clone(&policy.name)).collect(),
            defaults: policies.iter().fold(CheckTiming::default(), |earlier, policy| policy.defaults.or(&earlier)),
            min_interval: greatest(limits(|limits| limits.min_interval_seconds)),
            max_timeout: least(limits(|limits| limits.max_timeout_seconds)),
            max_instances: least(limits(|limits| limits.max_instances_per_service)),
            networks: restricted.map(|policy| (Arc::clone(&policy.name), policy.networks.clone())).collect(),
        })
    }

    /// The names of the policies, in order.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The most instances that a service may have.
    pub fn max_instances(&self) -> Option<&Limit> {
        self.max_instances.as_ref()
    }

    /// The numbers that drive a check, with `interval` where neither the check nor a policy names one.
    pub fn timing(&self, given: &CheckTiming, interval: Duration) -> Timing {
        let filled = given.or(&self.defaults);
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let least = self.min_interval.as_ref().map_or(Duration::ZERO, |limit| seconds(limit.value));
        let interval = filled.interval_seconds.map_or(interval, seconds).max(least);
        let timing = CheckTiming { interval_seconds: None, ..filled }.resolve(interval);
        let most = self.max_timeout.as_ref().map_or(Duration::MAX, |limit| seconds(limit.value));
        Timing { timeout: timing.timeout.min(most), ..timing }
    }

    /// The values of a check that are beyond a limit; none where nothing is probed.
    pub fn excesses(&self, check: &Check) -> Vec<Excess> {
        match check.kind {
            Some(CheckKind::Heartbeat(_) | CheckKind::Readiness | CheckKind::None) => Vec::new(),
            Some(CheckKind::Http(_) | CheckKind::Tcp | CheckKind::Grpc(_)) | None => self.excesses_of(&check.timing),
        }
    }

    fn excesses_of(&self, given: &CheckTiming) -> Vec<Excess> {
        let excess = |field, given: Option<u32>, limit: Option<&Limit>, beyond: fn(&u32, &u32) -> bool| {
            let (given, limit) = (given?, limit?);
            beyond(&given, &limit.value).then(|| Excess { field, given, limit: limit.clone() })
        };
        let interval = excess("interval_seconds", given.interval_seconds, self.min_interval.as_ref(), u32::lt);
        let timeout = excess("timeout_seconds", given.timeout_seconds, self.max_timeout.as_ref(), u32::gt);
        interval.into_iter().chain(timeout).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str) -> NamespacePolicy {
        NamespacePolicy {
            name: name.into(),
            selector: LabelSelector::default(),
            defaults: CheckTiming::default(),
            limits: CheckLimits::default(),
            networks: Networks::default(),
        }
    }

    fn networks(allow: &[&str], deny: &[&str]) -> Networks {
        Networks::read(allow, deny).expect("networks")
    }

    #[test]
    fn defaults_are_overridden_in_order_of_name_and_the_strictest_limit_counts() {
        let base = NamespacePolicy {
            defaults: CheckTiming { interval_seconds: Some(60), timeout_seconds: Some(20), ..CheckTiming::default() },
            limits: CheckLimits {
                min_interval_seconds: Some(10),
                max_timeout_seconds: Some(10),
                ..CheckLimits::default()
            },
            ..policy("10-base")
        };
        let own = NamespacePolicy {
            defaults: CheckTiming { interval_seconds: Some(5), ..CheckTiming::default() },
            limits: CheckLimits {
                min_interval_seconds: Some(15),
                max_timeout_seconds: Some(30),
                ..CheckLimits::default()
            },
            ..policy("20-own")
        };
        let both = PolicyInForce::combine([&own, &base]).expect("two");
        assert_eq!(Some(&both), PolicyInForce::combine([&base, &own]).as_ref());
        let timing = both.timing(&CheckTiming::default(), Duration::from_secs(30));
        // 5 s of the later default, raised to the stricter 15; 20 s lowered to 10.
        assert_eq!((timing.interval.as_secs(), timing.timeout.as_secs()), (15, 10));
        let given = CheckTiming { interval_seconds: Some(3), timeout_seconds: Some(60), ..CheckTiming::default() };
        let excesses: Vec<String> = both.excesses_of(&given).iter().map(ToString::to_string).collect();
        assert_eq!(
            excesses,
            [
                "is 3, but the NamespacePolicy 20-own allows at least 15",
                "is 60, but the NamespacePolicy 10-base allows at most 10",
            ]
        );
        let timing = both.timing(&given, Duration::from_secs(30));
        assert_eq!((timing.interval.as_secs(), timing.timeout.as_secs()), (15, 10));
        // What is within the limits is used as it is, and what nobody names has its usual default.
        let given = CheckTiming { interval_seconds: Some(120), ..CheckTiming::default() };
        assert!(both.excesses_of(&given).is_empty());
        assert_eq!(both.timing(&given, Duration::from_secs(30)).interval.as_secs(), 120);
        assert_eq!(both.timing(&given, Duration::from_secs(30)).unhealthy_threshold, 3);
    }

    /// A small generator, so that the property is tried on many policies and stays the same from run to run.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }

        fn number(&mut self, most: u64) -> Option<u32> {
            (self.below(3) > 0).then(|| u32::try_from(1 + self.below(most)).expect("small"))
        }

        fn list(&mut self) -> Vec<&'static str> {
            let all = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "2001:db8::/32", "::ffff:10.2.0.0/112"];
            all.into_iter().filter(|_| self.below(4) == 0).collect()
        }

        fn policy(&mut self, name: usize) -> NamespacePolicy {
            let (allow, deny) = (self.list(), self.list());
            NamespacePolicy {
                defaults: CheckTiming {
                    interval_seconds: self.number(100),
                    timeout_seconds: self.number(60),
                    retry_interval_seconds: self.number(100),
                    unhealthy_threshold: self.number(10),
                    healthy_threshold: self.number(10),
                },
                limits: CheckLimits {
                    min_interval_seconds: self.number(100),
                    max_timeout_seconds: self.number(60),
                    max_instances_per_service: self.number(256),
                },
                networks: networks(&allow, &deny),
                ..policy(&format!("p{name}"))
            }
        }
    }

    #[test]
    fn the_combination_ignores_the_order_and_is_at_least_as_strict_as_each_policy() {
        let addresses = [
            "10.0.0.1",
            "10.1.0.1",
            "10.2.0.1",
            "192.0.2.1",
            "198.51.100.1",
            "2001:db8::1",
            "64:ff9b::10.1.0.1",
            "::1",
        ];
        let mut draw = Draw(7);
        for _ in 0..500 {
            let many = usize::try_from(1 + draw.below(4)).expect("small");
            let policies: Vec<NamespacePolicy> = (0..many).map(|name| draw.policy(name)).collect();
            let all = PolicyInForce::combine(&policies).expect("some");
            assert_eq!(Some(&all), PolicyInForce::combine(policies.iter().rev()).as_ref());
            let given = draw.policy(0).defaults;
            let timing = all.timing(&given, Duration::from_secs(30));
            assert!(timing.retry_interval <= timing.interval && !timing.timeout.is_zero());
            let most = |limit: fn(&PolicyInForce) -> Option<&Limit>, of: &PolicyInForce| {
                limit(of).map_or(u32::MAX, |limit| limit.value)
            };
            for one in policies.iter().map(|policy| PolicyInForce::combine([policy]).expect("one")) {
                let alone = one.timing(&given, Duration::from_secs(30));
                let least = one.min_interval.as_ref().map_or(0, |limit| limit.value);
                assert!(timing.interval >= Duration::from_secs(least.into()));
                assert!(alone.interval >= Duration::from_secs(least.into()));
                assert!(timing.timeout <= Duration::from_secs(most(|of| of.max_timeout.as_ref(), &one).into()));
                assert!(most(PolicyInForce::max_instances, &all) <= most(PolicyInForce::max_instances, &one));
                for address in addresses {
                    let address = address.parse().expect("an address");
                    assert!(all.admit(address).is_err() || one.admit(address).is_ok(), "{address}: {all:?}");
                }
            }
        }
    }
}
