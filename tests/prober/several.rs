//! Several checks of one instance.

use portolan::model::check::NamedCheck;
use portolan::model::outcome::{Health, Reason, Verdict};
use portolan::model::ports::{
    AcknowledgementChange, AcknowledgementOrder, Caller, Probing as _, Registrar as _, ServiceRef,
};
use portolan::model::service::{InstanceSpec, Owner};
use portolan::model::url::EndpointUrl;

use crate::harness::{Mode, Rig, Target, every_second, seldom, spec, until};

pub(crate) fn named(name: &str, url: &str, advisory: bool) -> NamedCheck {
    let url = Some(EndpointUrl::health(url).expect("a url"));
    NamedCheck { name: name.parse().expect("a name"), advisory, url, check: every_second() }
}

/// An instance with a plain check, a required one called `admin` and an advisory one called `disk`.
fn three(plain: &Target, admin: &Target, disk: &Target) -> InstanceSpec {
    let checks = vec![named("admin", &admin.url(), false), named("disk", &disk.url(), true)];
    InstanceSpec { checks, ..spec(&plain.url(), every_second()) }
}

/// The same, probed once a day.
fn seldom_three(plain: &Target, admin: &Target, disk: &Target) -> InstanceSpec {
    let mut spec = InstanceSpec { check: seldom(), ..three(plain, admin, disk) };
    spec.checks.iter_mut().for_each(|named| named.check = seldom());
    spec
}

async fn targets() -> [Target; 3] {
    [Target::start(Mode::Ok).await, Target::start(Mode::Ok).await, Target::start(Mode::Ok).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_instance_follows_its_required_checks_and_names_the_one_that_decides() {
    let (rig, [plain, admin, disk]) = (Rig::start(), targets().await);
    rig.register_spec("user", three(&plain, &admin, &disk)).await;
    rig.until_health("user", Health::Healthy).await;
    assert_eq!(rig.report().tracked, 1, "one instance");

    admin.turn(Mode::Broken);
    rig.until_health("user", Health::Unhealthy).await;
    let since = rig.instance("user").since;
    assert_eq!((rig.instance("user").decided_by.as_str(), rig.health("user").1), ("admin", Reason::UnexpectedStatus));
    let fall = rig.history("user").await.remove(0);
    assert_eq!((fall.check.as_str(), fall.from, fall.to), ("admin", Health::Healthy, Some(Health::Unhealthy)));
    assert!(fall.evidence.is_some_and(|evidence| evidence.address == Some(admin.address)));

    // A second failure is only named; when the first ends, the second decides.
    plain.turn(Mode::Broken);
    until("it is named", || also_failing(&rig) == ["default"]).await;
    disk.turn(Mode::Broken);
    until("it warns", || rig.instance("user").warning.is_some()).await;
    assert_eq!(also_failing(&rig), ["default"], "the warning says the rest");
    disk.turn(Mode::Ok);
    plain.until_hit(plain.hits() + 5).await;
    assert_eq!(rig.instance("user").decided_by.as_str(), "admin");
    admin.turn(Mode::Ok);
    until("the plain check decides", || rig.instance("user").decided_by.is_default()).await;
    assert_eq!(also_failing(&rig), [""; 0]);
    assert_eq!((rig.health("user").0, rig.instance("user").since), (Health::Unhealthy, since), "without a break");
    assert_eq!(rig.history("user").await.len(), 2, "that is not a transition");
    plain.turn(Mode::Ok);
    rig.until_health("user", Health::Healthy).await;
    assert_eq!(rig.history("user").await.len(), 3);
}

fn also_failing(rig: &Rig) -> Vec<String> {
    rig.instance("user").also_failing.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_check_that_fails_ends_an_acknowledgement_although_the_first_still_decides() {
    let (rig, [plain, admin, disk]) = (Rig::start(), targets().await);
    rig.register_spec("user", three(&plain, &admin, &disk)).await;
    rig.until_health("user", Health::Healthy).await;
    let acknowledge = async || {
        let order = AcknowledgementOrder { note: "known".to_owned(), by: "alice".to_owned(), until: None };
        let (service, caller) =
            (ServiceRef::Id(rig.entry("user").service().id), Caller { owner: Owner::Anonymous, admin: false });
        rig.store.acknowledge(service, None, AcknowledgementChange::Start(order), caller).await.expect("it fails");
    };
    let is_known = || rig.instance("user").acknowledged.is_some();
    admin.turn(Mode::Broken);
    rig.until_health("user", Health::Unhealthy).await;
    acknowledge().await;
    let hits = admin.hits();
    admin.until_hit(hits + 3).await;
    assert!(is_known(), "the same failure");

    plain.turn(Mode::Broken);
    until("it ends", || !is_known()).await;
    assert_eq!(rig.instance("user").decided_by.as_str(), "admin", "the first one still decides");
    until("it is reported", || also_failing(&rig) == ["default"]).await;
    acknowledge().await;
    admin.turn(Mode::Ok);
    until("the second one decides", || rig.instance("user").decided_by.is_default()).await;
    assert!(is_known(), "both were known");

    let rig = Box::pin(rig.restart()).await;
    let hits = plain.hits();
    plain.until_hit(hits + 3).await;
    assert!(rig.instance("user").acknowledged.is_some(), "a restart is not a failure");
    disk.turn(Mode::Broken);
    until("a warning ends it, too", || rig.instance("user").acknowledged.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advisory_check_only_warns() {
    let (rig, [plain, admin, disk]) = (Rig::start(), targets().await);
    rig.register_spec("user", three(&plain, &admin, &disk)).await;
    rig.until_health("user", Health::Healthy).await;
    disk.turn(Mode::Broken);
    until("it warns", || rig.instance("user").warning.is_some()).await;
    let warning = rig.instance("user").warning.expect("it warns");
    assert_eq!((warning.check.as_str(), warning.reason), ("disk", Reason::UnexpectedStatus));
    assert!(warning.message.contains("status 500"), "{}", warning.message);
    assert_eq!((rig.health("user").0, rig.history("user").await.len()), (Health::Healthy, 1));
    disk.turn(Mode::Ok);
    until("the warning ends", || rig.instance("user").warning.is_none()).await;
    assert_eq!((rig.health("user").0, rig.history("user").await.len()), (Health::Healthy, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_required_check_nothing_is_checked() {
    let (rig, disk) = (Rig::start(), Target::start(Mode::Broken).await);
    let base = EndpointUrl::base(&disk.url()).expect("a url");
    let checks = vec![named("disk", &disk.url(), true)];
    rig.register_spec("user", InstanceSpec { checks, ..InstanceSpec::at(base) }).await;
    until("it warns", || rig.instance("user").warning.is_some()).await;
    assert_eq!(rig.health("user"), (Health::Unknown, Reason::NotChecked));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_check_goes_on_after_a_restart() {
    let (rig, [plain, admin, disk]) = (Rig::start(), targets().await);
    let spec = seldom_three(&plain, &admin, &disk);
    admin.turn(Mode::Broken);
    disk.turn(Mode::Broken);
    rig.register_spec("user", spec).await;
    rig.until_health("user", Health::Unhealthy).await;
    until("it warns", || rig.instance("user").warning.is_some()).await;
    plain.until_hit(1).await;
    let (before, hits) = (rig.instance("user"), [plain.hits(), admin.hits(), disk.hits()]);

    let rig = Box::pin(rig.restart()).await;
    until("it is tracked", || rig.report().tracked == 1).await;
    let all = rig.handle.probing(vec![rig.entry("user").service().id]).await.expect("known");
    let checks = &all[0].1;
    let names: Vec<_> = checks.iter().map(|check| (check.check.as_str(), check.advisory, check.health)).collect();
    assert_eq!(
        names,
        [("default", false, Health::Healthy), ("admin", false, Health::Unhealthy), ("disk", true, Health::Unhealthy)]
    );
    assert!(checks.iter().all(|check| check.last.is_some() && check.instance.as_str() == "default"));
    assert_eq!(rig.instance("user"), before);
    assert_eq!([plain.hits(), admin.hits(), disk.hits()], hits, "the next probes are due tomorrow");
    assert_eq!(rig.history("user").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_on_request_makes_all_of_them_and_answers_with_the_worst() {
    let (rig, [plain, admin, disk]) = (Rig::start(), targets().await);
    rig.register_spec("user", seldom_three(&plain, &admin, &disk)).await;
    rig.until_health("user", Health::Healthy).await;
    // Whoever asks joins a probe that runs. After this none does, and the next is due tomorrow.
    rig.check_now("user").await.expect("checked");
    disk.turn(Mode::Broken);
    let checked = rig.check_now("user").await.expect("checked");
    assert_eq!(checked.len(), 1);
    assert_eq!(
        checked[0].outcome.as_ref().map(|outcome| outcome.verdict),
        Some(Verdict::Pass),
        "advice is not a verdict"
    );
    assert!(rig.instance("user").warning.is_some(), "its effect is visible");
    admin.turn(Mode::Broken);
    let checked = rig.check_now("user").await.expect("checked");
    assert_eq!(checked[0].outcome.as_ref().map(|outcome| outcome.address), Some(Some(admin.address)));
    assert_eq!(rig.instance("user").decided_by.as_str(), "admin");
    let each: Vec<_> = checked[0].checks.iter().map(|one| (one.check.as_str(), one.outcome.verdict)).collect();
    let (fail, pass) = (Verdict::Fail, Verdict::Pass);
    assert_eq!(each, [("admin", fail), ("default", pass), ("disk", fail)], "the worst first, advice last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_one_check_begins_anew_and_its_removal_leaves_nothing_behind() {
    let (rig, [plain, admin, disk]) = (Rig::start(), targets().await);
    rig.register_spec("user", three(&plain, &admin, &disk)).await;
    admin.turn(Mode::Broken);
    rig.until_health("user", Health::Unhealthy).await;
    rig.register_spec("user", InstanceSpec { checks: Vec::new(), ..three(&plain, &admin, &disk) }).await;
    rig.until_health("user", Health::Healthy).await;
    let hits = admin.hits() + disk.hits();
    plain.until_hit(plain.hits() + 3).await;
    assert_eq!(admin.hits() + disk.hits(), hits, "what is gone is not probed");
    rig.deregister("user").await;
    until("nothing is tracked", || rig.report().tracked == 0).await;
}
