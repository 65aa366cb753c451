//! One target's life: proved, lost, found again.

use std::time::Duration;

use portolan::model::outcome::{Health, Reason};

use crate::harness::{AMPLE, Mode, Rig, Target, every_second, seldom, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_proved_lost_and_found_again() {
    let (rig, target) = (Rig::start(), Target::start(Mode::Ok).await);
    rig.register("shop/user", &target.url(), every_second()).await;
    rig.until_health("shop/user", Health::Healthy).await;
    let checked = rig.entry("shop/user").last_check().get().expect("it was probed");

    target.turn(Mode::Broken);
    rig.until_health("shop/user", Health::Unhealthy).await;
    assert_eq!(rig.health("shop/user").1, Reason::UnexpectedStatus);
    assert!(rig.entry("shop/user").last_check().get().expect("probed") > checked);

    target.turn(Mode::Ok);
    rig.until_health("shop/user", Health::Healthy).await;
    let mut changes: Vec<_> = rig.history("shop/user").await;
    changes.reverse();
    let seen: Vec<_> = changes.iter().map(|c| (c.from, c.to)).collect();
    let (new, up, down) = (Health::Unknown, Health::Healthy, Health::Unhealthy);
    assert_eq!(seen, [(new, Some(up)), (up, Some(down)), (down, Some(up))]);
    assert!(changes[1].message.contains("500"), "it says why: {}", changes[1].message);
    assert!(rig.metric("portolan_transitions_total{to=\"unhealthy\",reason=\"UnexpectedStatus\"}") >= 1.0);
    assert!(rig.metric("portolan_probes_total{kind=\"http\",verdict=\"pass\",reason=\"Passed\"}") >= 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_confirmed_at_the_retry_interval() {
    let (rig, target) = (Rig::start(), Target::start(Mode::Broken).await);
    rig.register("user", &target.url(), seldom()).await;
    rig.until_health("user", Health::Unhealthy).await;
    let times = target.times();
    assert_eq!(times.len(), 3, "three fails, no more");
    let took = times[2] - times[0];
    // A target on a busy machine may see the first late; the next by the interval is a day away.
    assert!((Duration::from_secs(1)..AMPLE).contains(&took), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port_is_detected_and_a_removed_service_is_no_longer_probed() {
    let (rig, target) = (Rig::start(), Target::start(Mode::Ok).await);
    rig.register("user", &target.url(), every_second()).await;
    rig.until_health("user", Health::Healthy).await;
    let url = target.url();
    drop(target);
    until("the port is found closed", || rig.health("user") == (Health::Unhealthy, Reason::ConnectRefused)).await;

    let other = Target::start(Mode::Ok).await;
    rig.register("other", &other.url(), every_second()).await;
    rig.deregister("user").await;
    until("one is tracked", || rig.report().tracked == 1).await;
    // The port is taken by someone else now: nobody probes them.
    let listener = tokio::net::TcpListener::bind(url.trim_start_matches("http://").trim_end_matches("/health")).await;
    let stranger = Target::on(listener.expect("the port is free"), Mode::Ok);
    other.until_hit(other.hits() + 3).await;
    assert_eq!(stranger.hits(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_url_starts_again_and_cancels_the_running_probe() {
    let rig = Rig::start();
    let (old, new) = (Target::start(Mode::Hung).await, Target::start(Mode::Ok).await);
    let first = rig.register("user", &old.url(), seldom()).await;
    old.until_hit(1).await;
    let second = rig.register("user", &new.url(), seldom()).await;
    assert!(second > first);
    rig.until_health("user", Health::Healthy).await;
    until("the old target is let go", || old.open() == 0).await;
    assert_eq!((old.hits(), new.hits()), (1, 1));
    assert_eq!(rig.history("user").await.len(), 1, "the old probe left nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_weight_neither_probes_nor_resets() {
    let (rig, target) = (Rig::start(), Target::start(Mode::Ok).await);
    rig.register("user", &target.url(), seldom()).await;
    rig.until_health("user", Health::Healthy).await;
    let before = rig.instance("user");
    rig.reweigh("user", 7).await;
    let other = Target::start(Mode::Ok).await;
    rig.register("other", &other.url(), seldom()).await;
    rig.until_health("other", Health::Healthy).await;
    let after = rig.instance("user");
    assert_eq!(after.spec.weight, 7);
    assert_eq!((after.health, after.since, after.generation), (before.health, before.since, before.generation));
    assert_eq!(target.hits(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_keep_their_rate() {
    let (rig, target) = (Rig::start(), Target::start(Mode::Ok).await);
    rig.register("user", &target.url(), every_second()).await;
    target.until_hit(6).await;
    let times = target.times();
    // The first comes at once, the others at the instance's phase.
    let span = times[5] - times[1];
    // Four intervals of a second, each seen late by what a busy machine needs.
    assert!((Duration::from_secs(3)..Duration::from_secs(40)).contains(&span), "{span:?}");
    assert_eq!(target.most_open(), 1);
}
