//! An instance's life: names from external ids, several checks, drains, and removals by Portolan itself.

use std::sync::Arc;
use std::time::Duration;

use portolan::model::check::{Check, NamedCheck};
use portolan::model::history::HistoryEvent;
use portolan::model::name::CheckName;
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::{
    Caller, DrainChange, DrainOrder, InstanceRef, Registrar, Registration, Removal, RemovalReason, RemovalScope,
    ServiceRef, WriteError,
};
use portolan::model::probe::{HealthChange, ProbeRow};
use portolan::model::registration::derived_name;
use portolan::model::service::{Drain, InstanceSpec, Service, Warning};
use portolan::model::time::UnixMs;
use portolan::model::url::EndpointUrl;

use crate::common::{
    Running, admin, anyone, at, folder, fresh, joining, key, leads, registration, removal, settings, spec, token,
};
use crate::health::{healthy, make_unhealthy, row};

/// As a program registers that gives an external id and no instance.
fn external(id: &str, port: u16) -> Registration {
    let spec = InstanceSpec { external_id: Some(id.to_owned()), ..spec(port) };
    let name = derived_name(id);
    Registration { derived: true, ..registration("users", name.as_str(), spec) }
}

fn names(s: &Running) -> Vec<String> {
    s.service("users").instances.iter().map(|i| i.name.to_string()).collect()
}

#[tokio::test]
async fn an_external_id_at_an_address_is_one_instance() {
    let (_folder, s) = fresh();
    let first = s.register(external("web-1", 1)).await.expect("registers");
    assert_eq!(first.instance.as_str(), "web-1", "it is a label itself");
    let again = s.register(external("web-1", 1)).await.expect("registers");
    assert_eq!((again.renewed, again.instance.as_str(), s.revision()), (true, "web-1", 1));

    let elsewhere = s.register(external("web-1", 2)).await.expect("registers").instance;
    assert!(elsewhere.as_str().starts_with("web-1-") && elsewhere.as_str().len() == 12, "{elsewhere}");
    let renewed = s.register(external("web-1", 2)).await.expect("registers");
    assert_eq!((renewed.renewed, &renewed.instance), (true, &elsewhere), "known again by id and address");

    let other = s.register(external("192.0.2.2:users:18090", 1)).await.expect("registers").instance;
    assert!(other.as_str().starts_with("192-0-2-2-users-18090-"), "{other}");
    assert_ne!(s.register(external("192.0.2.2/users/18090", 3)).await.expect("registers").instance, other);
    assert_eq!(names(&s).len(), 4);

    // Another version of the same program changes its own instance.
    let mut newer = external("192.0.2.2:users:18090", 1);
    newer.spec.version = "2.0.0".to_owned();
    let changed = s.register(newer).await.expect("registers");
    assert_eq!((changed.renewed, &changed.instance, names(&s).len()), (false, &other, 4));
    s.stop().await;
}

#[tokio::test]
async fn a_name_that_is_taken_is_not_taken_over() {
    let (_folder, s) = fresh();
    s.register(registration("users", "web-1", spec(1))).await.expect("registers");
    let elsewhere = s.register(external("web-1", 2)).await.expect("registers").instance;
    assert_ne!(elsewhere.as_str(), "web-1", "another program has the name");
    assert_eq!(s.instance("users", "web-1").spec.external_id, None);
    let same = s.register(external("web-1", 1)).await.expect("registers").instance;
    assert_eq!(same.as_str(), "web-1", "the same address begins to give its id");
    assert_eq!(s.instance("users", "web-1").spec.external_id.as_deref(), Some("web-1"));

    let renamed = Registration { instance: "b".parse().expect("a name"), derived: false, ..external("web-1", 1) };
    let refused = s.register(renamed).await.expect_err("there is one");
    assert_eq!(refused, WriteError::ExternalIdTaken("web-1".parse().expect("a name")));
    let moved = Registration { derived: false, ..external("web-1", 7) };
    s.register(moved).await.expect("a given name means its instance, wherever that moves");
    assert_eq!(s.instance("users", "web-1").spec.base_url.port(), 7);
    s.stop().await;
}

#[tokio::test]
async fn external_ids_remove_too() {
    let (_folder, s) = fresh();
    for (id, port) in [("a", 1), ("a", 2), ("b", 1)] {
        s.register(external(id, port)).await.expect("registers");
    }
    let of = |id: &str| Removal { scope: RemovalScope::ExternalId(id.to_owned()), ..removal("users", None) };
    assert_eq!(s.remove(of("c")).await, Err(WriteError::InstanceNotFound));
    assert_eq!(s.remove(of("a")).await, Err(WriteError::SharedExternalId(2)));
    s.remove(of("b")).await.expect("removes");
    s.remove(Removal { all: true, ..of("a") }).await.expect("removes both");
    assert_eq!(s.find("users"), None);
    s.stop().await;
}

fn at_instance(name: &str) -> InstanceRef {
    InstanceRef { service: ServiceRef::Key(key("users")), instance: name.parse().expect("a name") }
}

fn start(reason: &str, until: Option<UnixMs>) -> DrainChange {
    DrainChange::Start(DrainOrder { reason: reason.to_owned(), by: "alice".to_owned(), until })
}

async fn drain(s: &Running, change: DrainChange, caller: Caller) -> Result<Arc<Service>, WriteError> {
    s.store.drain(at_instance("a"), change, caller).await
}

#[tokio::test]
async fn a_drain_outlasts_renewals_and_restarts() {
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.clock.set(at(10));
    let service = drain(&s, start("kernel\u{1b} update", None), anyone()).await.expect("drains");
    let since = at(10).wall;
    let expected = Drain { reason: "kernel\u{1b} update".to_owned(), by: "alice".to_owned(), since, until: None };
    assert_eq!(service.instances[0].drain.as_deref(), Some(&expected));
    assert!(service.instances[0].is_drained() && service.instances[0].spec.weight == 100, "its weight stays");
    assert_eq!(s.revision(), 2);

    assert!(s.register(registration("users", "a", spec(1))).await.expect("registers").renewed);
    let mut newer = spec(1);
    newer.version = "2".to_owned();
    s.register(registration("users", "a", newer)).await.expect("changes");
    s.register(registration("users", "a", spec(2))).await.expect("moves");
    s.clock.set(at(20));
    let until = at(60_000).wall;
    drain(&s, start("kernel", Some(until)), anyone()).await.expect("drains");
    let revision = s.revision();
    drain(&s, start("kernel", Some(until)), anyone()).await.expect("the same again");
    assert_eq!(s.revision(), revision, "it moves nothing");
    s.stop().await;

    let s = Running::open(settings(&path)).expect("opens");
    let kept = s.instance("users", "a").drain.expect("kept");
    assert_eq!(
        (kept.reason.as_str(), kept.since, kept.until),
        ("kernel", since, Some(until)),
        "it began when it began"
    );
    drain(&s, DrainChange::Expire(at(5).wall), anyone()).await.expect("another end");
    assert!(s.instance("users", "a").is_drained(), "it was prolonged meanwhile");
    drain(&s, DrainChange::Expire(until), admin()).await.expect("ends");
    assert_eq!(s.instance("users", "a").drain, None);
    drain(&s, start("again", None), anyone()).await.expect("drains");
    drain(&s, DrainChange::End, joining("bob")).await.expect("ends");
    let revision = s.revision();
    drain(&s, DrainChange::End, anyone()).await.expect("it is ended already");
    assert_eq!(s.revision(), revision);

    let history = s.history("users").await;
    let messages: Vec<_> = history.iter().rev().map(|e| (e.event, e.message.as_str())).collect();
    let prolonged = format!("drained by alice, until {until}: kernel");
    let expected = [
        (HistoryEvent::Drained, "drained by alice: kernel\\u{1b} update"),
        (HistoryEvent::Drained, prolonged.as_str()),
        (HistoryEvent::Undrained, "its drain ended by itself"),
        (HistoryEvent::Drained, "drained by alice: again"),
        (HistoryEvent::Undrained, "its drain was ended by bob"),
    ];
    assert_eq!(messages, expected);
    assert!(history.iter().all(|e| e.to == Some(e.from)), "health is another matter");
    s.remove(removal("users", None)).await.expect("removes");
    assert_eq!(s.history("users").await.len(), 6, "found by name still, by its removal");
    s.stop().await;
}

#[tokio::test]
async fn only_owners_drain_what_is_there() {
    let (_folder, s) = fresh();
    s.store.register(registration("users", "a", spec(1)), token("alice")).await.expect("registers");
    for change in [start("why", None), DrainChange::End] {
        assert_eq!(drain(&s, change.clone(), token("bob")).await, Err(WriteError::NotOwner));
        let missing = s.store.drain(at_instance("b"), change.clone(), admin()).await;
        assert_eq!(missing, Err(WriteError::InstanceNotFound));
        let nowhere = InstanceRef { service: ServiceRef::Id(uuid::Uuid::now_v7()), ..at_instance("a") };
        assert_eq!(s.store.drain(nowhere, change, admin()).await, Err(WriteError::ServiceNotFound));
    }
    let by_id = InstanceRef { service: ServiceRef::Id(s.service("users").id), ..at_instance("a") };
    s.store.drain(by_id, start("why", None), token("alice")).await.expect("drains");
    assert!(s.instance("users", "a").is_drained());
    s.stop().await;
}

fn named(json: &str) -> NamedCheck {
    serde_json::from_str(json).expect("a check")
}

/// An instance with a plain check and two more.
fn checked(port: u16) -> InstanceSpec {
    InstanceSpec {
        checks: vec![
            named(r#"{"name":"admin","advisory":true,"url":"http://10.0.0.5:9000/ready"}"#),
            named(r#"{"name":"disk","http":{"path":"/disk","identity":{"json":{"/name":"$service"}}}}"#),
        ],
        tags: vec!["traefik.enable=true".to_owned(), "größe".to_owned()],
        external_id: Some("users/1".to_owned()),
        deregister_after_seconds: Some(600),
        ..spec(port)
    }
}

#[tokio::test]
async fn each_check_has_a_row_of_its_own() {
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", checked(1))).await.expect("registers");
    let instance = s.instance("users", "a");
    let of = |check: &str, millis: i64| -> ProbeRow {
        ProbeRow { check: check.parse().expect("a name"), ..row(&instance, millis) }
    };
    let rows = [of("default", 1), of("admin", 5), of("disk", 3)];
    s.store.record_probes(rows.to_vec()).await.expect("keeps");
    let disk: CheckName = "disk".parse().expect("a name");
    let change = HealthChange { check: disk.clone(), ..healthy(&instance, 9) };
    s.store.commit_health(vec![change.clone()], leads()).await.expect("applies");
    s.stop().await;

    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(s.instance("users", "a").spec, instance.spec, "every word is kept");
    assert_eq!(s.instance("users", "a").decided_by, disk);
    let plain = s.probes.get(&(instance.id, CheckName::default())).expect("its row");
    assert_eq!(plain, &rows[0]);
    let decided = s.probes.get(&(instance.id, disk)).expect("its row");
    assert_eq!(decided, &ProbeRow { state: change.state, ..rows[2].clone() }, "only the state of that check changed");
    assert_eq!(s.probes.len(), 3);
    let last = s.catalog().read().find("default", "users").expect("there").last_check().get();
    assert_eq!(last, Some(at(5).wall), "the newest probe of any check");

    // Another check begins from nothing, and the old ones are forgotten.
    let mut other = checked(1);
    other.checks.truncate(1);
    s.register(registration("users", "a", other)).await.expect("changes");
    s.stop().await;
    let db = rusqlite::Connection::open(&path).expect("opens");
    let left: Vec<String> = db
        .prepare("SELECT check_name FROM probe")
        .and_then(|mut rows| rows.query_map([], |row| row.get(0))?.collect())
        .expect("reads");
    assert_eq!(left, ["default"], "which knows when the instance was probed last");
}

#[tokio::test]
async fn what_readers_see_of_a_check_moves_the_revision() {
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", checked(1))).await.expect("registers");
    let instance = s.instance("users", "a");
    let first = healthy(&instance, 7);
    s.store.commit_health(vec![first.clone()], leads()).await.expect("applies");
    let admin: CheckName = "admin".parse().expect("a name");
    let warning = Warning { check: admin.clone(), reason: Reason::Timeout, message: "no answer in 5 s".to_owned() };
    let quiet = HealthChange { transition: None, ..first };
    let warned = HealthChange { warning: Some(warning.clone()), ..quiet.clone() };
    let versioned = HealthChange { observed_version: Some("1.2.4".to_owned()), ..warned.clone() };
    let decided = HealthChange { check: admin.clone(), ..versioned.clone() };
    let more = HealthChange { also_failing: [admin.clone()].into(), ..decided.clone() };
    let changes = [
        (&quiet, 2),
        (&warned, 3),
        (&warned, 3),
        (&versioned, 4),
        (&decided, 5),
        (&decided, 5),
        (&more, 6),
        (&more, 6),
    ];
    for (change, revision) in changes {
        s.store.commit_health(vec![change.clone()], leads()).await.expect("applies");
        assert_eq!(s.revision(), revision, "{change:?}");
    }
    assert_eq!(s.history("users").await.len(), 1, "its health is the same");
    s.stop().await;

    let s = Running::open(settings(&path)).expect("opens");
    let kept = s.instance("users", "a");
    assert_eq!((kept.warning.as_deref(), kept.observed_version.as_deref()), (Some(&warning), Some("1.2.4")));
    assert_eq!((&*kept.also_failing, &kept.decided_by, kept.health), (&[admin.clone()][..], &admin, Health::Healthy));
    s.register(registration("users", "a", checked(2))).await.expect("moves");
    let moved = s.instance("users", "a");
    assert_eq!((moved.warning, moved.observed_version, moved.decided_by), (None, None, CheckName::default()));
    assert!(moved.also_failing.is_empty());
    s.stop().await;
}

#[tokio::test]
async fn a_transition_names_its_check() {
    let (_folder, s) = fresh();
    s.register(registration("users", "a", checked(1))).await.expect("registers");
    let disk: CheckName = "disk".parse().expect("a name");
    let mut change = HealthChange { check: disk.clone(), ..healthy(&s.instance("users", "a"), 3) };
    change.transition.as_mut().expect("one").check = disk.clone();
    s.store.commit_health(vec![change], leads()).await.expect("applies");
    let history = s.history("users").await;
    assert_eq!((history[0].event, &history[0].check), (HistoryEvent::Health, &disk));
    s.stop().await;
}

fn expired(name: &str, why: RemovalReason) -> Removal {
    Removal { why: Some(why), ..removal("users", Some(name)) }
}

#[tokio::test]
async fn portolan_itself_spares_a_last_instance_that_did_not_ask() {
    let (_folder, s) = fresh();
    let long = RemovalReason::Unhealthy(Duration::from_mins(10));
    for (name, spec) in [("a", spec(1)), ("b", spec(2))] {
        s.register(registration("users", name, spec)).await.expect("registers");
        make_unhealthy(&s, "users", name).await;
    }
    s.remove(expired("b", long)).await.expect("others stay");
    assert_eq!(s.remove(expired("a", long)).await, Err(WriteError::LastInstance));
    let heartbeat: Check = serde_json::from_str(r#"{"heartbeat":{"ttl_seconds":30}}"#).expect("a check");
    let leased = InstanceSpec { check: heartbeat, health_url: None, ..spec(1) };
    s.register(registration("users", "a", leased)).await.expect("registers");
    let silent = RemovalReason::LeaseNotRenewed(Duration::from_mins(5));
    s.remove(expired("a", silent)).await.expect("it asked for that");
    assert_eq!(s.find("users"), None);
    let history = s.history("users").await;
    let messages: Vec<_> =
        history.iter().filter(|e| e.event == HistoryEvent::Removed).map(|e| e.message.as_str()).collect();
    assert!(messages[0].starts_with("removed: lease not renewed for 5m;"), "{messages:?}");
    assert!(messages[1].starts_with("removed: unhealthy for 10m;"), "{messages:?}");
    s.stop().await;
}

#[test]
fn a_path_of_a_further_check_is_on_the_base_urls_origin() {
    use portolan::model::check::{CheckError, Plan, Target};

    let paths = |url: Option<&str>, check: &str| {
        let mut one = named(check);
        one.url = url.map(|url| EndpointUrl::health(url).expect("a URL"));
        let spec = InstanceSpec { checks: vec![one], ..spec(1) };
        let any = spec.all_checks().last().expect("it");
        spec.try_plan_of(&any, Duration::from_secs(30)).map(|plan| match plan {
            Plan::Probe(Target::Http { port, target, .. }, _) => (port, target),
            other => panic!("{other:?}"),
        })
    };
    let at = |port: u16, target: &str| Ok((port, target.to_owned()));
    let path = r#"{"name":"x","http":{"path":"/ready"}}"#;
    assert_eq!(paths(None, path), at(1, "/ready"), "not the health URL's path");
    assert_eq!(paths(Some("http://h:9000/other"), path), Err(CheckError::TwoPaths));
    assert_eq!(paths(Some("http://h:9000/other"), r#"{"name":"x"}"#), at(9000, "/other"));
    assert_eq!(paths(None, r#"{"name":"x"}"#), at(1, "/live"));
}
