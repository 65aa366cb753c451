//! On-demand checks.

use futures::future::join_all;
use portolan::model::check::{Check, CheckKind};
use portolan::model::outcome::{Health, Reason, Verdict};
use portolan::model::ports::{OnDemand, OnDemandError};

use crate::harness::{Mode, Rig, Target, UNHURRIED, seldom, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_overrides_the_threshold_and_is_visible_when_it_returns() {
    let (rig, target) = (Rig::start(), Target::start(Mode::Ok).await);
    rig.register("user", &target.url(), seldom()).await;
    rig.until_health("user", Health::Healthy).await;
    for (mode, health) in [(Mode::Broken, Health::Unhealthy), (Mode::Ok, Health::Healthy)] {
        target.turn(mode);
        let checked = rig.check_now("user").await.expect("checked");
        assert_eq!(rig.health("user").0, health, "the next read shows it");
        let outcome = checked[0].outcome.as_ref().expect("it was probed");
        assert_eq!(outcome.verdict == Verdict::Pass, health == Health::Healthy);
        assert_eq!(rig.entry("user").last_check().get(), Some(outcome.at));
    }
    assert!(rig.history("user").await[0].message.contains("request"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_only_observed_changes_nothing() {
    let (rig, target) = (Rig::start(), Target::start(Mode::Ok).await);
    rig.register("user", &target.url(), seldom()).await;
    rig.until_health("user", Health::Healthy).await;
    target.turn(Mode::Broken);
    let id = rig.entry("user").service().id;
    for _ in 0..4 {
        let seen = rig.handle.observe_now(id, None).await.expect("observed");
        assert_eq!(seen[0].outcome.as_ref().map(|o| o.verdict), Some(Verdict::Fail));
        assert_eq!(rig.health("user").0, Health::Healthy, "more failures than the threshold, and none counts");
    }
    assert_eq!(rig.history("user").await.len(), 1, "only its first change");
    let checked = rig.check_now("user").await.expect("checked");
    assert_eq!(checked[0].outcome.as_ref().map(|o| o.verdict), Some(Verdict::Fail));
    assert_eq!(rig.health("user").0, Health::Unhealthy, "who asks for a verdict gets it");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_join_the_running_probe() {
    let (rig, target) = (Rig::start(), Target::start(Mode::Held).await);
    rig.register("user", &target.url(), seldom()).await;
    target.until_hit(1).await;
    let release = async {
        until("ten wait", || rig.metric("portolan_queue_depth{queue=\"checks\"}") >= 10.0).await;
        target.turn(Mode::Ok);
    };
    let (answers, ()) = tokio::join!(join_all((0..10).map(|_| rig.check_now("user"))), release);
    for answer in answers {
        assert_eq!(answer.expect("checked")[0].outcome.as_ref().map(|o| o.reason), Some(Reason::Passed));
    }
    assert_eq!(target.hits(), 1);
    assert_eq!(rig.health("user").0, Health::Healthy);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instance_is_checked_and_one_without_a_check_says_so() {
    let (rig, up, down) = (Rig::start(), Target::start(Mode::Ok).await, Target::start(Mode::Broken).await);
    rig.register("user#a", &up.url(), seldom()).await;
    rig.register("user#b", &down.url(), seldom()).await;
    rig.register("user#c", &up.url(), Check { kind: Some(CheckKind::None), ..Check::default() }).await;
    let checked = rig.check_now("user").await.expect("checked");
    let seen: Vec<_> = checked.iter().map(|c| (c.instance.as_str(), c.outcome.as_ref().map(|o| o.verdict))).collect();
    assert_eq!(seen, [("a", Some(Verdict::Pass)), ("b", Some(Verdict::Fail)), ("c", None)]);
    assert_eq!(rig.health("user#b").0, Health::Unhealthy);
    assert_eq!(rig.health("user#c"), (Health::Unknown, Reason::NotChecked));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_a_missing_service_or_after_the_shutdown_get_an_error() {
    let (mut rig, target) = (Rig::start(), Target::start(Mode::Held).await);
    rig.register("user", &target.url(), seldom()).await;
    target.until_hit(1).await;
    let remove = async {
        until("one waits", || rig.metric("portolan_queue_depth{queue=\"checks\"}") >= 1.0).await;
        rig.deregister("user").await;
    };
    let id = rig.entry("user").service().id;
    let (answer, ()) = tokio::join!(rig.handle.check_now(id, None), remove);
    assert_eq!(answer.expect_err("it is gone"), OnDemandError::NotFound);
    assert_eq!(rig.handle.check_now(id, None).await.expect_err("it is gone"), OnDemandError::NotFound);

    rig.register("other", &target.url(), seldom()).await;
    let id = rig.entry("other").service().id;
    let handle = rig.handle.clone();
    let (answer, took) = tokio::join!(handle.check_now(id, None), rig.stop());
    assert_eq!(answer.expect_err("the prober stopped"), OnDemandError::Unavailable);
    assert!(took < UNHURRIED, "{took:?}");
    assert_eq!(handle.check_now(id, None).await.expect_err("the prober is gone"), OnDemandError::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_removed_keeps_no_request_waiting() {
    let (rig, up, hung) = (Rig::start(), Target::start(Mode::Ok).await, Target::start(Mode::Held).await);
    rig.register("user#a", &up.url(), seldom()).await;
    rig.register("user#b", &hung.url(), seldom()).await;
    hung.until_hit(1).await;
    let remove = async {
        until("one waits", || rig.metric("portolan_queue_depth{queue=\"checks\"}") >= 1.0).await;
        rig.remove("user#b").await;
    };
    let (answer, ()) = tokio::join!(tokio::time::timeout(UNHURRIED, rig.check_now("user")), remove);
    let checked = answer.expect("it is answered").expect("checked");
    assert_eq!(checked.iter().map(|c| c.instance.as_str()).collect::<Vec<_>>(), ["a"]);
    until("no ticket is left", || rig.metric("portolan_queue_depth{queue=\"checks\"}") < 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_is_probed_alone() {
    let (rig, up, down) = (Rig::start(), Target::start(Mode::Ok).await, Target::start(Mode::Ok).await);
    rig.register("user#a", &up.url(), seldom()).await;
    rig.register("user#b", &down.url(), seldom()).await;
    rig.until_health("user#a", Health::Healthy).await;
    rig.until_health("user#b", Health::Healthy).await;
    down.turn(Mode::Broken);
    let id = rig.entry("user").service().id;
    let of = |name: &str| Some(name.parse().expect("a name"));
    let checked = rig.handle.check_now(id, of("a")).await.expect("checked");
    assert_eq!(checked.iter().map(|part| part.instance.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(rig.health("user#b").0, Health::Healthy, "it was not probed");
    assert_eq!(rig.handle.check_now(id, of("c")).await.expect_err("there is none"), OnDemandError::NotFound);
}
