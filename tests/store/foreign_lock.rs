//! Another program that has SQLite's lock: writes are refused in time, reads go on, and nothing has to be restarted.

use portolan::model::ports::WriteError;
use portolan::store::OpenError;
use rusqlite::Connection;

use crate::common::{Running, fresh, registration, settings, spec, until};

#[tokio::test]
async fn a_foreign_lock_refuses_only_writes() {
    let (folder, s) = fresh();
    let path = folder.path().join("p.db");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let other = Connection::open(&path).expect("opens beside");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let refused = s.register(registration("late", "a", spec(1))).await.expect_err("locked");
    assert_eq!(refused, WriteError::Locked);
    assert_eq!(s.store.failure().as_deref(), Some(&WriteError::Locked));
    assert_eq!((s.all().len(), s.history("users").await.len()), (1, 0));
    assert!(s.register(registration("users", "a", spec(1))).await.expect("a repeat writes nothing").renewed);
    other.execute_batch("COMMIT").expect("lets go");
    s.register(registration("late", "a", spec(1))).await.expect("registers");
    assert_eq!(s.store.failure(), None);
    s.stop().await;
}

#[tokio::test]
async fn a_start_under_a_foreign_lock_serves_reads_and_writes_later() {
    let (folder, s) = fresh();
    let path = folder.path().join("p.db");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let line = s.catalog().read().epoch().clone();
    s.stop().await;
    let other = Connection::open(&path).expect("opens beside");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let s = Running::open(settings(&path)).expect("starts");
    assert_eq!((s.all().len(), s.catalog().read().epoch()), (1, &line));
    assert_eq!(s.register(registration("late", "a", spec(1))).await.expect_err("locked"), WriteError::Locked);
    assert!(s.history("users").await.is_empty());
    other.execute_batch("COMMIT").expect("lets go");
    until("the run begins", async || s.store.failure().is_none()).await;
    s.register(registration("late", "a", spec(1))).await.expect("registers");
    s.stop().await;
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!((s.all().len(), s.catalog().read().epoch()), (2, &line));
    s.stop().await;
}

#[tokio::test]
async fn a_file_locked_for_readers_too_is_named() {
    let (folder, s) = fresh();
    let path = folder.path().join("p.db");
    s.stop().await;
    let other = Connection::open(&path).expect("opens beside");
    other
        .execute_batch("PRAGMA locking_mode = exclusive; BEGIN IMMEDIATE; UPDATE meta SET floor = 0; COMMIT")
        .expect("locks");
    let error = Running::open(settings(&path)).err().expect("refused");
    assert!(matches!(error, OpenError::Locked(_)), "{error:?}");
    assert!(error.to_string().contains("locked by another program"), "{error}");
}
