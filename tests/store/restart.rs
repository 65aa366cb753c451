//! What a restart finds, and when readers must start over.

use std::path::Path;

use portolan::model::check::CheckKind;
use portolan::model::url::EndpointUrl;

use crate::common::{Running, folder, joining, key, refusal, registration, removal, says, settings, spec};
use crate::health::make_healthy;
use portolan::model::ports::{Registrar, WriteError};

fn epoch(s: &Running) -> String {
    s.catalog().read().epoch().to_string()
}

async fn reopened(s: Running, path: &Path) -> Running {
    s.stop().await;
    Running::open(settings(path)).expect("opens")
}

#[tokio::test]
async fn a_restart_finds_everything() {
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    let mut rich = spec(1);
    rich.metadata.insert("team".into(), "identität".into());
    rich.check.kind = Some(CheckKind::Tcp);
    rich.check.timing.interval_seconds = Some(7);
    (rich.weight, rich.zone, rich.description) = (0, "eu-1a".into(), "Logins".into());
    rich.base_url = EndpointUrl::base("postgres://db.corp:5432").expect("a URL");
    s.register(registration("users", "a", spec(2))).await.expect("registers");
    s.store.register(registration("users", "b", rich), joining("alice")).await.expect("registers");
    s.register(registration("gone", "a", spec(2))).await.expect("registers");
    s.remove(removal("gone", None)).await.expect("removes");
    make_healthy(&s, "users", "a").await;
    let (before, revision, line) = (s.all(), s.revision(), epoch(&s));

    let s = reopened(s, &path).await;
    assert_eq!((s.all(), s.revision(), epoch(&s)), (before, revision, line));
    let again = s.register(registration("users", "a", spec(2))).await.expect("registers");
    assert!(again.renewed, "a restart makes no repeat a change");
    let next = s.register(registration("new", "a", spec(2))).await.expect("registers");
    assert_eq!(next.service.revision, revision + 1);
    s.stop().await;
}

#[tokio::test]
async fn generations_go_on_after_a_restart() {
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    let old = s.register(registration("users", "a", spec(1))).await.expect("registers").generation;
    s.remove(removal("users", None)).await.expect("removes");
    let s = reopened(s, &path).await;
    let new = s.register(registration("users", "a", spec(1))).await.expect("registers").generation;
    assert!(new > old, "{new} after {old}");
    s.stop().await;
}

#[tokio::test]
async fn a_restored_backup_starts_a_new_line_of_revisions() {
    let (folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let s = reopened(s, &path).await;
    let line = epoch(&s);
    s.stop().await;
    let backup = folder.path().join("backup");
    std::fs::copy(&path, &backup).expect("copies");
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(epoch(&s), line, "an ordinary restart goes on");
    s.register(registration("late", "a", spec(1))).await.expect("registers");
    s.stop().await;

    std::fs::copy(&backup, &path).expect("copies");
    let s = Running::open(settings(&path)).expect("opens");
    assert_ne!(epoch(&s), line);
    assert_eq!((s.find("late"), s.revision()), (None, 1));
    let line = epoch(&s);
    let s = reopened(s, &path).await;
    assert_eq!(epoch(&s), line, "and that one goes on");
    s.stop().await;
}

#[tokio::test]
async fn without_its_lock_file_nothing_is_proved() {
    let (folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let line = epoch(&s);
    s.stop().await;
    std::fs::remove_file(folder.path().join("p.db.lock")).expect("removes");
    let s = Running::open(settings(&path)).expect("opens");
    assert_ne!(epoch(&s), line);
    assert_eq!(s.all().len(), 1);
    s.stop().await;
}

#[tokio::test]
async fn a_backup_made_in_the_running_run_is_recognized() {
    let (folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let backup = folder.path().join("backup");
    let db = rusqlite::Connection::open(&path).expect("opens beside");
    db.execute("VACUUM INTO ?1", [backup.to_str().expect("a plain path")]).expect("backs up");
    drop(db);
    s.register(registration("late", "a", spec(1))).await.expect("registers");
    let line = epoch(&s);
    s.stop().await;
    std::fs::copy(&backup, &path).expect("copies");
    // It looks like a file that lost its log.
    says(
        &refusal(&path),
        &["p.db has lost what was written last", "revision 1, and 2 was", "`portolan serve --accept-loss`"],
    );
    let s = Running::accept_loss(&path).expect("opens");
    assert_ne!(epoch(&s), line);
    assert_eq!(s.find("late"), None);
    s.stop().await;
    let s = Running::open(settings(&path)).expect("and that one goes on");
    s.stop().await;
}

#[tokio::test]
async fn the_oldest_revisions_are_forgotten() {
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.stop().await;
    // As if 70,000 changes had been committed.
    let db = rusqlite::Connection::open(&path).expect("opens");
    db.execute_batch(
        "WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < 70000)
         INSERT INTO change (revision, service, key, deleted) SELECT n, x'00', 'default/x', 1 FROM n;
         UPDATE meta SET revision = 70000",
    )
    .expect("writes");
    let s = Running::open(settings(&path)).expect("opens");
    let service = s.register(registration("users", "b", spec(1))).await.expect("registers").service;
    assert_eq!(service.revision, 70_001);
    let count = |sql| db.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("reads");
    let (floor, kept) = (count("SELECT floor FROM meta"), count("SELECT count(*) FROM change"));
    assert_eq!((count("SELECT min(revision) FROM change"), kept), (floor + 1, 70_001 - floor));
    assert!((65_536..70_001).contains(&kept), "{kept}");
    s.stop().await;
}

#[tokio::test]
async fn only_its_manifest_changes_a_manifests_service() {
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.stop().await;
    let db = rusqlite::Connection::open(&path).expect("opens");
    db.execute("UPDATE service SET source = 'manifest'", []).expect("writes");
    drop(db);
    let bounds = portolan::store::StoreSettings { max_services: 1, ..settings(&path) };
    let s = Running::open(bounds).expect("opens");
    for again in [registration("users", "a", spec(1)), registration("users", "b", spec(2))] {
        let refused = s.store.register(again, crate::common::admin()).await.expect_err("a manifest's");
        assert_eq!(refused, WriteError::ManifestOwned(key("users")));
    }
    assert_eq!(s.remove(removal("users", None)).await, Err(WriteError::ManifestOwned(key("users"))));
    s.register(registration("other", "a", spec(1))).await.expect("MAX_SERVICES counts what came over REST");
    s.stop().await;
}
