//! What the prober reports: applied once, to the generation that it judged.

use portolan::model::health::CheckState;
use portolan::model::name::CheckName;
use portolan::model::outcome::{Health, Outcome, Reason, Stage, Timings, Transition, Verdict};
use portolan::model::probe::{HealthChange, ProbeRow, Sample};
use portolan::model::service::Instance;

use crate::common::{Running, at, folder, fresh, leads, registration, removal, settings, spec};

pub(crate) fn outcome(millis: i64) -> Outcome {
    Outcome {
        verdict: Verdict::Pass,
        reason: Reason::Passed,
        stage: Stage::Status,
        at: at(millis).wall,
        address: Some("10.0.0.5:1".parse().expect("an address")),
        code: Some(200),
        certificate_expires_at: None,
        message: "200 OK".to_owned(),
        timings: Timings { connect_us: Some(80), ..Timings::default() },
    }
}

/// A change of the instance to healthy, with history.
pub(crate) fn healthy(instance: &Instance, millis: i64) -> HealthChange {
    HealthChange {
        instance: instance.id,
        generation: instance.generation,
        check: CheckName::default(),
        health: Health::Healthy,
        reason: Reason::Passed,
        since: at(millis).wall,
        message: Some(format!("passed at {millis}")),
        warning: None,
        also_failing: Box::default(),
        observed_version: None,
        transition: Some(Transition {
            at: at(millis).wall,
            from: instance.health,
            to: Health::Healthy,
            reason: Reason::Passed,
            message: format!("passed at {millis}"),
            check: CheckName::default(),
            evidence: Some(outcome(millis)),
        }),
        state: CheckState::new(at(millis)),
    }
}

pub(crate) fn row(instance: &Instance, millis: i64) -> ProbeRow {
    let sample = |n| Sample { at: at(n).wall, total_us: Some(80), code: (n % 2 == 0).then_some(200) };
    ProbeRow {
        instance: instance.id,
        generation: instance.generation,
        check: CheckName::default(),
        state: CheckState::new(at(millis)),
        next_due: at(millis + 30_000).steady,
        last: Some(outcome(millis)),
        last_pass: Some(outcome(millis)),
        samples: (0..3).map(sample).collect(),
    }
}

/// Its health falls at the clock's time.
pub(crate) async fn make_unhealthy(s: &Running, service: &str, instance: &str) {
    let since = s.clock.now().wall;
    let instance = s.instance(service, instance);
    let change = HealthChange {
        health: Health::Unhealthy,
        reason: Reason::Timeout,
        since,
        transition: None,
        ..healthy(&instance, 1)
    };
    assert_eq!(s.store.commit_health(vec![change], leads()).await, Ok(vec![true]));
}

pub(crate) async fn make_healthy(s: &Running, service: &str, instance: &str) {
    let change = healthy(&s.instance(service, instance), 1);
    assert_eq!(s.store.commit_health(vec![change], leads()).await, Ok(vec![true]));
}

#[tokio::test]
async fn a_transition_moves_the_revision_once() {
    let (_folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let change = healthy(&s.instance("users", "a"), 70);
    assert_eq!(s.store.commit_health(vec![change.clone()], leads()).await, Ok(vec![true]));
    let instance = s.instance("users", "a");
    assert_eq!((instance.health, instance.reason, instance.since), (Health::Healthy, Reason::Passed, at(70).wall));
    assert_eq!((s.service("users").health(), s.revision()), (Health::Healthy, 2));
    let repeat = HealthChange { transition: None, ..change };
    assert_eq!(s.store.commit_health(vec![repeat], leads()).await, Ok(vec![true]));
    assert_eq!((s.revision(), s.history("users").await.len()), (2, 1), "a repeat is noticed by nobody");
    s.stop().await;
}

#[tokio::test]
async fn a_verdict_on_an_older_generation_is_dropped() {
    let (_folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let late = healthy(&s.instance("users", "a"), 1);
    s.register(registration("users", "a", spec(2))).await.expect("changes");
    let current = healthy(&s.instance("users", "a"), 2);
    assert_eq!(s.store.commit_health(vec![late.clone(), current], leads()).await, Ok(vec![false, true]));
    s.remove(removal("users", None)).await.expect("removes");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    assert_eq!(s.store.commit_health(vec![late], leads()).await, Ok(vec![false]), "gone, whatever took its place");
    assert_eq!(s.service("users").health(), Health::Unknown);
    s.stop().await;
}

#[tokio::test]
async fn probe_rows_change_no_revision_and_survive_a_restart() {
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    for n in 0..300 {
        s.register(registration(&format!("s{n}"), "a", spec(1))).await.expect("registers");
    }
    let rows: Vec<_> = (0..300).map(|n| row(&s.instance(&format!("s{n}"), "a"), n)).collect();
    s.store.record_probes(rows.clone()).await.expect("keeps");
    assert_eq!(s.revision(), 300);
    s.stop().await;

    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(s.probes.len(), 300);
    for (n, row) in rows.iter().enumerate() {
        assert_eq!(s.probes.get(&(row.instance, row.check.clone())), Some(row));
        let snapshot = s.catalog().snapshot();
        let entry = snapshot.find("default", &format!("s{n}")).expect("registered");
        assert_eq!(entry.last_check().get(), row.last.as_ref().map(|o| o.at));
    }
    s.stop().await;
}

#[tokio::test]
async fn probe_rows_of_an_older_generation_are_not_resumed() {
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let old = row(&s.instance("users", "a"), 5);
    s.store.record_probes(vec![old.clone()]).await.expect("keeps");
    s.register(registration("users", "a", spec(2))).await.expect("changes");
    s.store.record_probes(vec![old]).await.expect("drops");
    s.stop().await;

    let s = Running::open(settings(&path)).expect("opens");
    assert!(s.probes.is_empty(), "{:?}", s.probes);
    let snapshot = s.catalog().snapshot();
    let last = snapshot.find("default", "users").expect("registered").last_check().get();
    assert_eq!(last, Some(at(5).wall), "when it was last probed is known still");

    let instance = s.instance("users", "a");
    s.store.commit_health(vec![healthy(&instance, 9)], leads()).await.expect("applies");
    s.stop().await;
    let s = Running::open(settings(&path)).expect("opens");
    let resumed = s.probes.get(&(instance.id, CheckName::default())).expect("its state");
    assert_eq!((&resumed.last, resumed.samples.len()), (&None, 0), "the older generation's evidence is not this one's");
    assert_eq!(resumed.state, CheckState::new(at(9)));
    s.stop().await;
}

#[tokio::test]
async fn health_and_streak_are_stored_together() {
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let instance = s.instance("users", "a");
    let kept = row(&instance, 5);
    s.store.record_probes(vec![kept.clone()]).await.expect("keeps");
    s.store.commit_health(vec![healthy(&instance, 77)], leads()).await.expect("applies");
    s.stop().await;

    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(s.instance("users", "a").health, Health::Healthy);
    let expected = ProbeRow { state: CheckState::new(at(77)), ..kept };
    assert_eq!(s.probes.get(&(instance.id, CheckName::default())), Some(&expected));
    s.stop().await;
}

#[tokio::test]
async fn a_probe_row_that_cannot_be_read_costs_no_registration() {
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    for name in ["users", "other", "third"] {
        s.register(registration(name, "a", spec(1))).await.expect("registers");
    }
    let [bad, worse, good] = ["users", "other", "third"].map(|name| s.instance(name, "a"));
    s.store.record_probes(vec![row(&bad, 1), row(&worse, 1), row(&good, 1)]).await.expect("keeps");
    s.stop().await;
    let db = rusqlite::Connection::open(&path).expect("opens");
    db.execute("UPDATE probe SET state = 'no state' WHERE instance = ?1", [bad.id.0]).expect("writes");
    db.execute("UPDATE probe SET samples = x'00' WHERE instance = ?1", [worse.id.0]).expect("writes");
    drop(db);

    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(s.all().len(), 3);
    assert_eq!(s.probes.keys().collect::<Vec<_>>(), [&(good.id, CheckName::default())]);
    let again = row(&bad, 2);
    s.store.record_probes(vec![again.clone()]).await.expect("keeps");
    s.stop().await;
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(s.probes.get(&(bad.id, CheckName::default())), Some(&again), "it is written again");
    s.stop().await;
}
