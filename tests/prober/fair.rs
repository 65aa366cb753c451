//! When more probes are due than may run.

use std::time::Duration;

use futures::future::join_all;
use portolan::model::check::Check;
use portolan::model::outcome::{Health, Reason};

use crate::harness::{Mode, Rig, Setup, Target, every_second, seldom, until};

/// Registers `count` services of a namespace, each with the same target.
async fn register_many(rig: &Rig, namespace: &str, count: usize, target: &Target, check: &Check) {
    let url = target.url();
    let places: Vec<_> = (0..count).map(|n| format!("{namespace}/s{n}")).collect();
    join_all(places.iter().map(|place| rig.register(place, &url, check.clone()))).await;
}

async fn many(count: usize, mode: Mode) -> Vec<Target> {
    join_all((0..count).map(|_| Target::start(mode))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_targets_do_not_delay_the_others() {
    let rig = Setup::concurrency(32).start();
    let hung = Target::start(Mode::Hung).await;
    let fast = many(50, Mode::Ok).await;
    register_many(&rig, "hung", 200, &hung, &every_second()).await;
    for (n, target) in fast.iter().enumerate() {
        rig.register(&format!("fast/f{n}"), &target.url(), every_second()).await;
    }
    for n in 0..fast.len() {
        rig.until_health(&format!("fast/f{n}"), Health::Healthy).await;
    }
    let (before, before_hung): (Vec<_>, _) = (fast.iter().map(Target::hits).collect(), hung.hits());
    until("eight rounds of hung ones went by", || hung.hits() >= before_hung + 8 * 30).await;
    let rounds: Vec<_> = fast.iter().zip(before).map(|(target, before)| target.hits() - before).collect();
    // 30 slots at a second each: 8 s went by.
    assert!(rounds.iter().all(|n| *n >= 6), "{rounds:?}");
    assert!(hung.most_open() >= 24, "hung ones use what the others leave: {}", hung.most_open());
    let report = rig.report();
    assert!(report.hanging_stretch >= 2000, "seven times as many are due as there are slots for: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_namespace_does_not_starve_a_small_one() {
    let rig = Setup::concurrency(4).start();
    let (big, small) = (Target::start(Mode::Slow).await, Target::start(Mode::Slow).await);
    // 200 a second of 50 ms each want 10 slots of the 4.
    register_many(&rig, "big", 200, &big, &every_second()).await;
    until("every one of the big was proved once", || rig.catalog.read().counts("big").healthy == 200).await;
    rig.register("small/one", &small.url(), every_second()).await;
    rig.until_health("small/one", Health::Healthy).await;
    let (big_before, small_before) = (big.hits(), small.hits());
    small.until_hit(small_before + 6).await;
    let a_target = f64::from(u32::try_from(big.hits() - big_before).expect("few")) / 200.0;
    assert!(a_target < 4.5, "the small one is probed at its rate, the big ones as the slots allow: {a_target}");
    assert!(rig.report().queued > 0);
    // The targets notice an end a little later than the prober.
    assert!(big.most_open() + small.most_open() <= 8, "the bound holds");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_is_spread_over_a_second() {
    let mut rig = Setup::default().prepare();
    let target = Target::start(Mode::Ok).await;
    register_many(&rig, "storm", 2000, &target, &seldom()).await;
    rig.go();
    until("all are proved", || rig.catalog.read().counts("storm").healthy == 2000).await;
    let times = target.times();
    assert!((2000..2005).contains(&times.len()), "each once, one or two may meet their daily slot: {}", times.len());
    let (first, last) = (times.iter().min().expect("some"), times.iter().max().expect("some"));
    assert!(*last - *first >= Duration::from_millis(800), "{:?}", *last - *first);
    let burst =
        times.iter().map(|at| times.iter().filter(|t| (*at..*at + Duration::from_millis(50)).contains(t)).count());
    assert!(burst.max().expect("some") < 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_hangs_at_once_becomes_unhealthy_and_never_unknown_even_if_slots_are_short() {
    let rig = Setup::concurrency(8).start();
    let target = Target::start(Mode::Ok).await;
    register_many(&rig, "hole", 24, &target, &every_second()).await;
    until("all are proved", || rig.catalog.read().counts("hole").healthy == 24).await;
    target.turn(Mode::Hung);
    until("probes are late", || rig.report().hanging_lag_ms >= 1000).await;
    // 24 of a second each, three times over 8 slots; one address, so the guard has nobody to ask.
    until("all are unhealthy", || rig.catalog.read().counts("hole").unhealthy == 24).await;
    let unknown = |n: usize| rig.instance(&format!("hole/s{n}")).reason == Reason::Unproven;
    assert!(!(0..24).any(unknown), "who waits for us is not silent");
    target.turn(Mode::Ok);
    until("all are healthy again", || rig.catalog.read().counts("hole").healthy == 24).await;
    until("nothing waits any more", || rig.report().hanging_stretch < 1200).await;
}
