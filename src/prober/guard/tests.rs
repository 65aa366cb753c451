use proptest::prelude::*;

use super::sample::{Location, TargetResult, count_losses};
use super::*;
use crate::model::outcome::{Stage, Timings};

fn at(ms: i64) -> UnixMs {
    UnixMs(ms)
}

fn address(n: u32) -> IpAddr {
    std::net::Ipv4Addr::from(0x0a00_0000 + n).into()
}

fn namespace(n: u32) -> &'static str {
    ["a", "b", "c", "d", "e"][n as usize % 5]
}

/// A scheduled probe of healthy instance `n` on an address of its own.
fn observation(n: u32, reach: Reach, ms: i64) -> Observation<'static> {
    Observation {
        check: CheckId::plain(n.into()),
        namespace: namespace(n),
        address: Some(address(n)),
        was_healthy: true,
        scheduled: true,
        reach,
        at: at(ms),
    }
}

fn fall(n: u32, failing_since: i64, started: i64) -> Fall<'static> {
    Fall {
        check: CheckId::plain(n.into()),
        namespace: namespace(n),
        address: Some(address(n)),
        reason: Reason::ConnectTimeout,
        failing_since: at(failing_since),
        started: at(started),
    }
}

/// `reached` passes within the second before 1,000 ms, then losses of the rest of `all` within the second after.
fn guard(reached: u32, all: u32) -> Guard {
    let mut guard = Guard::default();
    (0..reached).for_each(|n| guard.observe(&observation(n, Reach::Reached, 500)));
    (reached..all).for_each(|n| guard.observe(&observation(n, Reach::Lost, 1500)));
    guard
}

/// A guard whose canaries were all lost, holding since 2,000 ms.
fn convicted() -> Guard {
    let mut guard = guard(40, 60);
    assert!(guard.holds(&fall(50, 1500, 1900), at(2000)));
    for canary in guard.canaries() {
        let n = u32::try_from(canary.instance.0).expect("small");
        guard.observe(&Observation { scheduled: false, ..observation(n, Reach::Lost, 2100) });
    }
    assert_eq!(guard.judge(at(2100)), GuardState::Holding { since: at(2000), until: at(62_000) });
    guard
}

#[test]
fn only_what_could_be_ours_is_a_loss() {
    let seen = |verdict, reason: Reason| {
        let (stage, timings, message) = (Stage::Connect, Timings::default(), String::new());
        Reach::from(&Outcome {
            verdict,
            reason,
            stage,
            at: at(0),
            address: None,
            code: None,
            certificate_expires_at: None,
            message,
            timings,
        })
    };
    assert_eq!(seen(Verdict::Pass, Reason::Passed), Reach::Reached);
    for reason in [Reason::ConnectRefused, Reason::ConnectionReset, Reason::TlsFailed, Reason::UnexpectedStatus] {
        assert_eq!(seen(Verdict::Fail, reason), Reach::Reached, "{reason}");
    }
    for reason in [Reason::ConnectTimeout, Reason::Timeout, Reason::Unreachable, Reason::NameNotFound] {
        assert_eq!(seen(Verdict::Fail, reason), Reach::Lost, "{reason}");
    }
    assert_eq!(seen(Verdict::Fail, Reason::AddressDenied), Reach::Nothing);
    assert_eq!(seen(Verdict::Inconclusive, Reason::NoRoute), Reach::Nothing);
    let refused = Fall { reason: Reason::ConnectRefused, ..fall(50, 1500, 1900) };
    assert!(!guard(40, 60).holds(&refused, at(2000)));
}

#[test]
fn canaries_are_spread_over_addresses_and_namespaces() {
    let mut guard = Guard::default();
    for n in 0..40 {
        guard.observe(&observation(n, Reach::Reached, 100));
    }
    for n in 1000..1500 {
        guard.observe(&Observation { namespace: "loud", ..observation(n, Reach::Reached, 200) });
        guard.observe(&Observation { address: Some(address(1000)), ..observation(n + 1000, Reach::Reached, 300) });
    }
    (40..60).for_each(|n| guard.observe(&observation(n, Reach::Lost, 1500)));
    assert!(guard.holds(&fall(50, 1500, 1900), at(2000)));
    let canaries = guard.canaries();
    assert_eq!(canaries.len(), MAX_CANARIES);
    assert_eq!(canaries.iter().filter(|c| c.instance.0 < 40).count(), 40, "the others first");
    assert_eq!(canaries.iter().filter(|c| c.instance.0 >= 2000).count(), 1, "one an address");
    assert!(guard.canaries().is_empty(), "once");
}

#[test]
fn half_of_the_canaries_reached_lets_falls_happen() {
    let mut guard = guard(20, 40);
    assert!(guard.holds(&fall(30, 1500, 1900), at(2000)));
    let canaries = guard.canaries();
    assert_eq!(canaries.len(), 20);
    for canary in &canaries[..9] {
        guard.observe(&observation(u32::try_from(canary.instance.0).expect("small"), Reach::Reached, 2010));
    }
    assert_eq!(guard.judge(at(2010)), GuardState::Asking { since: at(2000) });
    assert!(guard.release_batch(at(2010)).is_empty());
    guard.observe(&observation(u32::try_from(canaries[9].instance.0).expect("small"), Reach::Reached, 2020));
    assert_eq!(guard.judge(at(2020)), GuardState::Clear);
    assert_eq!(guard.release_batch(at(2020)), [Release::Commit(CheckId::plain(30))]);
    assert!(!guard.holds(&fall(31, 1600, 1900), at(3000)), "that word stands for what failed before it");
    assert!(guard.holds(&fall(32, 2500, 2500), at(3000)), "not for what came after");
}

#[test]
fn silent_canaries_are_lost_ones() {
    let mut guard = guard(20, 40);
    assert!(guard.holds(&fall(30, 1500, 1900), at(2000)));
    assert_eq!(guard.judge(at(7999)), GuardState::Asking { since: at(2000) });
    assert!(matches!(guard.judge(at(8000)), GuardState::Holding { .. }));
}

#[test]
fn a_hold_ends_after_a_minute_and_is_not_repeated_for_five() {
    let mut guard = convicted();
    for n in 100..700 {
        assert!(guard.holds(&fall(n, 1500, 3000), at(3000)));
    }
    assert!(matches!(guard.judge(at(61_999)), GuardState::Holding { .. }));
    assert!(guard.release_batch(at(61_999)).is_empty());
    assert_eq!(guard.judge(at(62_000)), GuardState::Clear);
    let mut released = Vec::new();
    for ms in (62_000..).step_by(100).take(3) {
        let batch = guard.release_batch(at(ms));
        assert!(batch.len() <= BATCH && guard.release_batch(at(ms + 50)).is_empty());
        released.extend(batch);
    }
    assert_eq!(released.len(), 601);
    assert!(released.iter().all(|r| matches!(r, Release::Confirm(_))), "nobody was reached since");
    assert_eq!((guard.held(), guard.due(at(63_000))), (0, None));
    for n in 0..30 {
        guard.observe(&observation(n, Reach::Lost, 361_000));
    }
    assert!(!guard.holds(&fall(5, 361_000, 361_000), at(361_999)));
    assert!(guard.holds(&fall(5, 361_000, 362_000), at(362_000)));
}

#[test]
fn a_recovery_lets_go_and_old_probes_prove_nothing() {
    let mut guard = convicted();
    (0..12).for_each(|n| guard.observe(&observation(n, Reach::Reached, 20_000)));
    assert_eq!(guard.judge(at(20_000)), GuardState::Clear);
    assert_eq!(guard.release_batch(at(20_000)), [Release::Probe(CheckId::plain(50))]);
    assert!(guard.holds(&fall(51, 1500, 19_000), at(22_000)), "began before the recovery");
    assert_eq!(guard.release_batch(at(22_000)), [Release::Probe(CheckId::plain(51))]);
    assert!(!guard.holds(&fall(51, 1500, 22_000), at(22_001)));
}

#[test]
fn what_was_reached_or_removed_is_held_no_more() {
    let mut guard = convicted();
    assert!(guard.holds(&fall(51, 1500, 3000), at(3000)) && guard.holds(&fall(52, 1500, 3000), at(3000)));
    guard.observe(&observation(51, Reach::Reached, 3100));
    guard.forget(CheckId::plain(52), namespace(52));
    assert_eq!(guard.held(), 1);
}

#[test]
fn a_lone_service_has_nobody_to_ask() {
    let mut guard = Guard::default();
    (0..3).for_each(|n| guard.observe(&observation(n, Reach::Reached, 0)));
    guard.observe(&observation(0, Reach::Lost, 10_000));
    assert!(!guard.holds(&fall(0, 10_000, 12_000), at(12_000)), "two others are too few");
    assert_eq!(guard.due(at(12_000)), None);
}

#[test]
fn a_name_that_no_longer_resolves_counts_at_its_last_address() {
    let mut guard = Guard::default();
    for n in 0..12 {
        let place = if n < 4 { address(n) } else { address(99) };
        guard.observe(&Observation { address: Some(place), ..observation(n, Reach::Reached, 0) });
    }
    for n in 0..4 {
        guard.observe(&observation(n, Reach::Reached, 1500));
    }
    for n in 4..12 {
        guard.observe(&Observation { address: None, ..observation(n, Reach::Lost, 1500) });
    }
    let fall = Fall { address: None, reason: Reason::NameNotFound, ..fall(4, 1000, 1500) };
    assert!(!guard.holds(&fall, at(2000)), "eight names, one address: one loss of five");
}

proptest! {
    #[test]
    fn no_namespace_alone_makes_most_lost(sizes in proptest::collection::vec(1u32..200, 4..12), loud in 0usize..4) {
        let votes = |lost: &dyn Fn(usize) -> bool| {
            let of = |(ns, size): (usize, &u32)| {
                let lost = lost(ns);
                let base = u32::try_from(ns).expect("small") * 1000;
                (0..*size).map(move |i| TargetResult { ns: ns as u64, location: Location::Address(address(base + i)), lost }).collect::<Vec<_>>()
            };
            count_losses(sizes.iter().enumerate().flat_map(of))
        };
        prop_assert!(!votes(&|ns| ns == loud).mostly_lost());
        prop_assert!(votes(&|_| true).mostly_lost());
        prop_assert!(!votes(&|_| false).mostly_lost());
        let loudest = votes(&|ns| ns == loud).lost_by_share;
        prop_assert!(loudest <= 0.25 + 1e-9, "{}", loudest);
    }

    #[test]
    fn an_address_weighs_the_same_however_many_targets_it_has(extra in 1usize..50, locations in 2u32..20) {
        let vote = |n: u32, lost| TargetResult { ns: 1, location: Location::Address(address(n)), lost };
        let single = count_losses((0..locations).map(|n| vote(n, n == 0)));
        let crowded = count_losses((0..locations).map(|n| vote(n, n == 0)).chain((0..extra).map(|_| vote(0, true))));
        prop_assert!((single.lost - crowded.lost).abs() < 1e-9);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    /// Whatever happens, what is held comes back within the longest hold, and memory is bounded.
    #[test]
    fn nothing_is_held_for_long(
        events in proptest::collection::vec((0u32..60, 0usize..5, 0i64..400), 1..600),
    ) {
        let mut guard = Guard::default();
        let (mut now, mut held_since) = (0, None);
        for (n, what, wait) in events {
            now += wait;
            let seen = [Reach::Reached, Reach::Lost, Reach::Lost, Reach::Nothing, Reach::Nothing][what];
            if what == 4 {
                guard.forget(CheckId::plain(n.into()), namespace(n));
            }
            guard.observe(&observation(n, seen, now));
            if seen == Reach::Lost && guard.holds(&fall(n, now - 1000, now - 5), at(now)) {
                held_since.get_or_insert(now);
            }
            guard.judge(at(now));
            guard.canaries();
            guard.release_batch(at(now));
            if guard.held() == 0 {
                held_since = None;
            }
            prop_assert!(held_since.is_none_or(|since| now - since < 62_000 + 400));
            prop_assert!(guard.held() == 0 || guard.due(at(now)).is_some());
        }
    }
}

#[test]
fn memory_is_bounded() {
    let mut guard = Guard::default();
    for n in 0..40_000 {
        let namespace = format!("n{}", n % 100);
        guard.observe(&Observation { namespace: &namespace, ..observation(n, Reach::Reached, n.into()) });
    }
    assert!(guard.sample.kept() <= 2 * 256 * 64);
}
