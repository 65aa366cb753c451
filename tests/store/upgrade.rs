//! A file of an earlier schema opens with everything kept. `schema3.db` was written by a server of schema 3, which probed real addresses and
//! ended in order; `schema3.db.lock` is the file beside it.

use std::fs;
use std::path::Path;

use portolan::model::check::Check;
use portolan::model::history::HistoryEvent;
use portolan::model::name::CheckName;
use portolan::model::outcome::{Health, Reason};
use portolan::model::ports::{Registrar, WriteError};
use portolan::model::service::{Instance, Owner};
use portolan::store::HistoryEntry;
use rusqlite::Connection;

use crate::child::bound_by_permissions;
use crate::common::{Running, admin, fresh, leads, registration, removal, settings, spec, until};
use crate::health::{healthy, row};

/// The number of the schema before several checks an instance.
const SCHEMA: u32 = 3;
/// The number of the newest.
const NEWEST: u32 = 7;

/// Puts the file into the folder.
pub(crate) fn of_schema_3(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("p.db");
    fs::write(&path, include_bytes!("schema3.db")).expect("writes");
    fs::write(folder.join("p.db.lock"), include_bytes!("schema3.db.lock")).expect("writes");
    assert_eq!(version(&path), SCHEMA);
    path
}

fn version(path: &Path) -> u32 {
    let db = Connection::open(path).expect("opens");
    db.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a number")
}

fn check(json: &str) -> Check {
    serde_json::from_str(json).expect("a check")
}

fn verdict(instance: &Instance) -> (Health, Reason, i64) {
    (instance.health, instance.reason, instance.since.0)
}

/// Everything that readers of schema 3 saw, and nothing more.
fn is_all_there(s: &Running) {
    let snapshot = s.catalog().snapshot();
    let keys: Vec<_> = snapshot.newest_first(None).map(|entry| entry.service().key.as_str().to_owned()).collect();
    assert_eq!(keys, ["default/billing", "default/static", "shop/mail", "default/user-service"]);
    assert_eq!((snapshot.revision(), s.revision()), (12, 12));

    let users = s.service("user-service");
    let [b, first] = &users.instances[..] else { panic!("{users:?}") };
    assert_eq!((first.name.as_str(), b.name.as_str()), ("default", "b"));
    assert_eq!(verdict(first), (Health::Healthy, Reason::Passed, 1_795_949_398_665));
    assert_eq!(verdict(b), (Health::Unhealthy, Reason::ConnectRefused, 1_795_949_403_556));
    assert_eq!((first.id.0, first.generation, &first.owner), (2, 2, &Owner::Anonymous));
    assert_eq!((first.spec.version.as_str(), first.spec.description.as_str()), ("1.4.2", "Accounts and logins"));
    assert_eq!(first.spec.metadata["note"], "größer");
    assert_eq!(first.spec.health_url.as_ref().expect("a URL").as_str(), "http://127.0.0.1:18081/health");
    let checked =
        check(r#"{"http":{"path":"/live"},"interval_seconds":1,"timeout_seconds":1,"unhealthy_threshold":2}"#);
    assert_eq!((&b.spec.check, b.spec.weight, b.spec.zone.as_str()), (&checked, 7, "eu-1a"));
    let mail = snapshot.get("shop/mail").expect("kept").service().instances[0].clone();
    assert_eq!(verdict(&mail), (Health::Unhealthy, Reason::ConnectRefused, 1_795_949_398_767));
    let billing = s.instance("billing", "default");
    assert_eq!(billing.owner, Owner::Token { issuer: "".into(), subject: "alice".into() });
    for entry in snapshot.newest_first(None) {
        for one in &entry.service().instances {
            assert_eq!((&one.warning, &one.drain, &one.observed_version), (&None, &None, &None));
            assert_eq!((&one.acknowledged, &*one.also_failing), (&None, &[][..]));
            assert!(one.decided_by.is_default() && one.spec.checks.is_empty() && one.spec.tags.is_empty());
            assert_eq!((&one.spec.external_id, one.spec.deregister_after_seconds), (&None, None));
        }
    }
    let checked = snapshot.find("default", "user-service").expect("kept").last_check().get();
    assert!(checked.is_some_and(|at| at.0 > 1_795_949_403_556), "{checked:?}");
}

fn facts(entries: &[HistoryEntry]) -> Vec<(i64, HistoryEvent, &str, &str)> {
    entries.iter().map(|e| (e.id, e.event, e.instance.as_str(), e.message.as_str())).collect()
}

async fn history_is_there(s: &Running) {
    let refused = "2 fails in a row: 127.0.0.1:18082 refused the connection: nothing listens there";
    let entries = s.history("user-service").await;
    let expected = [
        (4, HistoryEvent::Health, "b", refused),
        (2, HistoryEvent::Health, "b", "1 pass: status 200"),
        (1, HistoryEvent::Health, "default", "1 pass: status 200"),
    ];
    assert_eq!(facts(&entries), expected);
    assert!(entries.iter().all(|entry| entry.check.is_default() && entry.evidence.is_some()));
    assert_eq!(entries[0].to, Some(Health::Unhealthy));
    let gone = s.history("gone").await;
    let removed = "deregistered; it was registered at 2026-11-29T10:49:57.801Z";
    assert_eq!(facts(&gone), [(5, HistoryEvent::Removed, "default", removed)]);
}

#[tokio::test]
async fn a_file_of_schema_3_opens_with_everything_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = of_schema_3(folder.path());
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(version(&path), NEWEST);
    is_all_there(&s);
    history_is_there(&s).await;
    assert_eq!(s.store.quarantined(), (0, Vec::new()));
    let line = s.catalog().read().epoch().to_string();

    // Probing goes on where it stopped.
    let (instance, plain) = (s.instance("user-service", "b"), CheckName::default());
    let known = s.probes.get(&(instance.id, plain.clone())).expect("its row");
    assert_eq!((known.state.health(), known.check.clone()), (Health::Unhealthy, plain.clone()));
    assert!(known.samples.len() > 10 && known.last.is_some() && known.last_pass.is_some());
    assert_eq!(s.probes.len(), 4, "of every instance that is probed");
    let resumed = known.clone();

    // What it held can be changed, and new rows go on from the old numbers.
    s.store.commit_health(vec![healthy(&instance, 1)], leads()).await.expect("applies");
    s.store.record_probes(vec![row(&s.instance("user-service", "default"), 5)]).await.expect("keeps");
    s.register(registration("user-service", "c", spec(1))).await.expect("registers");
    s.store.deregister(removal("static", None), admin()).await.expect("removes");
    assert!(s.instance("user-service", "c").id.0 > 11);
    assert_eq!(s.history("user-service").await[0].id, 7);
    s.stop().await;

    let s = Running::open(settings(&path)).expect("opens again");
    assert_eq!((s.catalog().read().epoch().to_string(), s.revision()), (line, 15), "readers go on");
    assert_eq!(s.instance("user-service", "b").health, Health::Healthy);
    let row = s.probes.get(&(instance.id, plain)).expect("its row");
    assert_eq!(row.samples, resumed.samples);
    s.stop().await;
}

#[tokio::test]
async fn a_migrated_file_has_the_schema_of_a_new_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = of_schema_3(folder.path());
    Running::open(settings(&path)).expect("opens").stop().await;
    let (other, s) = fresh();
    s.stop().await;
    let tables = |path: &Path| -> Vec<(String, Option<String>)> {
        let db = Connection::open(path).expect("opens");
        let mut all = db.prepare("SELECT name, sql FROM sqlite_schema ORDER BY type, name").expect("reads");
        let all = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("reads");
        all.map(|one| one.expect("a row")).collect()
    };
    assert_eq!(tables(&path), tables(&other.path().join("p.db")));
}

#[tokio::test]
async fn a_damaged_probe_row_of_schema_3_costs_only_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = of_schema_3(folder.path());
    let db = Connection::open(&path).expect("opens");
    db.execute("UPDATE probe SET state = 'no state' WHERE instance = 3", []).expect("writes");
    drop(db);
    let s = Running::open(settings(&path)).expect("opens");
    is_all_there(&s);
    let (kept, named) = s.store.quarantined();
    assert!(kept == 1 && named[0].starts_with("probe row 3 (instance row 3): state: "), "{named:?}");
    assert_eq!(s.probes.len(), 3);
    s.stop().await;
    let db = Connection::open(&path).expect("opens");
    let kept: String = db.query_row("SELECT content FROM quarantine", [], |row| row.get(0)).expect("a row");
    assert!(kept.contains("no state"), "{kept}");
}

#[tokio::test]
async fn a_file_of_schema_3_that_cannot_be_written_is_served_and_migrated_later() {
    let name = "upgrade::a_file_of_schema_3_that_cannot_be_written_is_served_and_migrated_later";
    let Some(folder) = bound_by_permissions(name) else { return };
    let path = of_schema_3(&folder);
    let read_only = |mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changes the mode");
    };
    read_only(0o440);
    let s = Running::open(settings(&path)).expect("starts");
    assert_eq!(s.store.failure().as_deref(), Some(&WriteError::ReadOnly));
    is_all_there(&s);
    history_is_there(&s).await;
    assert_eq!(s.probes.len(), 4);
    read_only(0o640);
    until("writes succeed again", async || s.store.failure().is_none()).await;
    s.register(registration("late", "a", spec(1))).await.expect("registers");
    history_is_there(&s).await;
    s.stop().await;
    assert_eq!(version(&path), NEWEST);
}
