//! Acknowledgements of failures: kept, ended by what becomes of the service, and recorded in the history.

use std::sync::Arc;

use portolan::model::acknowledgement::{Acknowledgement, Failure};
use portolan::model::history::HistoryEvent;
use portolan::model::mirror::{MirroredInstance, ReportedHealth, VerdictsFrom};
use portolan::model::name::CheckName;
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::{AcknowledgementChange, AcknowledgementOrder, Caller, Registrar, ServiceRef, WriteError};
use portolan::model::service::{Service, acknowledgement_of};
use portolan::model::time::UnixMs;

use crate::common::{Running, anyone, at, folder, fresh, joining, key, registration, settings, spec};
use crate::health::{make_healthy, make_unhealthy};
use crate::mirror::{instance, mirror_settings, object, put};

fn start(until: Option<UnixMs>) -> AcknowledgementChange {
    let order = AcknowledgementOrder { note: "disk\u{1b} ordered".to_owned(), by: "alice".to_owned(), until };
    AcknowledgementChange::Start(order)
}

async fn acknowledge(
    s: &Running,
    instance: Option<&str>,
    change: AcknowledgementChange,
    caller: Caller,
) -> Result<Arc<Service>, WriteError> {
    let instance = instance.map(|name| name.parse().expect("a name"));
    s.store.acknowledge(ServiceRef::Key(key("users")), instance, change, caller).await
}

/// Instances `a`, `b` and `c` of `users`; the first two fail.
async fn two_of_three_fail(s: &Running) {
    for (name, port) in [("a", 1), ("b", 2), ("c", 3)] {
        s.register(registration("users", name, spec(port))).await.expect("registers");
    }
    for name in ["a", "b"] {
        make_unhealthy(s, "users", name).await;
    }
    make_healthy(s, "users", "c").await;
}

fn known(s: &Running) -> String {
    let service = s.service("users");
    service.instances.iter().filter(|i| i.acknowledged.is_some()).map(|i| i.name.to_string()).collect()
}

fn of_service(s: &Running) -> Option<Acknowledgement> {
    acknowledgement_of(s.service("users").instances.iter()).map(|known| (**known).clone())
}

/// What the history says of acknowledgements, newest first.
async fn logged(s: &Running) -> Vec<(HistoryEvent, String, String)> {
    let of = |event| matches!(event, HistoryEvent::Acknowledged | HistoryEvent::Unacknowledged);
    let entries = s.history("users").await.into_iter().filter(|entry| of(entry.event));
    entries.map(|entry| (entry.event, entry.instance.to_string(), entry.message)).collect()
}

#[tokio::test]
async fn it_outlasts_renewals_and_restarts_and_ends_by_itself() {
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    two_of_three_fail(&s).await;
    s.clock.set(at(10));
    let until = at(60_000).wall;
    let revision = s.revision();
    let service = acknowledge(&s, None, start(Some(until)), anyone()).await.expect("they fail");
    assert_eq!((known(&s).as_str(), s.revision(), service.revision), ("ab", revision + 1, revision + 1));
    acknowledge(&s, None, start(Some(until)), anyone()).await.expect("the same again");
    assert!(s.register(registration("users", "a", spec(1))).await.expect("registers").renewed);
    assert_eq!(s.revision(), revision + 1, "neither moves anything");
    s.stop().await;

    let s = Running::open(settings(&path)).expect("opens");
    let kept = of_service(&s).expect("kept");
    assert_eq!(
        (kept.note.as_str(), kept.by.as_str(), kept.since, kept.until),
        ("disk\u{1b} ordered", "alice", at(10).wall, Some(until))
    );
    acknowledge(&s, None, AcknowledgementChange::Expire(at(5).wall), anyone()).await.expect("another end");
    assert_eq!(known(&s), "ab");
    acknowledge(&s, None, AcknowledgementChange::Expire(until), anyone()).await.expect("its end");
    assert_eq!((known(&s).as_str(), of_service(&s)), ("", None));
    let (given, ended) = (HistoryEvent::Acknowledged, HistoryEvent::Unacknowledged);
    let first = format!("acknowledged by alice for the service, failing: a, b, until {until}: disk\\u{{1b}} ordered");
    let last = "the acknowledgement by alice (disk\\u{1b} ordered) ended by itself".to_owned();
    assert_eq!(logged(&s).await, [(ended, "a".to_owned(), last), (given, "a".to_owned(), first)]);
    s.stop().await;
}

#[tokio::test]
async fn it_ends_with_its_failure_and_with_any_new_one() {
    let (_folder, s) = fresh();
    two_of_three_fail(&s).await;
    acknowledge(&s, None, start(None), anyone()).await.expect("they fail");
    make_unhealthy(&s, "users", "a").await;
    assert_eq!(known(&s), "ab", "the same failure");
    make_healthy(&s, "users", "b").await;
    assert_eq!(known(&s), "a");
    assert!(of_service(&s).is_some(), "what still fails is known");
    let entries = logged(&s).await;
    assert!(entries[0].1 == "b" && entries[0].2.ends_with("ended with the failure"), "{entries:?}");

    s.clock.set(at(100));
    make_unhealthy(&s, "users", "c").await;
    assert_eq!((known(&s).as_str(), of_service(&s)), ("", None), "c is new");
    let entries = logged(&s).await;
    assert!(entries[0].1 == "c" && entries[0].2.ends_with("because this is a new failure"), "{entries:?}");
    assert_eq!(entries.len(), 3, "one entry, however many instances: {entries:?}");

    // One of an instance alone leaves the others to themselves.
    acknowledge(&s, Some("a"), start(None), anyone()).await.expect("it fails");
    s.clock.set(at(200));
    make_unhealthy(&s, "users", "b").await;
    assert_eq!((known(&s).as_str(), of_service(&s)), ("a", None));
    s.register(registration("users", "a", spec(9))).await.expect("moves");
    assert_eq!(known(&s), "", "at its new address nothing is known yet");
    acknowledge(&s, Some("b"), start(None), anyone()).await.expect("it fails");
    acknowledge(&s, Some("b"), AcknowledgementChange::End, joining("bob")).await.expect("withdrawn");
    let entries = logged(&s).await;
    assert!(entries[0].2.ends_with("was withdrawn by bob"), "{entries:?}");
    let revision = s.revision();
    acknowledge(&s, None, AcknowledgementChange::End, anyone()).await.expect("there is none");
    assert_eq!(s.revision(), revision);
    s.stop().await;
}

#[tokio::test]
async fn only_what_fails_is_acknowledged() {
    let (_folder, s) = fresh();
    assert_eq!(acknowledge(&s, None, start(None), anyone()).await, Err(WriteError::ServiceNotFound));
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let nothing = |instance| Err(WriteError::NothingToAcknowledge { instance });
    assert_eq!(acknowledge(&s, None, start(None), anyone()).await, nothing(false));
    assert_eq!(acknowledge(&s, Some("a"), start(None), anyone()).await, nothing(true));
    assert_eq!(acknowledge(&s, Some("x"), start(None), anyone()).await, Err(WriteError::InstanceNotFound));
    assert_eq!(logged(&s).await, []);
    s.stop().await;
}

#[tokio::test]
async fn in_a_mirror_the_status_brings_it_and_ends_it() {
    let (_folder, path) = folder();
    let s = Running::open(mirror_settings(&path)).expect("opens");
    let down = at(1).wall;
    let failure = Failure { down: Some((CheckName::default(), down)), warning: None, also: Box::default() };
    let users = |revision, known: Option<&Acknowledgement>| {
        let reported = ReportedHealth::new(Health::Unhealthy, Reason::Timeout, down);
        let acknowledged = known.cloned().map(Arc::new);
        put(object(
            "users",
            1,
            revision,
            vec![MirroredInstance { acknowledged, ..instance("a", spec(1), Some(reported)) }],
        ))
    };
    let known_as = |note: &str, until| {
        let (note, by, since) = (note.to_owned(), "alice".to_owned(), at(5).wall);
        Acknowledgement { note, by, since, until, whole: true, failure: failure.clone() }
    };
    let hear = async |s: &Running, changes| s.store.mirror(changes, VerdictsFrom::Status).await.expect("mirrors");
    hear(&s, users(10, None)).await;
    hear(&s, users(11, Some(&known_as("ordered", None)))).await;
    assert_eq!((of_service(&s), s.service("users").unreported), (Some(known_as("ordered", None)), None));
    s.stop().await;

    let s = Running::open(mirror_settings(&path)).expect("opens");
    assert_eq!(of_service(&s), Some(known_as("ordered", None)));
    hear(&s, users(12, None)).await;
    s.clock.set(at(100));
    let short = known_as("short", Some(at(90).wall));
    hear(&s, users(13, Some(&short))).await;
    hear(&s, users(14, None)).await;
    let messages: Vec<String> = logged(&s).await.into_iter().map(|(_, _, message)| message).collect();
    let given = format!("acknowledged by alice for the service, failing: a, until {}: short", at(90).wall);
    let expected = [
        "the acknowledgement by alice (short) ended by itself",
        &given,
        "the acknowledgement by alice (ordered) was withdrawn",
        "acknowledged by alice for the service, failing: a: ordered",
    ];
    assert_eq!(messages, expected);

    // The leader gives one, and other writers' versions of the object do not have it yet.
    acknowledge(&s, None, start(None), anyone()).await.expect("it fails");
    let ours = of_service(&s).expect("given");
    let lead = async |changes| s.store.mirror(changes, VerdictsFrom::Here).await.expect("mirrors");
    lead(users(15, None)).await;
    assert_eq!(of_service(&s).as_ref(), Some(&ours));
    assert!(s.service("users").unreported.is_some(), "no status says it yet");
    lead(users(16, Some(&ours))).await;
    assert_eq!((of_service(&s).as_ref(), s.service("users").unreported), (Some(&ours), None));
    acknowledge(&s, None, AcknowledgementChange::End, anyone()).await.expect("withdrawn");
    lead(users(17, Some(&ours))).await;
    assert_eq!(of_service(&s), None, "an older status brings nothing back");
    s.stop().await;
}
