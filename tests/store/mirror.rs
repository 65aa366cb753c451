//! A mirror of objects: what counts, what is dropped, and what readers see.

use std::sync::Arc;

use portolan::catalog::{Epoch, WeakTag};
use portolan::model::mirror::{MirrorChange, Mirrored, MirroredInstance, ReportedHealth, VerdictsFrom};
use portolan::model::name::CheckName;
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::{DrainChange, InstanceRef, Leadership, Registrar, Role, ServiceRef, WriteError};
use portolan::model::probe::HealthChange;
use portolan::model::service::{Drain, InstanceSpec, Owner, Source, Warning};
use portolan::model::time::UnixMs;
use portolan::store::{HistoryEvent, HistoryQuery, StoreSettings};
use tempfile::TempDir;
use uuid::Uuid;

use crate::common::{Running, admin, at, folder, fresh, key, leads, settings, spec};
use crate::health::healthy;

/// The line of revisions that the tests mirror.
pub(crate) fn epoch() -> Epoch {
    Epoch::of(&Uuid::from_u128(0xabc << 64))
}

pub(crate) fn mirror_settings(path: &std::path::Path) -> StoreSettings {
    StoreSettings { epoch: Some(epoch()), durable: false, ..settings(path) }
}

/// A mirror in a folder that lives as long as the test.
fn mirror() -> (TempDir, Running) {
    let (folder, path) = folder();
    let running = Running::open(mirror_settings(&path)).expect("opens");
    (folder, running)
}

/// An object of the default namespace.
pub(crate) fn object(name: &str, id: u128, revision: u64, instances: Vec<MirroredInstance>) -> Mirrored {
    Mirrored {
        key: key(name),
        id: Uuid::from_u128(id),
        source: Source::Manifest,
        registered_at: at(-1000).wall,
        updated_at: at(-500).wall,
        revision,
        instances,
    }
}

pub(crate) fn instance(name: &str, spec: InstanceSpec, reported: Option<ReportedHealth>) -> MirroredInstance {
    let name = name.parse().expect("a name");
    MirroredInstance {
        name,
        spec: Arc::new(spec),
        owner: Owner::Anonymous,
        generation: None,
        drain: None,
        reported,
        acknowledged: None,
    }
}

pub(crate) fn put(object: Mirrored) -> Vec<MirrorChange> {
    vec![MirrorChange::Put(object)]
}

pub(crate) fn remove(name: &str, id: u128, revision: u64) -> Vec<MirrorChange> {
    vec![MirrorChange::Remove { key: key(name), id: Uuid::from_u128(id), revision }]
}

fn up(millis: i64) -> ReportedHealth {
    ReportedHealth::new(Health::Healthy, Reason::Passed, at(millis).wall)
}

fn down(millis: i64) -> ReportedHealth {
    let message = "10.0.0.5:1 refused the connection".to_owned();
    ReportedHealth { message, ..ReportedHealth::new(Health::Unhealthy, Reason::ConnectRefused, at(millis).wall) }
}

/// `users` with the one instance `a` at port 1.
fn users(revision: u64, reported: Option<ReportedHealth>) -> Mirrored {
    object("users", 1, revision, vec![instance("a", spec(1), reported)])
}

struct Follows;

impl Leadership for Follows {
    fn role(&self) -> Role {
        Role::Follows
    }
}

impl Running {
    async fn hear(&self, changes: Vec<MirrorChange>) {
        self.store.mirror(changes, VerdictsFrom::Status).await.expect("mirrors");
    }

    async fn lead(&self, changes: Vec<MirrorChange>) {
        self.store.mirror(changes, VerdictsFrom::Here).await.expect("mirrors");
    }

    async fn list(&self, all: Vec<Mirrored>, revision: u64) {
        self.store.mirror_all(all, revision, VerdictsFrom::Status).await.expect("mirrors");
    }

    async fn judge(&self, change: HealthChange) {
        assert_eq!(self.store.commit_health(vec![change], leads()).await, Ok(vec![true]));
    }

    fn sequence(&self) -> u64 {
        self.catalog().read().sequence()
    }

    /// The entity tags of the service and of the list.
    fn tags(&self, name: &str) -> (String, String) {
        let snapshot = self.catalog().read();
        let entry = snapshot.find("default", name).expect("there");
        let text = |tag: WeakTag| String::from_utf8(tag.as_bytes().to_vec()).expect("text");
        (text(entry.tag(snapshot.epoch(), true)), text(snapshot.tag("~")))
    }

    fn health(&self, name: &str) -> (Health, Reason, UnixMs) {
        let instance = self.instance(name, "a");
        (instance.health, instance.reason, instance.since)
    }
}

#[tokio::test]
async fn an_object_is_shown_as_every_replica_shows_it() {
    let (_folder, s) = mirror();
    let mut a = instance("a", spec(1), Some(up(7)));
    a.generation = Some(41);
    s.hear(put(object("users", 1, 900, vec![a, instance("b", spec(2), None)]))).await;
    let service = s.service("users");
    assert_eq!((service.id, service.revision, service.source), (Uuid::from_u128(1), 900, Source::Manifest));
    assert_eq!((service.registered_at, service.updated_at), (at(-1000).wall, at(7).wall));
    assert_eq!(s.revision(), 900);
    let (a, b) = (&service.instances[0], &service.instances[1]);
    assert_eq!((a.health, a.reason, a.since), (Health::Healthy, Reason::Passed, at(7).wall));
    assert_eq!((b.health, b.reason, b.since), (Health::Unknown, Reason::Probing, at(-500).wall));
    assert_eq!((a.shown_generation(), b.shown_generation()), (41, 0));
    assert_eq!((a.created_at, b.created_at), (at(-1000).wall, at(-1000).wall));
    assert_eq!(s.tags("users").0, "W/\"0000000000000abc.900\"");
    assert!(s.history("users").await.is_empty(), "nothing was seen to happen");
    s.stop().await;
}

#[tokio::test]
async fn what_is_not_newer_is_dropped() {
    let (_folder, s) = mirror();
    s.hear(put(users(10, Some(up(1))))).await;
    let before = (s.all(), s.sequence());
    for revision in [9, 10] {
        s.hear(put(users(revision, Some(down(2))))).await;
        s.hear(put(object("users", 2, revision, vec![instance("a", spec(2), None)]))).await;
    }
    s.hear(remove("users", 1, 9)).await;
    s.hear(remove("users", 2, 99)).await;
    assert_eq!(s.all(), before.0);
    assert_eq!((s.revision(), s.sequence()), (99, before.1 + 1), "a removal elsewhere was seen all the same");
    s.hear(put(users(11, Some(down(2))))).await;
    assert_eq!(s.health("users"), (Health::Unhealthy, Reason::ConnectRefused, at(2).wall));
    s.stop().await;
}

#[tokio::test]
async fn another_object_takes_the_name() {
    let (_folder, s) = mirror();
    s.hear(put(users(10, Some(up(1))))).await;
    let (_, mut feed) = s.catalog().subscribe();
    s.hear(put(object("users", 2, 11, vec![instance("a", spec(1), None)]))).await;
    let batch = feed.next().await.expect("a batch");
    assert_eq!((batch.revision, batch.removed.len(), batch.upserts.len()), (11, 1, 1));
    assert_eq!((batch.removed[0].1, batch.upserts[0].service().id), (Uuid::from_u128(1), Uuid::from_u128(2)));
    s.hear(remove("users", 1, 12)).await;
    assert_eq!(s.service("users").id, Uuid::from_u128(2), "the first one's end is not the second one's");
    let snapshot = s.catalog().snapshot();
    assert!(snapshot.by_id(&Uuid::from_u128(1)).is_none());
    assert_eq!((snapshot.total().total(), snapshot.total().unknown), (1, 1));
    s.stop().await;
}

#[tokio::test]
async fn what_was_removed_does_not_come_back() {
    let (_folder, s) = mirror();
    s.hear(remove("users", 1, 12)).await;
    s.hear(put(users(11, None))).await;
    assert!(s.find("users").is_none(), "news that were overtaken");
    s.hear(put(users(13, None))).await;
    s.hear(remove("users", 1, 14)).await;
    s.hear([put(users(13, None)), put(users(14, None))].concat()).await;
    assert!(s.find("users").is_none());
    let last = s.store.history(history_of(1)).await.expect("is remembered").entries.remove(0);
    assert_eq!(last.event, HistoryEvent::Removed);
    assert!(last.message.contains("its object was deleted"), "{}", last.message);
    s.hear(put(users(15, Some(up(3))))).await;
    assert_eq!(s.health("users").0, Health::Healthy, "valid again");
    s.stop().await;
}

#[tokio::test]
async fn the_history_of_a_removed_instance_says_how_it_was() {
    let (_folder, s) = mirror();
    let expired = ReportedHealth::new(Health::Unhealthy, Reason::LeaseExpired, at(3).wall);
    let all = [("a", Some(up(1))), ("b", Some(down(2))), ("c", Some(expired))];
    let all = |left: usize, revision: u64| {
        let instances = all.iter().take(left).cloned();
        object("users", 1, revision, instances.map(|(name, health)| instance(name, spec(1), health)).collect())
    };
    for (left, revision) in [(3, 11), (2, 12), (1, 13)] {
        s.hear(put(all(left, revision))).await;
    }
    s.hear(remove("users", 1, 30)).await;
    let entries = s.store.history(history_of(1)).await.expect("is remembered").entries;
    let said: Vec<_> = entries.iter().map(|entry| (entry.instance.as_str(), entry.message.as_str())).collect();
    let since = |millis: i64| at(millis).wall.to_string();
    assert_eq!(
        said,
        [
            ("a", "removed: its object was deleted, or is no longer valid"),
            ("b", &format!("removed from its object; it was unhealthy since {}: ConnectRefused", since(2))),
            ("c", &format!("removed from its object; its lease was not renewed since {}", since(3))),
        ]
    );
    s.stop().await;
}

fn history_of(id: u128) -> HistoryQuery {
    HistoryQuery { service: ServiceRef::Id(Uuid::from_u128(id)), instance: None, before: None, limit: 100 }
}

#[tokio::test]
async fn an_instance_stays_the_same_while_its_url_and_check_do() {
    let (_folder, s) = mirror();
    s.hear(put(users(10, Some(up(1))))).await;
    let first = s.instance("users", "a");
    let heavier = InstanceSpec { weight: 7, ..spec(1) };
    s.hear(put(object("users", 1, 11, vec![instance("a", heavier, Some(up(1))), instance("b", spec(2), None)]))).await;
    let second = s.instance("users", "a");
    assert_eq!((second.id, second.generation, second.health), (first.id, first.generation, Health::Healthy));
    assert_eq!(second.spec.weight, 7);
    s.hear(put(users(12, None))).await;
    assert_eq!(s.service("users").instances.len(), 1, "b left its object");
    s.hear(put(object("users", 1, 13, vec![instance("a", spec(3), None)]))).await;
    let moved = s.instance("users", "a");
    assert_eq!(moved.id, first.id);
    assert!(moved.generation > first.generation);
    assert_eq!((moved.health, moved.reason), (Health::Unknown, Reason::Probing));
    s.hear(put(object("users", 1, 14, vec![instance("a", spec(4), Some(down(5)))]))).await;
    assert_eq!(s.health("users"), (Health::Unhealthy, Reason::ConnectRefused, at(5).wall));
    s.stop().await;
}

#[tokio::test]
async fn a_follower_records_what_it_saw() {
    let (_folder, s) = mirror();
    s.hear(put(users(10, Some(up(1))))).await;
    s.hear(put(users(11, Some(down(5))))).await;
    s.hear(put(users(12, Some(down(5))))).await;
    let history = s.history("users").await;
    assert_eq!(history.len(), 1);
    assert_eq!((history[0].from, history[0].to, history[0].at), (Health::Healthy, Some(Health::Unhealthy), at(5).wall));
    assert_eq!(history[0].reason, Some(Reason::ConnectRefused));
    assert_eq!(history[0].message, "10.0.0.5:1 refused the connection");
    assert_eq!(s.store.history_since(), Some(at(0).wall));
    s.stop().await;
    let (_folder, s) = fresh();
    assert_eq!(s.store.history_since(), None, "standalone it is whole");
    s.stop().await;
}

#[tokio::test]
async fn a_verdict_of_our_own_is_marked_until_status_carries_it() {
    let (_folder, s) = mirror();
    s.lead(put(users(10, None))).await;
    let ((plain, list), before) = (s.tags("users"), s.sequence());
    s.judge(healthy(&s.instance("users", "a"), 5)).await;
    let sequence = s.service("users").sequence;
    assert_eq!((s.revision(), s.service("users").revision), (10, 10), "no revision of ours");
    assert_eq!((sequence, s.sequence()), (before + 1, before + 1));
    let (marked, list_after) = s.tags("users");
    assert!(marked.starts_with("W/\"0000000000000abc.10+") && marked.ends_with(&format!(".{sequence}\"")), "{marked}");
    assert_ne!(list, list_after);
    assert_eq!(s.service("users").updated_at, at(5).wall);

    s.lead(put(users(11, None))).await;
    assert_eq!(s.health("users"), (Health::Healthy, Reason::Passed, at(5).wall), "a status from before it");
    assert!(s.tags("users").0.contains("abc.11+"));
    s.lead(put(users(12, Some(up(5))))).await;
    assert_eq!(s.tags("users").0, "W/\"0000000000000abc.12\"");
    assert_eq!(plain, "W/\"0000000000000abc.10\"");
    let reported = s.history("users").await;
    assert_eq!(reported.len(), 1, "our own verdict came back, nothing happened: {reported:?}");
    s.stop().await;
}

#[tokio::test]
async fn a_follower_withdraws_its_own_verdicts() {
    let (_folder, s) = mirror();
    s.lead(put(users(10, Some(up(1))))).await;
    s.judge(HealthChange {
        health: Health::Unhealthy,
        reason: Reason::Timeout,
        ..healthy(&s.instance("users", "a"), 5)
    })
    .await;
    s.hear(put(users(10, Some(up(1))))).await;
    assert_eq!(s.health("users"), (Health::Healthy, Reason::Passed, at(1).wall));
    assert_eq!(s.tags("users").0, "W/\"0000000000000abc.10\"");
    let late = healthy(&s.instance("users", "a"), 9);
    assert_eq!(s.store.commit_health(vec![late], Arc::new(Follows)).await, Err(WriteError::Busy));
    s.stop().await;
}

#[tokio::test]
async fn a_leader_reads_status_only_of_new_instances() {
    let (_folder, s) = mirror();
    s.lead(put(users(10, Some(down(1))))).await;
    assert_eq!(s.health("users").0, Health::Unhealthy, "a restarted leader goes on");
    s.lead(put(users(11, Some(up(2))))).await;
    assert_eq!(s.health("users").0, Health::Unhealthy, "another's verdict on what is probed here");
    assert!(s.tags("users").0.contains('+'), "other replicas show it so");
    s.lead(put(object("users", 1, 12, vec![instance("a", spec(2), Some(up(3)))]))).await;
    assert_eq!(s.health("users").0, Health::Healthy, "nothing was proved here of the new address");
    s.stop().await;
}

#[tokio::test]
async fn a_list_replaces_all_but_what_is_newer() {
    let (_folder, path) = folder();
    let s = Running::open(mirror_settings(&path)).expect("opens");
    assert!(!s.store.is_complete());
    for (name, id, revision) in [("gone", 1, 5), ("kept", 2, 6), ("newer", 3, 21)] {
        s.hear(put(object(name, id, revision, vec![instance("a", spec(1), None)]))).await;
    }
    let (_, mut feed) = s.catalog().subscribe();
    let of = |name: &str, id, revision| object(name, id, revision, vec![instance("a", spec(2), Some(up(1)))]);
    s.list(vec![of("kept", 2, 8), of("added", 4, 9)], 20).await;
    let batch = feed.next().await.expect("one batch");
    assert_eq!((batch.removed.len(), batch.upserts.len()), (1, 2));
    let mut names: Vec<_> = s.all().iter().map(|service| service.key.name().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["added", "kept", "newer"]);
    assert_eq!((s.revision(), s.store.is_complete()), (21, true));
    s.hear(put(of("gone", 1, 20))).await;
    assert!(s.find("gone").is_none(), "as old as the list that lacked it");
    s.list(vec![], 30).await;
    assert!(s.all().is_empty());
    s.stop().await;
    let s = Running::open(mirror_settings(&path)).expect("opens");
    assert!(s.store.is_complete(), "an empty cluster is a complete one");
    s.stop().await;
}

#[tokio::test]
async fn limits_on_registrations_do_not_apply_to_objects() {
    let (_folder, path) = folder();
    let bounds = StoreSettings { max_services: 1, max_instances: 1, ..mirror_settings(&path) };
    let s = Running::open(bounds).expect("opens");
    for n in 0..5_u8 {
        let rest = Mirrored { source: Source::Rest, ..object(&format!("s{n}"), n.into(), 10, vec![]) };
        s.hear(put(Mirrored { instances: vec![instance("a", spec(1), None)], revision: 10 + u64::from(n), ..rest }))
            .await;
    }
    assert_eq!(s.all().len(), 5);
    s.stop().await;
}

#[tokio::test]
async fn a_record_accepts_no_objects() {
    let (_folder, s) = fresh();
    assert!(s.store.is_complete());
    let refused = s.store.mirror(put(users(1, None)), VerdictsFrom::Status).await;
    assert!(matches!(refused, Err(WriteError::Store(why)) if why.contains("mirrors nothing")));
    assert!(s.all().is_empty());
    s.stop().await;
}

#[tokio::test]
async fn drains_and_warnings_come_from_the_object() {
    let (_folder, s) = mirror();
    s.hear(put(users(10, Some(up(1))))).await;
    let drain = Arc::new(Drain {
        reason: "kernel".to_owned(),
        by: "the manifest".to_owned(),
        since: at(5).wall,
        until: Some(at(9000).wall),
    });
    let check: CheckName = "disk".parse().expect("a name");
    let warning = Warning { check: check.clone(), reason: Reason::Timeout, message: "no answer".to_owned() };
    let reported = ReportedHealth {
        decided_by: check.clone(),
        warning: Some(Arc::new(warning.clone())),
        observed_version: Some("1.2".into()),
        ..up(1)
    };
    let mut a = instance("a", spec(1), Some(reported.clone()));
    a.drain = Some(Arc::clone(&drain));
    s.hear(put(object("users", 1, 11, vec![a.clone()]))).await;
    let shown = s.instance("users", "a");
    assert_eq!((shown.drain, shown.decided_by, shown.warning), (Some(drain), check, reported.warning));
    assert_eq!(shown.observed_version.as_deref(), Some("1.2"));
    assert_eq!(s.service("users").unreported, None, "the status says the same");
    s.hear(put(object("users", 1, 12, vec![a]))).await;

    s.hear(put(users(13, Some(up(1))))).await;
    let shown = s.instance("users", "a");
    assert_eq!((shown.drain, shown.warning, shown.observed_version), (None, None, None));
    let history = s.history("users").await;
    let entries: Vec<_> = history.iter().map(|e| (e.event.as_str(), e.message.as_str())).collect();
    let drained = format!("drained by the manifest, until {}: kernel", at(9000).wall);
    assert_eq!(entries, [("undrained", "its drain was ended"), ("drained", drained.as_str())]);

    // A warning of this replica's own, which no status carries yet.
    let change = HealthChange { warning: Some(warning), transition: None, ..healthy(&s.instance("users", "a"), 1) };
    s.judge(HealthChange { since: at(1).wall, ..change }).await;
    assert!(s.service("users").unreported.is_some());
    let refused = s.store.drain(
        InstanceRef { service: ServiceRef::Key(key("users")), instance: "a".parse().expect("a name") },
        DrainChange::End,
        admin(),
    );
    assert!(matches!(refused.await, Err(WriteError::ManifestDrain { .. })));
    s.stop().await;
}
