//! A file removed from under a running store, and files with several names.

use std::fs;
use std::path::{Path, PathBuf};

use portolan::model::ports::WriteError;
use portolan::store::OpenError;
use rusqlite::Connection;

use crate::common::{Running, anyone, at, files, folder, fresh, refusal, registration, says, settings, spec, token};

/// A store that holds `users`, and its path.
async fn with_users() -> (tempfile::TempDir, Running, PathBuf) {
    let (folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let path = folder.path().join("p.db");
    (folder, s, path)
}

async fn refuses_writes_and_reads_on(s: &Running) {
    for name in ["late", "later"] {
        let error = s.register(registration(name, "a", spec(1))).await.expect_err("it would be lost");
        assert_eq!(error, WriteError::FileLost);
        assert!(error.to_string().contains("restart the server"), "{error}");
    }
    assert_eq!(s.store.failure().as_deref(), Some(&WriteError::FileLost));
    assert_eq!(s.all().len(), 1, "a refused change is seen by nobody");
    assert!(s.history("users").await.is_empty(), "history still answers, with nothing");
    assert!(s.register(registration("users", "a", spec(1))).await.expect("a repeat writes nothing").renewed);
}

fn service_names(path: &Path) -> Vec<String> {
    let db = Connection::open(path).expect("opens");
    let mut names = db.prepare("SELECT name FROM service ORDER BY name").expect("a table");
    names.query_map([], |row| row.get(0)).expect("rows").map(|name| name.expect("a name")).collect()
}

#[tokio::test]
async fn nothing_is_acknowledged_into_a_deleted_file() {
    let (_folder, s, path) = with_users().await;
    fs::remove_file(&path).expect("deletes");
    refuses_writes_and_reads_on(&s).await;
    s.stop().await;
    says(&refusal(&path), &["p.db is not there", "p.db.lock", "revision 1 was committed", "--start-empty"]);
    let s = Running::start_empty(&path).expect("starts empty");
    assert!(s.all().is_empty());
    s.stop().await;
}

#[tokio::test]
async fn a_file_in_its_place_is_not_written() {
    let (folder, s, path) = with_users().await;
    let (_other_folder, other, other_path) = with_users().await;
    other.register(registration("other", "a", spec(1))).await.expect("registers");
    other.stop().await;
    let kept = folder.path().join("kept.db");
    fs::rename(&path, &kept).expect("renames");
    fs::copy(&other_path, &path).expect("copies");
    let put = fs::read(&path).expect("reads");
    refuses_writes_and_reads_on(&s).await;
    s.stop().await;
    assert_eq!(fs::read(&path).expect("reads"), put);
    assert_eq!(service_names(&kept), ["users"], "the old file is whole, wherever it is");
    let s = Running::open(settings(&path)).expect("the new one opens");
    assert_eq!(s.all().len(), 2);
    s.stop().await;
}

#[tokio::test]
async fn a_file_that_comes_back_is_read_again() {
    let (folder, s, path) = with_users().await;
    let away = folder.path().join("away.db");
    fs::rename(&path, &away).expect("renames");
    refuses_writes_and_reads_on(&s).await;
    fs::rename(&away, &path).expect("renames");
    refuses_writes_and_reads_on(&s).await;
    s.stop().await;
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(s.all().len(), 1, "what was acknowledged is there, what was refused is not");
    s.register(registration("late", "a", spec(1))).await.expect("writes again");
    s.stop().await;
}

#[tokio::test]
async fn a_deleted_log_loses_nothing_that_was_acknowledged() {
    let (folder, s, path) = with_users().await;
    fs::remove_file(folder.path().join("p.db-wal")).expect("deletes");
    refuses_writes_and_reads_on(&s).await;
    s.stop().await;
    assert_eq!(service_names(&path), ["users"]);
}

#[tokio::test]
async fn a_lost_file_is_noticed_without_a_write() {
    let (_folder, s, path) = with_users().await;
    fs::remove_file(&path).expect("deletes");
    s.clock.set(at(20_000));
    let refused =
        portolan::model::ports::Registrar::register(&s.store, registration("users", "a", spec(2)), token("x"));
    assert_eq!(refused.await.expect_err("another's"), WriteError::NotOwner);
    assert_eq!(s.store.failure().as_deref(), Some(&WriteError::FileLost));
    s.stop().await;
}

#[tokio::test]
async fn a_file_with_two_names_is_refused_under_both() {
    let (folder, s, path) = with_users().await;
    s.stop().await;
    let second = folder.path().join("second.db");
    fs::hard_link(&path, &second).expect("links");
    let before = fs::read(&path).expect("reads");
    for name in [&path, &second] {
        let error = Running::open(settings(name)).err().expect("refused");
        assert!(matches!(&error, OpenError::HardLinked(path) if path == name), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("hard links") && text.contains(&format!("find -samefile {}", name.display())), "{text}");
    }
    assert_eq!(fs::read(&path).expect("reads"), before);
    assert_eq!(files(&folder), ["p.db", "p.db.lock", "second.db"], "no lock file is left beside the second name");
    fs::remove_file(&second).expect("deletes");
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(s.all().len(), 1);
    s.stop().await;
}

#[tokio::test]
async fn a_name_added_to_a_file_in_use_admits_no_other_server() {
    let (folder, s, path) = with_users().await;
    let second = folder.path().join("second.db");
    fs::hard_link(&path, &second).expect("links");
    assert!(matches!(Running::open(settings(&second)).err(), Some(OpenError::HardLinked(_))));
    s.register(registration("late", "a", spec(1))).await.expect("the first goes on");
    s.stop().await;
}

/// While this trigger exists, every transaction that adds a service fails.
const BREAK: &str =
    "CREATE TRIGGER broken BEFORE INSERT ON service BEGIN SELECT RAISE(ABORT, 'broken by the test'); END";

#[tokio::test]
async fn a_write_that_failed_can_be_repeated() {
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    let other = Connection::open(&path).expect("opens");
    other.execute_batch(BREAK).expect("breaks");
    let error = s.register(registration("users", "a", spec(1))).await.expect_err("broken");
    assert!(matches!(&error, WriteError::Store(detail) if detail.contains("broken by the test")), "{error:?}");
    assert_eq!(s.store.failure().as_deref(), Some(&error));
    assert_eq!((s.all().len(), s.revision()), (0, 0));
    other.execute_batch("DROP TRIGGER broken").expect("mends");
    drop(other);
    let registered =
        portolan::model::ports::Registrar::register(&s.store, registration("users", "a", spec(1)), anyone());
    assert_eq!(registered.await.expect("registers").service.revision, 1, "the failed one took no revision");
    assert_eq!(s.store.failure(), None);
    s.stop().await;
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!((s.all().len(), s.revision()), (1, 1));
    s.stop().await;
}
