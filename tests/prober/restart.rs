//! What survives the end of a process.

use std::time::Duration;

use portolan::model::health::CheckState;
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::OnDemandError;
use portolan::model::probe::ProbeRow;
use portolan::model::time::Clock;

use crate::harness::{Mode, Rig, Setup, Target, UNHURRIED, every_second, seldom, until};

const ERRORS: &str = "portolan_store_commit_errors_total";

/// Has every transaction with history fail.
const BREAK: &str = "CREATE TRIGGER broken BEFORE INSERT ON transition BEGIN SELECT RAISE(ABORT, 'by the test'); END";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_back_to_unknown() {
    let rig = Rig::start();
    let (up, down, often) =
        (Target::start(Mode::Ok).await, Target::start(Mode::Broken).await, Target::start(Mode::Ok).await);
    rig.register("up", &up.url(), seldom()).await;
    rig.register("down", &down.url(), seldom()).await;
    rig.register("often", &often.url(), every_second()).await;
    for (service, health) in [("up", Health::Healthy), ("down", Health::Unhealthy), ("often", Health::Healthy)] {
        rig.until_health(service, health).await;
    }
    let before = (rig.instance("up"), rig.instance("down"), rig.entry("up").last_check().get());
    let (up_hits, down_hits) = (up.hits(), down.hits());

    let rig = Box::pin(rig.restart()).await;
    assert_eq!((rig.instance("up"), rig.instance("down"), rig.entry("up").last_check().get()), before);
    often.until_hit(often.hits() + 3).await;
    assert_eq!((up.hits(), down.hits()), (up_hits, down_hits), "their next probe is due tomorrow");
    assert_eq!(rig.history("up").await.len(), 1);
    assert_eq!(rig.report().tracked, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_continues_after_a_restart() {
    let (rig, target) = (Rig::start(), Target::start(Mode::Broken).await);
    rig.register("user", &target.url(), seldom()).await;
    target.until_hit(2).await;
    // The second fail may or may not be counted by now; none may be counted twice.
    let rig = Box::pin(rig.restart()).await;
    rig.until_health("user", Health::Unhealthy).await;
    assert!((3..=4).contains(&target.hits()), "{}", target.hits());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_cancels_probes_and_counts_none() {
    let (mut rig, target) = (Rig::start(), Target::start(Mode::Hung).await);
    for n in 0..50 {
        rig.register(&format!("s{n}"), &target.url(), seldom()).await;
    }
    target.until_hit(50).await;
    let took = rig.stop().await;
    assert!(took < UNHURRIED, "{took:?}");
    until("the connections are closed", || target.open() == 0).await;
    for n in 0..50 {
        assert_eq!(rig.health(&format!("s{n}")).0, Health::Unknown);
        assert!(rig.history(&format!("s{n}")).await.is_empty());
    }
    assert!(rig.metric("portolan_probes_total{kind=\"http\",verdict=\"inconclusive\",reason=\"Cancelled\"}") < 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn probing_continues_while_the_store_refuses_and_nothing_is_lost() {
    let (mut rig, target) = (Rig::start(), Target::start(Mode::Ok).await);
    rig.register("user", &target.url(), every_second()).await;
    rig.until_health("user", Health::Healthy).await;
    rig.stop_store().await;
    target.turn(Mode::Broken);
    until("a change waits", || rig.report().uncommitted == 1).await;
    target.until_hit(target.hits() + 3).await;
    assert_eq!(rig.check_now("user").await.expect_err("its effect cannot be seen"), OnDemandError::Unavailable);
    let took = rig.stop().await;
    assert!(took < UNHURRIED, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_write_that_fails_is_retried() {
    let (mut rig, target) = (Rig::start(), Target::start(Mode::Ok).await);
    rig.register("user", &target.url(), every_second()).await;
    rig.until_health("user", Health::Healthy).await;
    let db = rig.database();
    db.execute_batch(BREAK).expect("breaks");
    target.turn(Mode::Broken);
    until("a change waits", || rig.report().uncommitted == 1 && rig.metric(ERRORS) > 0.5).await;
    let failed = rig.metric(ERRORS);
    rig.ask_to_stop();
    until("a last write failed", || rig.metric(ERRORS) > failed + 0.5).await;
    db.execute_batch("DROP TRIGGER broken").expect("mends");
    drop(db);
    rig.stop().await;
    assert_eq!(rig.health("user").0, Health::Unhealthy);
    assert_eq!(rig.history("user").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_never_runs_ahead_of_its_change() {
    let (rig, target) = (Rig::start(), Target::start(Mode::Held).await);
    rig.register("user", &target.url(), seldom()).await;
    target.until_hit(1).await;
    rig.database().execute_batch(BREAK).expect("breaks");
    target.turn(Mode::Ok);
    until("a change waits", || rig.report().uncommitted == 1).await;
    let rig = Box::pin(rig.restart()).await;
    assert_eq!(rig.health("user").0, Health::Unknown);
    assert_eq!(rig.restored, 0, "the change is not stored, so neither is its row");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_waits_for_its_retry_is_stored_at_shutdown() {
    let (mut rig, target) = (Rig::start(), Target::start(Mode::Held).await);
    rig.register("user", &target.url(), seldom()).await;
    target.until_hit(1).await;
    rig.database().execute_batch(BREAK).expect("breaks");
    target.turn(Mode::Ok);
    until("tries failed, and the next one is a second away", || rig.metric(ERRORS) > 2.5).await;
    rig.database().execute_batch("DROP TRIGGER broken").expect("mends");
    rig.stop().await;
    assert_eq!(rig.health("user").0, Health::Healthy);
    assert_eq!(rig.history("user").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_that_contradicts_its_row_is_proved_again() {
    let (rig, target) = (Setup::default().prepare(), Target::start(Mode::Ok).await);
    rig.register("user", &target.url(), seldom()).await;
    let (instance, now) = (rig.instance("user"), Clock::system().now());
    let row = ProbeRow {
        instance: instance.id,
        generation: instance.generation,
        check: portolan::model::name::CheckName::default(),
        state: CheckState::shown_as(Health::Healthy, Reason::Passed, now.wall, now),
        next_due: now.steady.plus(Duration::from_hours(24)),
        last: None,
        last_pass: None,
        samples: Vec::new(),
    };
    rig.store.record_probes(vec![row]).await.expect("stored");
    let rig = Box::pin(rig.reopen()).await;
    rig.until_health("user", Health::Healthy).await;
    assert_eq!(rig.history("user").await.len(), 1, "people see the change");
}
