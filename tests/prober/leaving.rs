//! Registrations that end by themselves.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use portolan::model::name::InstanceName;
use portolan::model::outcome::Health;
use portolan::model::ports::{
    AcknowledgementChange, BeatError, BeatStatus, Caller, DrainChange, Heartbeats as _, InstanceRef, Registered,
    Registrar, Registration, Removal, ServiceRef, WriteError,
};
use portolan::model::service::{InstanceSpec, Service};
use portolan::prober::ProberSettings;
use portolan::store::Store;
use tokio::sync::Semaphore;

use crate::harness::{Mode, Rig, Setup, Target, every_second, seldom, spec, until};
use crate::leases::{Hand, beat, leased, pass, seconds, seen, well};

fn is_listed(rig: &Rig, service: &str) -> bool {
    rig.catalog.snapshot().get(&format!("default/{service}")).is_some()
}

/// The message of the newest entry of history that says that an instance of the service was removed.
async fn removal(rig: &Rig, service: &str) -> String {
    let key = format!("default/{service}");
    let mut found = None;
    until("the removal is recorded", || {
        let sql = "SELECT message FROM transition WHERE key = ?1 AND to_health IS NULL ORDER BY id DESC LIMIT 1";
        found = rig.database().query_row(sql, [&key], |row| row.get::<_, String>(0)).ok();
        found.is_some()
    })
    .await;
    found.expect("recorded")
}

fn asking(spec: InstanceSpec, after: u32) -> InstanceSpec {
    InstanceSpec { deregister_after_seconds: Some(after), ..spec }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_nobody_renews_ends_the_registration() {
    let hand = Hand::start();
    let rig = hand.rig(ProberSettings::default());
    well(&rig, "renewed", 30).await;
    well(&rig, "renewed#user", 30).await;
    well(&rig, "alone", 30).await;
    rig.register_spec("asked", asking(leased(30), 60)).await;
    let has_user = || rig.entry("renewed").service().instance("user").is_some();
    hand.pass(&rig, seconds(32)).await;
    rig.until_health("renewed#user", Health::Unhealthy).await;
    for _ in 0..3 {
        pass(&rig, "renewed");
        hand.pass(&rig, seconds(20)).await;
    }
    until("it asked for a minute", || !is_listed(&rig, "asked")).await;
    assert!(removal(&rig, "asked").await.contains("lease not renewed for 1m3"), "{}", removal(&rig, "asked").await);
    for _ in 0..11 {
        pass(&rig, "renewed");
        hand.pass(&rig, seconds(20)).await;
    }
    assert!(has_user(), "ten TTLs are not over");
    pass(&rig, "renewed");
    hand.pass(&rig, seconds(26)).await;
    until("five minutes are over", || !has_user()).await;
    assert_eq!(rig.health("renewed").0, Health::Healthy);
    until("both are counted", || (rig.metric("portolan_removals_total") - 2.0).abs() < 0.5).await;
    assert!(is_listed(&rig, "alone"), "the last instance of a service leaves only if it asked for that");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_heartbeat_in_time_keeps_the_registration() {
    let hand = Hand::start();
    let rig = hand.rig(ProberSettings::default());
    rig.register_spec("user", asking(leased(30), 60)).await;
    hand.pass(&rig, seconds(86)).await;
    rig.until_health("user", Health::Unhealthy).await;
    pass(&rig, "user");
    rig.until_health("user", Health::Healthy).await;
    hand.pass(&rig, seconds(80)).await;
    assert!(is_listed(&rig, "user"), "the time starts again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_or_a_restart_does_not_end_registrations() {
    let hand = Hand::start();
    let rig = hand.rig(ProberSettings::default());
    rig.register_spec("user", asking(leased(30), 600)).await;
    hand.pass(&rig, seconds(32)).await;
    rig.until_health("user", Health::Unhealthy).await;
    hand.pass(&rig, seconds(300)).await;
    hand.jump(Duration::from_hours(24));
    hand.pass(&rig, seconds(100)).await;
    assert!(is_listed(&rig, "user"), "nobody could be heard meanwhile");
    let rig = Box::pin(rig.restart()).await;
    until("it is tracked", || rig.report().tracked == 1).await;
    hand.pass(&rig, seconds(28)).await;
    assert!(is_listed(&rig, "user"), "a restart gives a full TTL");
    hand.pass(&rig, seconds(300)).await;
    until("the silence before the restart counts", || !is_listed(&rig, "user")).await;
}

/// What a program reports is no silence, neither before a restart nor after it.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_in_which_a_program_reported_that_it_fails_ends_no_registration() {
    let hand = Hand::start();
    let rig = hand.rig(ProberSettings::default());
    let fails = |rig: &Rig, name: &str| beat(rig, name, BeatStatus::Fail, None).expect("heard");
    rig.register_spec("failing", asking(leased(30), 120)).await;
    rig.register_spec("late", asking(leased(30), 120)).await;
    until("they are tracked", || rig.report().tracked == 2).await;
    for _ in 0..6 {
        fails(&rig, "failing");
        hand.pass(&rig, seconds(20)).await;
    }
    rig.until_health("failing", Health::Unhealthy).await;
    rig.until_health("late", Health::Unhealthy).await;
    let rig = Box::pin(rig.restart()).await;
    until("they are tracked", || rig.report().tracked == 2).await;
    fails(&rig, "late");
    hand.pass(&rig, seconds(30 + 126)).await;
    for name in ["failing", "late"] {
        until("it was silent for long enough", || !is_listed(&rig, name)).await;
        let message = removal(&rig, name).await;
        assert!(message.contains("lease not renewed for 2m3"), "{name}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probed_instance_leaves_if_it_asked_for_that() {
    let hand = Hand::start();
    let rig = hand.rig(ProberSettings::default());
    let target = Target::start(Mode::Broken).await;
    for name in ["asked", "silent"] {
        let spec = spec(&target.url(), seldom());
        rig.register_spec(name, if name == "asked" { asking(spec, 90) } else { spec }).await;
        until("it is unhealthy", || {
            hand.jump(seconds(1));
            rig.health(name).0 == Health::Unhealthy
        })
        .await;
    }
    seen(&rig).await;
    hand.pass(&rig, seconds(92)).await;
    until("it asked for that", || !is_listed(&rig, "asked")).await;
    assert!(removal(&rig, "asked").await.contains("unhealthy for 1m3"), "{}", removal(&rig, "asked").await);
    hand.pass(&rig, seconds(600)).await;
    assert!(is_listed(&rig, "silent"));
}

/// The time for which it has failed goes on after a restart, without that in which this process was stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_does_not_end_probed_registrations_after_its_restart_either() {
    let hand = Hand::start();
    let rig = hand.rig(ProberSettings::default());
    let target = Target::start(Mode::Broken).await;
    rig.register_spec("user", asking(spec(&target.url(), every_second()), 120)).await;
    until("it is unhealthy", || {
        hand.jump(seconds(1));
        rig.health("user").0 == Health::Unhealthy
    })
    .await;
    hand.jump(seconds(85));
    probed_again(&hand, &target).await;
    let rig = Box::pin(rig.restart()).await;
    for _ in 0..3 {
        hand.pass(&rig, seconds(20)).await;
        probed_again(&hand, &target).await;
    }
    assert!(is_listed(&rig, "user"), "nobody looked for 85 seconds");
    until("it asked for that", || {
        hand.jump(Duration::from_millis(100));
        !is_listed(&rig, "user")
    })
    .await;
}

/// Lets time pass until it was probed twice, so that the first outcome counted.
async fn probed_again(hand: &Hand, target: &Target) {
    let hits = target.hits();
    until("it is probed", || {
        hand.jump(Duration::from_millis(100));
        target.hits() > hits + 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_default_never_takes_the_last_instance() {
    let hand = Hand::start();
    let rig = hand.rig(ProberSettings { deregister_after: Some(seconds(60)), ..ProberSettings::default() });
    let (up, down) = (Target::start(Mode::Ok).await, Target::start(Mode::Broken).await);
    rig.register("user#a", &down.url(), seldom()).await;
    rig.register("user#b", &up.url(), seldom()).await;
    rig.register("alone", &down.url(), seldom()).await;
    until("they are unhealthy", || {
        hand.jump(seconds(1));
        rig.health("user#a").0 == Health::Unhealthy && rig.health("alone").0 == Health::Unhealthy
    })
    .await;
    hand.pass(&rig, seconds(130)).await;
    until("a leaves", || rig.entry("user").service().instances.len() == 1).await;
    assert_eq!(rig.instance("user#b").health, Health::Healthy);
    hand.pass(&rig, seconds(130)).await;
    assert!(is_listed(&rig, "alone"));
}

/// Removals are paced, and none is lost.
#[tokio::test(flavor = "multi_thread")]
async fn many_leave_one_after_the_other() {
    const ALL: usize = 300;
    let hand = Hand::start();
    let rig = hand.rig(ProberSettings::default());
    for n in 0..ALL {
        rig.register_spec(&format!("s{n}"), asking(leased(30), 60)).await;
    }
    until("all are tracked", || rig.report().tracked == ALL).await;
    hand.pass(&rig, seconds(32)).await;
    until("all have expired", || rig.catalog.read().total().unhealthy == ALL).await;
    hand.pass(&rig, seconds(60)).await;
    let began = std::time::Instant::now();
    until("all have left", || rig.catalog.read().total().total() == 0).await;
    assert!(began.elapsed() > Duration::from_millis(1500), "at most a hundred a second: {:?}", began.elapsed());
}

/// What becomes of a removal.
#[derive(Clone, Copy)]
enum Answer {
    Removed,
    Refused,
    /// As in a cluster where the same write registers the instance again.
    Replaced,
}

/// Removes only when the test lets it.
#[derive(Clone)]
struct Held(Arc<Shared>);

struct Shared {
    store: Store,
    /// A permit for each removal that was asked for.
    asked: Semaphore,
    /// A permit for each that may end.
    answers: Semaphore,
    answer: Mutex<Answer>,
}

impl Held {
    fn rig(hand: &Hand) -> (Self, Rig) {
        let mut rig = Setup::clock(hand.clock.clone()).prepare();
        let (asked, answers) = (Semaphore::new(0), Semaphore::new(0));
        let answer = Mutex::new(Answer::Removed);
        let held = Self(Arc::new(Shared { store: rig.store.clone(), asked, answers, answer }));
        rig.go_through(Arc::new(held.clone()));
        (held, rig)
    }

    /// Waits until a removal is on its way.
    async fn asked(&self) {
        self.0.asked.acquire().await.expect("open").forget();
    }

    fn answer(&self, answer: Answer) {
        *self.0.answer.lock().expect("sound") = answer;
        self.0.answers.add_permits(1);
    }
}

impl Registrar for Held {
    fn register(&self, call: Registration, caller: Caller) -> BoxFuture<'static, Result<Registered, WriteError>> {
        self.0.store.register(call, caller)
    }

    fn renewed(&self, call: &Registration, caller: &Caller) -> Option<Registered> {
        self.0.store.renewed(call, caller)
    }

    fn deregister(&self, removal: Removal, caller: Caller) -> BoxFuture<'static, Result<(), WriteError>> {
        let shared = Arc::clone(&self.0);
        async move {
            shared.asked.add_permits(1);
            shared.answers.acquire().await.expect("open").forget();
            let answer = *shared.answer.lock().expect("sound");
            match answer {
                Answer::Removed => shared.store.deregister(removal, caller).await,
                Answer::Refused => Err(WriteError::Busy),
                Answer::Replaced => Ok(()),
            }
        }
        .boxed()
    }

    fn drain(
        &self,
        instance: InstanceRef,
        change: DrainChange,
        caller: Caller,
    ) -> BoxFuture<'static, Result<Arc<Service>, WriteError>> {
        self.0.store.drain(instance, change, caller)
    }

    fn acknowledge(
        &self,
        service: ServiceRef,
        instance: Option<InstanceName>,
        change: AcknowledgementChange,
        caller: Caller,
    ) -> BoxFuture<'static, Result<Arc<Service>, WriteError>> {
        self.0.store.acknowledge(service, instance, change, caller)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_removal_waits_for_its_commit_no_renewal_is_acknowledged() {
    let hand = Hand::start();
    let (held, rig) = Held::rig(&hand);
    rig.register_spec("user", asking(leased(30), 60)).await;
    rig.register_spec("user#other", leased(3600)).await;
    hand.pass(&rig, seconds(92)).await;
    held.asked().await;
    let (id, name) = (rig.entry("user").service().id, rig.instance("user").name);
    let renew = || rig.handle.registered(id, &name).map(|heard| heard.ttl);
    assert_eq!(beat(&rig, "user", BeatStatus::Pass, None), Err(BeatError::Leaving));
    assert_eq!(renew(), Err(BeatError::Leaving));
    held.answer(Answer::Removed);
    until("it is removed", || rig.entry("user").service().instance("default").is_none()).await;
    assert_eq!(renew(), Err(BeatError::NotFound));
    rig.register_spec("user", asking(leased(30), 60)).await;
    assert_eq!(renew(), Ok(seconds(30)), "it is another registration");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_removal_that_removed_nothing_renewals_count_again() {
    for answer in [Answer::Refused, Answer::Replaced] {
        let hand = Hand::start();
        let (held, rig) = Held::rig(&hand);
        rig.register_spec("user", asking(leased(30), 60)).await;
        hand.pass(&rig, seconds(92)).await;
        held.asked().await;
        assert_eq!(beat(&rig, "user", BeatStatus::Pass, None), Err(BeatError::Leaving));
        held.answer(answer);
        until("it is heard", || beat(&rig, "user", BeatStatus::Pass, None).is_ok()).await;
        rig.until_health("user", Health::Healthy).await;
        hand.pass(&rig, seconds(28)).await;
        assert_eq!(rig.health("user").0, Health::Healthy);
    }
}
