//! What programs report of themselves, and leases that expire.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use portolan::model::check::{Check, CheckKind, CheckTiming, HeartbeatCheck};
use portolan::model::outcome::{Health, Reason, Verdict};
use portolan::model::ports::{Beat, BeatError, BeatStatus, Heard, Heartbeats as _, Probing as _};
use portolan::model::reachability::Reachability;
use portolan::model::service::InstanceSpec;
use portolan::model::time::{Clock, Now, UnixMs};
use portolan::model::url::EndpointUrl;
use portolan::prober::ProberSettings;

use crate::harness::{Mode, Rig, Setup, Target, every_second, spec, until};

/// A clock that a test moves, and the engine with it.
pub(crate) struct Hand {
    pub(crate) clock: Clock,
    at: AtomicI64,
}

impl Hand {
    pub(crate) fn start() -> Self {
        let at = UnixMs::wall();
        Self { clock: Clock::manual(Now { steady: at, wall: at }), at: AtomicI64::new(at.0) }
    }

    pub(crate) fn rig(&self, settings: ProberSettings) -> Rig {
        Setup { settings, ..Setup::clock(self.clock.clone()) }.start()
    }

    /// Moves the clock at once; for the engine, the process was stopped meanwhile.
    pub(crate) fn jump(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).expect("short enough");
        let at = UnixMs(self.at.fetch_add(by, Ordering::SeqCst) + by);
        self.clock.set(Now { steady: at, wall: at });
    }

    /// Lets time pass for all that is registered, in steps that the engine sees one by one.
    pub(crate) async fn pass(&self, rig: &Rig, time: Duration) {
        const STEP: Duration = Duration::from_secs(2);
        let registered = || rig.catalog.snapshot().total().instances;
        until("the engine knows what is registered", || rig.report().tracked == registered()).await;
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(STEP);
            self.jump(step);
            seen(rig).await;
            left -= step;
        }
    }
}

/// Waits until the engine has had a tick: it has one between two answers.
pub(crate) async fn seen(rig: &Rig) {
    for _ in 0..2 {
        rig.handle.probing(Vec::new()).await.expect("it runs");
    }
}

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn heartbeat(ttl_seconds: u32) -> Check {
    Check { kind: Some(CheckKind::Heartbeat(HeartbeatCheck { ttl_seconds })), ..Check::default() }
}

pub(crate) fn leased(ttl_seconds: u32) -> InstanceSpec {
    let base = EndpointUrl::base("http://127.0.0.1:9").expect("a url");
    InstanceSpec { check: heartbeat(ttl_seconds), ..InstanceSpec::at(base) }
}

pub(crate) fn beat(rig: &Rig, place: &str, status: BeatStatus, note: Option<&str>) -> Result<Heard, BeatError> {
    let (service, instance) = (rig.entry(place).service().id, rig.instance(place).name);
    rig.handle.beat(service, &instance, Beat { status, note: note.map(str::to_owned) })
}

pub(crate) fn pass(rig: &Rig, place: &str) {
    beat(rig, place, BeatStatus::Pass, None).expect("heard");
}

/// A program that is well, and says no more than that.
pub(crate) async fn well(rig: &Rig, place: &str, ttl_seconds: u32) {
    let before = rig.report().tracked;
    rig.register_spec(place, leased(ttl_seconds)).await;
    until("it is tracked", || rig.report().tracked > before).await;
    pass(rig, place);
    rig.until_health(place, Health::Healthy).await;
    seen(rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_falls_silent_is_unhealthy_at_once_until_it_is_heard() {
    let hand = Hand::start();
    let rig = hand.rig(ProberSettings::default());
    rig.register_spec("user", leased(30)).await;
    assert_eq!(rig.health("user"), (Health::Unknown, Reason::Probing));
    assert_eq!(beat(&rig, "user", BeatStatus::Pass, None).expect("heard").ttl, seconds(30));
    rig.until_health("user", Health::Healthy).await;
    hand.pass(&rig, seconds(28)).await;
    pass(&rig, "user");
    hand.pass(&rig, seconds(28)).await;
    assert_eq!(rig.health("user").0, Health::Healthy, "it was renewed");
    hand.pass(&rig, seconds(4)).await;
    until("its lease expired", || rig.health("user") == (Health::Unhealthy, Reason::LeaseExpired)).await;
    let fall = rig.history("user").await.remove(0);
    assert_eq!(fall.message, "no heartbeat within 30 s");
    pass(&rig, "user");
    rig.until_health("user", Health::Healthy).await;
    assert_eq!(rig.history("user").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_pass_changes_nothing() {
    let rig = Rig::start();
    well(&rig, "user", 30).await;
    until("all is stored", || rig.report().uncommitted == 0).await;
    let (revision, commits) = (rig.catalog.read().revision(), rig.metric("portolan_store_commits_total"));
    let seen_at = rig.entry("user").last_check().get();
    (0..10_000).for_each(|_| pass(&rig, "user"));
    until("the time of the check follows", || rig.entry("user").last_check().get() > seen_at).await;
    seen(&rig).await;
    assert_eq!(rig.catalog.read().revision(), revision);
    // Its first row is written two seconds after the first pass at the latest.
    assert!(rig.metric("portolan_store_commits_total") <= commits + 1.0);
    assert!(rig.metric("portolan_heartbeats_total") > 10_000.0);
    assert!(rig.metric("portolan_probes_total{kind=\"heartbeat\",verdict=\"pass\",reason=\"Passed\"}") < 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reported_failure_counts_as_a_probe_does() {
    let rig = Rig::start();
    let timing = CheckTiming { unhealthy_threshold: Some(3), healthy_threshold: Some(2), ..CheckTiming::default() };
    let spec = InstanceSpec { check: Check { timing, ..heartbeat(3600) }, ..leased(3600) };
    rig.register_spec("user", spec).await;
    pass(&rig, "user");
    rig.until_health("user", Health::Healthy).await;
    let report_failure = || beat(&rig, "user", BeatStatus::Fail, Some("no database \u{1b}[31m")).expect("heard");
    for _ in 0..2 {
        report_failure();
        seen(&rig).await;
        assert_eq!(rig.health("user").0, Health::Healthy);
    }
    pass(&rig, "user");
    for _ in 0..3 {
        report_failure();
    }
    until("the third in a row counts", || rig.health("user") == (Health::Unhealthy, Reason::ReportedFailing)).await;
    let fall = rig.history("user").await.remove(0);
    assert!(fall.message.ends_with(r"the program reports that it fails: no database \u{1b}[31m"), "{}", fall.message);
    pass(&rig, "user");
    seen(&rig).await;
    assert_eq!(rig.health("user").0, Health::Unhealthy, "two passes are wanted");
    pass(&rig, "user");
    rig.until_health("user", Health::Healthy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_counts_as_a_pass_and_is_shown_until_it_ends() {
    let rig = Rig::start();
    well(&rig, "user", 3600).await;
    beat(&rig, "user", BeatStatus::Warn, Some("disk 91 %")).expect("heard");
    until("it warns", || rig.instance("user").warning.is_some()).await;
    let warning = rig.instance("user").warning.expect("it warns");
    assert_eq!((warning.reason, warning.check.is_default()), (Reason::ReportedWarning, true));
    assert_eq!(warning.message, "the program reports a warning: disk 91 %");
    assert_eq!(rig.health("user").0, Health::Healthy);
    let rig = Box::pin(rig.restart()).await;
    assert!(rig.instance("user").warning.is_some(), "it stands after a restart");
    until("it is tracked", || rig.report().tracked == 1).await;
    pass(&rig, "user");
    until("the warning ends", || rig.instance("user").warning.is_none()).await;
    assert_eq!(rig.history("user").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_again_renews_and_proves_but_overrules_no_failure() {
    let hand = Hand::start();
    let rig = hand.rig(ProberSettings::default());
    rig.register_spec("user", leased(30)).await;
    let again = || rig.handle.registered(rig.entry("user").service().id, &rig.instance("user").name);
    assert_eq!(again().map(|heard| heard.ttl), Ok(seconds(30)));
    rig.until_health("user", Health::Healthy).await;
    hand.pass(&rig, seconds(32)).await;
    rig.until_health("user", Health::Unhealthy).await;
    again().expect("heard");
    rig.until_health("user", Health::Healthy).await;
    for _ in 0..3 {
        beat(&rig, "user", BeatStatus::Fail, None).expect("heard");
    }
    rig.until_health("user", Health::Unhealthy).await;
    again().expect("heard");
    hand.pass(&rig, seconds(28)).await;
    assert_eq!(rig.health("user"), (Health::Unhealthy, Reason::ReportedFailing));
    let target = Target::start(Mode::Ok).await;
    rig.register("other", &target.url(), every_second()).await;
    let other = rig.handle.registered(rig.entry("other").service().id, &rig.instance("other").name);
    assert_eq!(other, Err(BeatError::NoHeartbeatCheck));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_heard_is_told_why() {
    let (mut rig, target) = (Rig::start(), Target::start(Mode::Ok).await);
    rig.register("user", &target.url(), every_second()).await;
    assert_eq!(beat(&rig, "user", BeatStatus::Pass, None), Err(BeatError::NoHeartbeatCheck));
    let (id, other) = (rig.entry("user").service().id, "other".parse().expect("a name"));
    let plain = || Beat { status: BeatStatus::Pass, note: None };
    assert_eq!(rig.handle.beat(id, &other, plain()), Err(BeatError::NotFound));
    assert_eq!(rig.handle.beat(uuid::Uuid::nil(), &other, plain()), Err(BeatError::NotFound));
    rig.register_spec("leased", leased(30)).await;
    pass(&rig, "leased");
    rig.stop().await;
    assert!(matches!(
        beat(&rig, "leased", BeatStatus::Fail, None),
        Err(BeatError::Unavailable | BeatError::Busy { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_expires_while_nobody_could_be_heard() {
    let (hand, reachability) = (Hand::start(), Reachability::default());
    let rig = hand.rig(ProberSettings { reachability: reachability.clone(), ..ProberSettings::default() });
    well(&rig, "user", 30).await;
    hand.pass(&rig, seconds(20)).await;
    hand.jump(seconds(3600));
    seen(&rig).await;
    assert_eq!(rig.health("user").0, Health::Healthy, "the process was stopped");
    reachability.turned_away();
    hand.pass(&rig, seconds(50)).await;
    assert_eq!(rig.health("user").0, Health::Healthy, "the listener was full");
    reachability.admitted();
    hand.pass(&rig, seconds(8)).await;
    assert_eq!(rig.health("user").0, Health::Healthy, "28 s have counted");

    let rig = Box::pin(rig.restart()).await;
    until("it is tracked", || rig.report().tracked == 1).await;
    hand.pass(&rig, seconds(28)).await;
    assert_eq!(rig.health("user").0, Health::Healthy, "a restart gives a full TTL");
    hand.pass(&rig, seconds(4)).await;
    until("its lease expired", || rig.health("user") == (Health::Unhealthy, Reason::LeaseExpired)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_lease_is_listed_with_its_checks() {
    let (rig, target) = (Rig::start(), Target::start(Mode::Ok).await);
    let checks = vec![portolan::model::check::NamedCheck {
        name: "heartbeat".parse().expect("a name"),
        advisory: false,
        url: None,
        check: heartbeat(60),
    }];
    rig.register_spec("user", InstanceSpec { checks, ..spec(&target.url(), every_second()) }).await;
    until("it is probed", || target.hits() > 0).await;
    assert_eq!(rig.health("user"), (Health::Unknown, Reason::Probing), "both checks are required");
    pass(&rig, "user");
    rig.until_health("user", Health::Healthy).await;
    let known = rig.handle.probing(vec![rig.entry("user").service().id]).await.expect("known");
    let lease = known[0].1.iter().find(|check| check.check.as_str() == "heartbeat").expect("listed");
    let last = lease.last.as_ref().expect("it was heard");
    assert_eq!((last.verdict, lease.health), (Verdict::Pass, Health::Healthy));
    let left = lease.next_due.since(UnixMs::wall());
    assert!((seconds(1)..=seconds(60)).contains(&left), "{left:?}");
}

/// Ten thousand leases that expire in the same moment are all shown and recorded, in batches.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_leases_expire_at_once() {
    const ALL: usize = 10_000;
    let hand = Hand::start();
    let rig = hand.rig(ProberSettings::default());
    let names: Vec<String> = (0..ALL).map(|n| format!("s{n}")).collect();
    let registered = futures::stream::iter(&names).map(|name| rig.register_spec(name, leased(30)));
    registered.buffer_unordered(512).count().await;
    until("all are tracked", || rig.report().tracked == ALL).await;
    hand.pass(&rig, seconds(32)).await;
    until("all have expired", || rig.catalog.read().total().unhealthy == ALL).await;
    until("all is stored", || rig.report().uncommitted == 0).await;
    let rows: i64 = rig
        .database()
        .query_row("SELECT count(*) FROM transition WHERE reason = 'LeaseExpired'", [], |row| row.get(0))
        .expect("history");
    assert_eq!(rows, i64::try_from(ALL).expect("small"));
}
