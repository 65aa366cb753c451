//! Availability: what is recorded of outages, over restarts, drains and time without a server.

use std::collections::BTreeMap;
use std::time::Duration;

use portolan::model::availability::{Availability, Standing, Subject, Window};
use portolan::model::mirror::VerdictsFrom;
use portolan::model::name::InstanceName;
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::{DrainChange, DrainOrder, InstanceRef, Registrar, ServiceRef};
use portolan::model::probe::HealthChange;
use portolan::model::time::{Now, UnixMs};
use portolan::store::reader::FileReader;
use portolan::store::{AvailabilityQuery, OutagePage, OutageQuery};
use proptest::prelude::*;
use rusqlite::Connection;

use crate::common::{Running, anyone, at, folder, fresh, key, leads, registration, removal, settings, spec, until};
use crate::health::healthy;

pub(crate) const SECOND: i64 = 1000;
pub(crate) const HOUR: i64 = 3600 * SECOND;
pub(crate) const DAY: i64 = 24 * HOUR;

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The instance's health from the clock's new time on.
pub(crate) async fn judge(s: &Running, instance: &str, health: Health, millis: i64) {
    s.clock.set(at(millis));
    let reason = if health == Health::Healthy { Reason::Passed } else { Reason::Timeout };
    let change = HealthChange { health, reason, transition: None, ..healthy(&s.instance("users", instance), millis) };
    assert_eq!(s.store.commit_health(vec![change], leads()).await, Ok(vec![true]));
}

async fn drain(s: &Running, instance: &str, start: bool) {
    let which = InstanceRef { service: ServiceRef::Key(key("users")), instance: instance.parse().expect("a name") };
    let order = DrainOrder { reason: "work".to_owned(), by: "alice".to_owned(), until: None };
    let change = if start { DrainChange::Start(order) } else { DrainChange::End };
    s.store.drain(which, change, anyone()).await.expect("drains");
}

/// What became of `users`, or of one instance, from `from` to the clock's time.
pub(crate) async fn known(s: &Running, instance: Option<&str>, from: i64, cells: usize) -> Availability {
    let service = s.service("users");
    let one = |name| Subject::instance(&service, service.instance(name).expect("an instance"));
    let subject = instance.map_or_else(|| Subject::service(&service), one);
    let window = (at(from).wall, s.clock.now().wall);
    let query = AvailabilityQuery { subjects: vec![subject], window, cells, listed: 50 };
    s.store.availability(query).await.expect("an answer").pop().expect("one")
}

async fn outages(s: &Running, before: Option<i64>, limit: usize) -> OutagePage {
    let window = s.store.window("30d".parse::<Window>().expect("a window"));
    let query = OutageQuery { window, namespaces: Box::new(|name| name == "default"), before, limit };
    s.store.outages(query).await.expect("a page")
}

/// `users` with these instances, healthy from the start.
pub(crate) async fn with(instances: &[&str]) -> (tempfile::TempDir, std::path::PathBuf, Running) {
    let (folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    for instance in instances {
        s.register(registration("users", instance, spec(1))).await.expect("registers");
        judge(&s, instance, Health::Healthy, 0).await;
    }
    (folder, path, s)
}

#[tokio::test]
async fn an_outage_is_counted_with_its_cause() {
    let (_folder, _, s) = with(&["a"]).await;
    judge(&s, "a", Health::Unhealthy, 100 * SECOND).await;
    judge(&s, "a", Health::Healthy, 160 * SECOND).await;
    s.clock.set(at(1000 * SECOND));
    let all = known(&s, None, 0, 10).await;
    assert_eq!((all.totals.known, all.totals.unhealthy, all.totals.unknown), (seconds(1000), seconds(60), seconds(0)));
    assert_eq!(all.totals.percent(), Some(94.0));
    assert_eq!((all.outage_count, all.longest_outage, all.recovery), (1, seconds(60), Some(seconds(60))));
    let outage = &all.outages[0];
    assert_eq!((outage.started, outage.ended), (at(100 * SECOND).wall, Some(at(160 * SECOND).wall)));
    assert_eq!((outage.reason, outage.instances[0].as_str(), outage.instance_count), (Reason::Timeout, "a", 1));
    let strip: String = all.strip.iter().map(|cell| cell.map_or('-', Standing::letter)).collect();
    assert_eq!(strip, "huhhhhhhhh");
    // A window that begins in the middle of it counts its rest.
    assert_eq!(known(&s, None, 130 * SECOND, 0).await.totals.unhealthy, seconds(30));
    assert_eq!(known(&s, Some("a"), 0, 0).await.totals, all.totals);
    // A window that begins before anything was recorded says so.
    let longer = known(&s, None, -1000 * SECOND, 4).await;
    assert_eq!((longer.since, longer.totals), (at(0).wall, all.totals));
    assert_eq!(longer.strip, [None, None, Some(Standing::Unhealthy), Some(Standing::Healthy)]);
    s.stop().await;
}

#[tokio::test]
async fn a_service_is_down_only_when_nothing_serves() {
    let (_folder, _, s) = with(&["a", "b"]).await;
    judge(&s, "a", Health::Unhealthy, 10 * SECOND).await;
    judge(&s, "b", Health::Unhealthy, 30 * SECOND).await;
    judge(&s, "a", Health::Healthy, 35 * SECOND).await;
    s.clock.set(at(100 * SECOND));
    let all = known(&s, None, 0, 0).await;
    assert_eq!((all.totals.unhealthy, all.totals.degraded), (seconds(5), seconds(85)));
    assert_eq!(all.outages[0].instances.iter().map(InstanceName::as_str).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(outages(&s, None, 9).await.outages[0].instances, all.outages[0].instances);
    assert_eq!(known(&s, Some("b"), 0, 0).await.recovery, None, "it still lasts");
    // A drained instance that is healthy does not serve.
    drain(&s, "a", true).await;
    s.clock.set(at(110 * SECOND));
    assert_eq!(known(&s, None, 100 * SECOND, 0).await.totals.unhealthy, seconds(10));
    drain(&s, "b", true).await;
    s.clock.set(at(130 * SECOND));
    let drained = known(&s, None, 100 * SECOND, 0).await.totals;
    assert_eq!((drained.drained, drained.known), (seconds(20), seconds(10)));
    s.stop().await;
}

#[tokio::test]
async fn what_was_never_proved_is_unknown() {
    let (_folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.clock.set(at(20 * SECOND));
    let nothing = known(&s, None, 0, 2).await;
    assert_eq!((nothing.totals.percent(), nothing.totals.unknown), (None, seconds(20)));
    assert_eq!(nothing.strip, [Some(Standing::Unknown); 2]);
    judge(&s, "a", Health::Healthy, 30 * SECOND).await;
    s.clock.set(at(60 * SECOND));
    let proved = known(&s, None, 0, 2).await.totals;
    assert_eq!((proved.unknown, proved.known, proved.percent()), (seconds(30), seconds(30), Some(100.0)));
    s.stop().await;
}

#[tokio::test]
async fn an_outage_outlasts_a_restart_and_time_without_a_server_is_unknown() {
    let (_folder, path, s) = with(&["a"]).await;
    judge(&s, "a", Health::Unhealthy, 100 * SECOND).await;
    s.clock.set(at(200 * SECOND));
    s.stop().await;
    let s = Running::open_at(settings(&path), at(500 * SECOND)).expect("opens");
    judge(&s, "a", Health::Healthy, 600 * SECOND).await;
    s.clock.set(at(1000 * SECOND));
    let all = known(&s, None, 0, 0).await;
    assert_eq!(
        (all.totals.unknown, all.totals.unhealthy, all.totals.known),
        (seconds(300), seconds(200), seconds(700))
    );
    assert_eq!((all.outage_count, all.longest_outage), (1, seconds(200)), "it counts as long as it was proved");
    assert_eq!(all.outages[0].started, at(100 * SECOND).wall);
    s.stop().await;
    // Without a server, the window ends when it last ran.
    let reader = FileReader::open(&path).expect("opens");
    let read = || reader.availability(&[(all.subject.service, None)], Window::default(), 0).expect("reads");
    // A child process of another test may hold the lock's descriptor for a moment, until it runs its program.
    until("nobody holds the lock", async || read()[0].until == at(1000 * SECOND).wall).await;
    assert_eq!(read()[0].totals, all.totals);
}

#[tokio::test]
async fn a_server_marks_that_it_runs_once_a_minute() {
    let (_folder, path, s) = with(&["a"]).await;
    let marked = || {
        let db = Connection::open(&path).expect("opens");
        db.query_row("SELECT alive FROM recorded", [], |row| row.get(0).map(UnixMs)).expect("a mark")
    };
    assert_eq!(marked(), at(0).wall);
    for (millis, mark) in [(50, 0), (70, 70), (120, 70), (131, 131)] {
        judge(&s, "a", Health::Healthy, millis * SECOND).await;
        assert_eq!(marked(), at(mark * SECOND).wall, "at {millis} s");
    }
    // The machine slept for an hour: the wall clock went on, the steady one did not.
    s.clock.set(Now { steady: at(200 * SECOND).steady, wall: at(HOUR + 200 * SECOND).wall });
    let commits = s.metrics.commits.get();
    until("it is marked", async || s.metrics.commits.get() > commits).await;
    let all = known(&s, None, 0, 0).await;
    assert_eq!((all.totals.known, all.totals.unknown), (seconds(131), seconds(3600 + 69)));
    s.stop().await;
}

#[tokio::test]
async fn outages_of_all_services_are_paged_newest_first() {
    let (_folder, _, s) = with(&["a"]).await;
    for n in 0..5 {
        judge(&s, "a", Health::Unhealthy, (10 + 20 * n) * SECOND).await;
        judge(&s, "a", Health::Healthy, (20 + 20 * n) * SECOND).await;
    }
    judge(&s, "a", Health::Unhealthy, 200 * SECOND).await;
    s.clock.set(at(210 * SECOND));
    s.remove(removal("users", None)).await.expect("removes");
    s.clock.set(at(300 * SECOND));
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = outages(&s, before, 2).await;
        assert!(page.outages.len() <= 2 && page.since == at(0).wall);
        seen.extend(page.outages);
        match page.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    let started: Vec<_> = seen.iter().map(|outage| (outage.started.0 - at(0).wall.0) / SECOND).collect();
    assert_eq!(started, [200, 90, 70, 50, 30, 10]);
    assert_eq!((seen[0].ended, seen[0].lasted), (Some(at(210 * SECOND).wall), seconds(10)), "removal ends it");
    assert!(seen.iter().all(|outage| outage.key == key("users") && outage.instance_count == 1));
    s.stop().await;
}

#[tokio::test]
async fn spans_are_forgotten_with_their_month() {
    let (_folder, path, s) = with(&["a"]).await;
    judge(&s, "a", Health::Unhealthy, 10 * SECOND).await;
    judge(&s, "a", Health::Healthy, 20 * SECOND).await;
    s.stop().await;
    let spans = || {
        let db = Connection::open(&path).expect("opens");
        db.query_row("SELECT (SELECT count(*) FROM span) + (SELECT count(*) FROM gap)", [], |row| row.get::<_, i64>(0))
    };
    assert_eq!(spans(), Ok(2));
    let s = Running::open_at(settings(&path), at(30 * DAY)).expect("opens");
    s.clock.set(at(30 * DAY + HOUR));
    s.register(registration("mail", "a", spec(1))).await.expect("registers");
    assert_eq!(spans(), Ok(1), "that of the service and of its instance are gone, the gap is not");
    s.stop().await;
}

#[tokio::test]
async fn an_instance_that_flaps_for_ever_forgets_its_beginning() {
    let (_folder, path, s) = with(&["a"]).await;
    let instance = s.instance("users", "a");
    // Each of these ends one span of the instance and one of the service.
    for round in 0..50 {
        let flips = (0..200).map(|n| {
            let millis = 100 * (round * 200 + n + 1);
            let health = if n % 2 == 0 { Health::Unhealthy } else { Health::Healthy };
            HealthChange { health, transition: None, ..healthy(&instance, millis) }
        });
        s.clock.set(at(100 * 200 * (round + 1)));
        s.store.commit_health(flips.collect(), leads()).await.expect("applies");
    }
    let db = Connection::open(&path).expect("opens");
    let rows: i64 = db.query_row("SELECT count(*) FROM span", [], |row| row.get(0)).expect("a number");
    assert!((7000..=8192 + 256).contains(&rows), "{rows}");
    let all = known(&s, None, 0, 0).await;
    assert!(all.since > at(0).wall && all.outage_count > 3000);
    assert_eq!(all.totals.percent(), Some(50.0), "of the time that is remembered");
    assert_eq!(all.outages.len(), 50);
    s.stop().await;
}

#[tokio::test]
async fn an_older_file_is_recorded_from_its_migration_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = crate::upgrade::of_schema_3(folder.path());
    let start = Connection::open(&path)
        .and_then(|db| db.query_row("SELECT max(at) FROM transition", [], |row| row.get::<_, i64>(0)))
        .expect("a time");
    let millis = start - at(0).wall.0 + HOUR;
    let s = Running::open_at(settings(&path), at(millis)).expect("opens");
    let db = Connection::open(&path).expect("opens");
    let spans = || db.query_row("SELECT count(*) FROM span", [], |row| row.get::<_, i64>(0)).expect("a number");
    until("what is down is recorded", async || spans() > 0).await;
    s.clock.set(at(millis + 20 * SECOND));
    let service = s.service("user-service");
    let subject = Subject::instance(&service, service.instance("b").expect("an instance"));
    let window = s.store.window(Window::default());
    let query = AvailabilityQuery { subjects: vec![subject], window, cells: 0, listed: 9 };
    let down = s.store.availability(query).await.expect("an answer").pop().expect("one");
    assert_eq!((down.since, down.totals.known, down.outages[0].ended), (at(millis).wall, seconds(20), None));
    s.stop().await;
}

#[tokio::test]
async fn a_mirror_records_what_it_sees() {
    use crate::mirror::{instance, mirror_settings, object, put};
    use portolan::model::mirror::ReportedHealth;

    let (_folder, path) = folder();
    let s = Running::open(mirror_settings(&path)).expect("opens");
    let users = |revision, health, reason, millis| {
        let reported = ReportedHealth::new(health, reason, at(millis).wall);
        put(object("users", 1, revision, vec![instance("a", spec(1), Some(reported))]))
    };
    for (revision, health, reason, second) in [
        (1, Health::Healthy, Reason::Passed, 0),
        (2, Health::Unhealthy, Reason::Timeout, 10),
        (3, Health::Healthy, Reason::Passed, 30),
    ] {
        s.clock.set(at(second * SECOND + 500));
        let change = users(revision, health, reason, second * SECOND);
        s.store.mirror(change, VerdictsFrom::Status).await.expect("applies");
    }
    s.clock.set(at(100 * SECOND));
    let all = known(&s, None, 0, 0).await;
    assert_eq!((all.totals.known, all.totals.unhealthy), (seconds(100), seconds(20)), "at the moments of the leader");
    s.stop().await;
}

#[tokio::test]
async fn a_service_that_comes_back_to_a_mirror_keeps_its_record() {
    use crate::mirror::{instance, mirror_settings, object, put, remove};
    use portolan::model::mirror::ReportedHealth;

    let (_folder, path) = folder();
    let s = Running::open(mirror_settings(&path)).expect("opens");
    let step = async |second: i64, change| {
        s.clock.set(at(second * SECOND));
        s.store.mirror(change, VerdictsFrom::Status).await.expect("applies");
    };
    let users = |revision, health, reason, second| {
        let reported = ReportedHealth::new(health, reason, at(second * SECOND).wall);
        put(object("users", 1, revision, vec![instance("a", spec(1), Some(reported))]))
    };
    step(0, users(1, Health::Healthy, Reason::Passed, 0)).await;
    step(10, users(2, Health::Unhealthy, Reason::Timeout, 10)).await;
    step(30, users(3, Health::Healthy, Reason::Passed, 30)).await;
    step(60, remove("users", 1, 4)).await;
    step(100, put(object("users", 1, 5, vec![instance("a", spec(1), None)]))).await;
    step(120, users(6, Health::Healthy, Reason::Passed, 120)).await;
    step(130, remove("users", 1, 7)).await;
    step(140, users(8, Health::Unhealthy, Reason::Timeout, 140)).await;
    s.clock.set(at(150 * SECOND));
    for whose in [None, Some("a")] {
        let all = known(&s, whose, 0, 0).await;
        let totals = (all.totals.known, all.totals.unhealthy, all.totals.unknown);
        assert_eq!(totals, (seconds(80), seconds(30), seconds(70)), "{whose:?}: away and not proved for 60 s and 10 s");
        assert_eq!(all.outage_count, 2);
    }
    s.stop().await;
}

#[derive(Debug, Clone)]
enum Step {
    Judge(u8, Health),
    Drain(u8, bool),
    Add(u8),
    Remove(u8),
    Restart(u8),
}

fn step() -> impl Strategy<Value = (u8, Step)> {
    let health = prop_oneof![Just(Health::Healthy), Just(Health::Unhealthy), Just(Health::Unknown)];
    let step = prop_oneof![
        8 => (0..3_u8, health).prop_map(|(instance, health)| Step::Judge(instance, health)),
        3 => (0..3_u8, any::<bool>()).prop_map(|(instance, start)| Step::Drain(instance, start)),
        2 => (1..3_u8).prop_map(Step::Add),
        2 => (1..3_u8).prop_map(Step::Remove),
        1 => (1..9_u8).prop_map(Step::Restart),
    ];
    (1..9_u8, step)
}

/// An instance as the replay knows it: health, drained, registered at.
type Replayed = BTreeMap<String, (Health, bool, i64)>;

fn standing_of(health: Health, drained: bool) -> Standing {
    match (drained, health) {
        (true, _) => Standing::Drained,
        (_, Health::Healthy) => Standing::Healthy,
        (_, Health::Unhealthy) => Standing::Unhealthy,
        (_, Health::Unknown) => Standing::Unknown,
    }
}

fn standing(of: &Replayed, instance: Option<&str>) -> Option<Standing> {
    if let Some(name) = instance {
        return of.get(name).map(|(health, drained, _)| standing_of(*health, *drained));
    }
    let all: Vec<_> = of.values().map(|(health, drained, _)| standing_of(*health, *drained)).collect();
    let any = |standing| all.contains(&standing);
    Some(match (any(Standing::Healthy), any(Standing::Unhealthy), any(Standing::Unknown)) {
        (true, true, _) => Standing::Degraded,
        (true, false, _) => Standing::Healthy,
        (false, true, _) => Standing::Unhealthy,
        (false, false, true) => Standing::Unknown,
        (false, false, false) => Standing::Drained,
    })
}

/// Every second, as it stood: none while no server ran.
struct Replay {
    seconds: Vec<Option<Replayed>>,
}

impl Replay {
    fn totals(&self, instance: Option<&str>) -> (BTreeMap<&'static str, u64>, usize) {
        let began = |of: &Replayed| instance.map_or(Some(0), |name| of.get(name).map(|known| known.2));
        let began = self.seconds.last().cloned().flatten().as_ref().and_then(began).unwrap_or(0) / SECOND;
        let (mut totals, mut outages, mut last) = (BTreeMap::new(), 0, None);
        for second in self.seconds.iter().skip(usize::try_from(began).expect("positive")) {
            let Some(now) = second else {
                *totals.entry("unknown").or_default() += 1;
                continue;
            };
            let now = standing(now, instance);
            let word = now.expect("it is registered").as_str();
            *totals.entry(word).or_default() += 1;
            outages += usize::from(now == Some(Standing::Unhealthy) && last != now);
            last = now;
        }
        (totals, outages)
    }
}

async fn run(steps: Vec<(u8, Step)>) {
    let (_folder, path) = folder();
    let mut s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "i0", spec(1))).await.expect("registers");
    let mut now = 0;
    let mut known_now: Replayed = [("i0".to_owned(), (Health::Unknown, false, 0))].into();
    let mut replay = Replay { seconds: Vec::new() };
    for (wait, step) in steps {
        let wait = i64::from(wait);
        replay.seconds.extend((0..wait).map(|_| Some(known_now.clone())));
        now += wait * SECOND;
        s.clock.set(at(now));
        match step {
            Step::Restart(down) => {
                s.stop().await;
                replay.seconds.extend((0..down).map(|_| None));
                now += i64::from(down) * SECOND;
                s = Running::open_at(settings(&path), at(now)).expect("opens");
            }
            Step::Judge(n, health) => {
                if let Some(known) = known_now.get_mut(&format!("i{n}")) {
                    judge(&s, &format!("i{n}"), health, now).await;
                    known.0 = health;
                }
            }
            Step::Drain(n, start) => {
                if let Some(known) = known_now.get_mut(&format!("i{n}")) {
                    drain(&s, &format!("i{n}"), start).await;
                    known.1 = start;
                }
            }
            Step::Add(n) => {
                s.register(registration("users", &format!("i{n}"), spec(1))).await.expect("registers");
                known_now.entry(format!("i{n}")).or_insert((Health::Unknown, false, now));
            }
            Step::Remove(n) => {
                if known_now.remove(&format!("i{n}")).is_some() {
                    s.remove(removal("users", Some(&format!("i{n}")))).await.expect("removes");
                }
            }
        }
    }
    replay.seconds.extend((0..5).map(|_| Some(known_now.clone())));
    s.clock.set(at(now + 5 * SECOND));
    for instance in known_now.keys().map(|name| Some(name.as_str())).chain([None]) {
        let (mut expected, outages) = replay.totals(instance);
        let mut take = |word| seconds(expected.remove(word).unwrap_or(0));
        let (up, down, degraded) = (take("healthy"), take("unhealthy"), take("degraded"));
        let answer = known(&s, instance, 0, 0).await;
        let totals = answer.totals;
        assert_eq!(totals.known, up + down + degraded, "{instance:?} {answer:#?}");
        assert_eq!((totals.unhealthy, totals.degraded), (down, degraded), "{instance:?}");
        assert_eq!((totals.unknown, totals.drained), (take("unknown"), take("drained")), "{instance:?}");
        assert_eq!(answer.outage_count, outages, "{instance:?}");
    }
    s.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn spans_say_what_a_replay_of_every_second_says(steps in proptest::collection::vec(step(), 1..40)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(run(steps));
    }
}
