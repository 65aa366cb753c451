//! The budget of one address.

use std::time::Duration;

use portolan::model::outcome::Health;
use portolan::model::ports::OnDemandError;
use portolan::prober::ResolverSettings;

use crate::dns::{Dns, Reply};
use crate::harness::{Mode, Setup, Target, every_second, seldom, timed, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_probed_within_its_budget_and_the_excess_waits() {
    let rig = Setup::budget(10).start();
    let (target, other) = (Target::at("127.0.0.9", Mode::Ok).await, Target::at("127.0.0.10", Mode::Ok).await);
    for n in 0..30 {
        rig.register(&format!("crowd#i{n}"), &target.url(), every_second()).await;
    }
    rig.register("alone", &other.url(), every_second()).await;
    target.until_hit(60).await;
    let times = target.times();
    let eleven = times.windows(11).map(|w| w[10] - w[0]).min().expect("enough");
    assert!(eleven >= Duration::from_millis(500), "eleven probes within {eleven:?}");
    assert!(rig.metric("portolan_probes_delayed_total") > 0.0);
    assert!(rig.report().delayed > 0);
    until("each had its turn", || rig.entry("crowd").service().instances.iter().all(|i| i.health == Health::Healthy))
        .await;
    assert!(
        rig.history("crowd").await.iter().all(|change| change.to == Some(Health::Healthy)),
        "a delay is not a fail"
    );
    assert!(other.hits() >= 3, "another address is not held up: {}", other.hits());
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_at_once_and_a_hung_address_takes_no_slots_while_it_waits() {
    let rig = Setup::budget(1000).start();
    let target = Target::at("127.0.0.11", Mode::Hung).await;
    for n in 0..20 {
        rig.register(&format!("crowd#i{n}"), &target.url(), every_second()).await;
    }
    target.until_hit(24).await;
    // The target notices an end a little later than the prober.
    assert!((8..=10).contains(&target.most_open()), "{}", target.most_open());
    until("those that wait hold no slot", || rig.report().in_flight <= 9).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hung_checks_hold_up_no_check_that_answers_at_the_same_address() {
    let rig = Setup::budget(100).start();
    let (hung, answering) = (Target::at("127.0.0.14", Mode::Hung).await, Target::at("127.0.0.14", Mode::Ok).await);
    for n in 0..80 {
        rig.register(&format!("a/hung#i{n}"), &hung.url(), timed(2, 2)).await;
    }
    until("most of the hung ones wait", || rig.report().delayed > 60).await;
    rig.register("b/one", &answering.url(), every_second()).await;
    rig.until_health("b/one", Health::Healthy).await;
    let (before, before_hung) = (answering.hits(), hung.hits());
    answering.until_hit(before + 4).await;
    let longest = answering.times().windows(2).skip(before - 1).map(|w| w[1] - w[0]).max().expect("enough");
    // In turn with the others it would wait for 80 of 2 s each, eight at a time: 20 s.
    assert!(longest < Duration::from_secs(10), "{longest:?} between two probes");
    until("the hung ones still have their turns", || hung.hits() >= before_hung + 8).await;
    // The target notices an end a little later than the prober.
    until("they leave half of the places", || hung.open() <= 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_on_demand_check_over_the_budget_learns_when_to_retry() {
    let rig = Setup::budget(2).start();
    let target = Target::at("127.0.0.12", Mode::Ok).await;
    rig.register("user", &target.url(), seldom()).await;
    rig.until_health("user", Health::Healthy).await;
    let mut refused = None;
    for _ in 0..3 {
        refused = rig.check_now("user").await.err().or(refused);
    }
    assert_eq!(refused, Some(OnDemandError::OverBudget { retry_after_seconds: 1 }));
    until("there is room again", || target.times().last().is_some_and(|at| at.elapsed() > Duration::from_secs(1)))
        .await;
    rig.check_now("user").await.expect("within the budget again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_address_keeps_its_budget_whatever_happens_to_the_first_ones() {
    let target = Target::at("127.0.0.13", Mode::Ok).await;
    let dns = Dns::start(|name, _, _| {
        let n = name.trim_start_matches('f').trim_end_matches(".test");
        Reply::addresses(&[&format!("127.0.1.{n}"), "127.0.0.13"], 60)
    })
    .await;
    let rig = Setup { resolver: ResolverSettings::Servers(vec![dns.address]), ..Setup::budget(3) }.start();
    for n in 1..=9 {
        rig.register(
            &format!("flood#i{n}"),
            &target.url().replace("127.0.0.13", &format!("f{n}.test")),
            every_second(),
        )
        .await;
    }
    target.until_hit(15).await;
    let times = target.times();
    let four = times.windows(4).map(|w| w[3] - w[0]).min().expect("enough");
    assert!(four >= Duration::from_millis(500), "four probes within {four:?}");
    until("each had its turn", || rig.entry("flood").service().instances.iter().all(|i| i.health == Health::Healthy))
        .await;
    assert!(
        rig.history("flood").await.iter().all(|change| change.to == Some(Health::Healthy)),
        "a delay is not a fail"
    );
}
