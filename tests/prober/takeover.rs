//! One of several replicas probes: taking over, and stepping down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portolan::model::check::Check;
use portolan::model::mirror::{MirrorChange, Mirrored, MirroredInstance, ReportedHealth, VerdictsFrom};
use portolan::model::name::{CheckName, InstanceName, Namespace, ServiceKey};
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::{Leadership, OnDemandError, Role};
use portolan::model::service::{InstanceSpec, Owner, Source, Warning};
use portolan::model::time::UnixMs;
use uuid::Uuid;

use crate::harness::{Mode, Rig, Setup, Target, every_second, seldom, spec, until};

/// Who probes, as the test says.
struct Switch(AtomicBool);

impl Switch {
    fn turn(&self, probes: bool) {
        self.0.store(probes, Ordering::SeqCst);
    }
}

impl Leadership for Switch {
    fn role(&self) -> Role {
        if self.0.load(Ordering::SeqCst) { Role::Leads } else { Role::Follows }
    }
}

/// A replica of a cluster.
fn replica(probes: bool) -> (Arc<Switch>, Rig) {
    let switch = Arc::new(Switch(AtomicBool::new(probes)));
    let rig = Setup { leadership: switch.clone(), mirror: true, ..Setup::default() }.start();
    (switch, rig)
}

fn reported(health: Health, reason: Reason) -> ReportedHealth {
    ReportedHealth::new(health, reason, UnixMs::wall())
}

impl Rig {
    /// An object of one instance, as the watch brings it.
    async fn put(&self, name: &str, url: &str, check: Check, reported: Option<ReportedHealth>) {
        self.put_spec(name, spec(url, check), reported).await;
    }

    async fn put_spec(&self, name: &str, spec: InstanceSpec, reported: Option<ReportedHealth>) {
        let revision = self.catalog.read().revision() + 1;
        let instance = MirroredInstance {
            name: InstanceName::default(),
            spec: Arc::new(spec),
            owner: Owner::Anonymous,
            generation: None,
            drain: None,
            reported,
            acknowledged: None,
        };
        let object = Mirrored {
            key: ServiceKey::new(&Namespace::default(), &name.parse().expect("a name")),
            id: Uuid::from_u128(revision.into()),
            source: Source::Manifest,
            registered_at: UnixMs(1),
            updated_at: UnixMs(2),
            revision,
            instances: vec![instance],
        };
        let mirrored = self.store.mirror(vec![MirrorChange::Put(object)], VerdictsFrom::Status);
        mirrored.await.expect("mirrors");
    }

    fn sequence(&self) -> u64 {
        self.catalog.read().sequence()
    }

    fn last_check(&self, name: &str) -> Option<UnixMs> {
        self.entry(name).last_check().get()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_changes_no_health_by_itself() {
    let (switch, rig) = replica(false);
    let (up, down, flapping) =
        (Target::start(Mode::Ok).await, Target::start(Mode::Broken).await, Target::start(Mode::Ok).await);
    let healthy = || Some(reported(Health::Healthy, Reason::Passed));
    rig.put("up", &up.url(), every_second(), healthy()).await;
    rig.put("down", &down.url(), every_second(), Some(reported(Health::Unhealthy, Reason::UnexpectedStatus))).await;
    rig.put("flapping", &flapping.url(), every_second(), Some(reported(Health::Unhealthy, Reason::Flapping))).await;
    rig.put("later", &up.url(), seldom(), healthy()).await;
    let before = rig.sequence();
    switch.turn(true);
    for target in [&up, &down, &flapping] {
        target.until_hit(4).await;
    }
    assert_eq!(rig.sequence(), before, "nothing was written, so nothing went back to unknown");
    assert_eq!(rig.health("flapping"), (Health::Unhealthy, Reason::Flapping), "the hold is kept");
    assert!(rig.last_check("up").is_some());
    assert_eq!(rig.last_check("later"), None, "what was proved waits for its turn");
    assert_eq!(rig.report().tracked, 4);

    up.turn(Mode::Broken);
    rig.until_health("up", Health::Unhealthy).await;
    assert_eq!(rig.catalog.read().revision(), 4, "a verdict of ours has no revision before its status is written");
    assert!(rig.entry("up").service().unreported.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_takeover_unproved_instances_are_probed_at_once() {
    let (switch, rig) = replica(false);
    let target = Target::start(Mode::Ok).await;
    rig.put("new", &target.url(), seldom(), None).await;
    rig.put("unproven", &target.url(), seldom(), Some(reported(Health::Unknown, Reason::Unproven))).await;
    switch.turn(true);
    for name in ["new", "unproven"] {
        rig.until_health(name, Health::Healthy).await;
    }
    rig.put("added", &target.url(), seldom(), None).await;
    rig.until_health("added", Health::Healthy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_steps_down_drops_everything() {
    let (switch, rig) = replica(true);
    let (up, hung) = (Target::start(Mode::Ok).await, Target::start(Mode::Hung).await);
    rig.put("up", &up.url(), every_second(), None).await;
    rig.until_health("up", Health::Healthy).await;
    until("its probe is noted", || rig.last_check("up").is_some()).await;
    rig.put("hung", &hung.url(), seldom(), None).await;
    hung.until_hit(1).await;
    let (asked, ()) = tokio::join!(rig.check_now("hung"), async {
        tokio::task::yield_now().await;
        switch.turn(false);
    });
    assert_eq!(asked.expect_err("nobody probes here"), OnDemandError::Unavailable);
    until("the probe under way is cut short", || hung.open() == 0).await;
    until("only who probes knows of probes", || rig.last_check("up").is_none()).await;
    assert_eq!(rig.report().tracked, 0);
    let (before, hits) = (rig.sequence(), up.hits());
    hung.turn(Mode::Ok);
    up.turn(Mode::Broken);
    rig.put("other", &up.url(), every_second(), None).await;
    let turned = Instant::now();
    until("two slots went by", || turned.elapsed() > Duration::from_millis(2500)).await;
    assert_eq!((rig.sequence(), up.hits()), (before + 2, hits), "what came by the watch is all that came");
    assert_eq!(rig.check_now("up").await.expect_err("nobody probes here"), OnDemandError::Unavailable);

    switch.turn(true);
    rig.until_health("up", Health::Unhealthy).await;
    rig.until_health("hung", Health::Healthy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_starts_as_a_follower_reports_no_probing() {
    let (switch, rig) = replica(true);
    let target = Target::start(Mode::Ok).await;
    rig.put("up", &target.url(), every_second(), None).await;
    rig.until_health("up", Health::Healthy).await;
    let hits = target.hits();
    switch.turn(false);
    let rig = Box::pin(rig.restart()).await;
    assert_eq!((rig.last_check("up"), rig.report().tracked), (None, 0));
    assert_eq!(rig.health("up").0, Health::Healthy, "the mirror goes on");
    assert!(target.hits() <= hits + 1, "one may have been under way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_of_several_checks_changes_nothing_either() {
    let (switch, rig) = replica(false);
    let (up, down) = (Target::start(Mode::Ok).await, Target::start(Mode::Broken).await);
    let two = |admin: &Target, advisory| {
        let admin = crate::several::named("admin", &admin.url(), advisory);
        InstanceSpec { checks: vec![admin], ..spec(&up.url(), every_second()) }
    };
    let healthy = || reported(Health::Healthy, Reason::Passed);
    let admin: CheckName = "admin".parse().expect("a name");
    let by_admin =
        ReportedHealth { decided_by: admin.clone(), ..reported(Health::Unhealthy, Reason::UnexpectedStatus) };
    let message = "3 failures in a row: status 500".to_owned();
    let warning = Arc::new(Warning { check: admin, reason: Reason::UnexpectedStatus, message });
    let warned = ReportedHealth { warning: Some(warning), ..healthy() };
    let both = ReportedHealth { also_failing: [CheckName::default()].into(), ..by_admin.clone() };
    let twice = InstanceSpec { checks: two(&down, false).checks, ..spec(&down.url(), every_second()) };
    rig.put_spec("both", twice, Some(both)).await;
    rig.put_spec("up", two(&up, false), Some(healthy())).await;
    rig.put_spec("down", two(&down, false), Some(by_admin)).await;
    rig.put_spec("warned", two(&down, true), Some(warned)).await;
    let before = rig.sequence();
    switch.turn(true);
    up.until_hit(12).await;
    down.until_hit(16).await;
    assert_eq!(rig.sequence(), before, "nothing was written");
    up.turn(Mode::Broken);
    rig.until_health("up", Health::Unhealthy).await;
    down.turn(Mode::Ok);
    until("the warning ends", || rig.instance("warned").warning.is_none()).await;
}
