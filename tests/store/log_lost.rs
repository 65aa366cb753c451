//! The write-ahead log removed, truncated, or of another state of the file: a loss is always reported.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::common::{Running, folder, refusal, registration, says, settings, spec};

/// Services of the killed server whose commits are only in its log.
const LOGGED: usize = 3;

/// The file of a killed server, as it lies on disk.
struct Killed {
    _folder: tempfile::TempDir,
    path: PathBuf,
    /// The line of revisions.
    epoch: String,
}

/// Kills a server while a reader keeps the log from being moved into the file.
async fn killed() -> Killed {
    let (before, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    let epoch = s.catalog().read().epoch().to_string();
    let reader = Connection::open(&path).expect("opens beside");
    reader.execute_batch("BEGIN; SELECT count(*) FROM service").expect("reads");
    for n in 0..LOGGED {
        s.register(registration(&format!("s{n}"), "a", spec(1))).await.expect("registers");
    }
    let (after, path) = folder();
    for name in ["p.db", "p.db-wal", "p.db.lock"] {
        fs::copy(before.path().join(name), after.path().join(name)).expect("copies");
    }
    drop(reader);
    s.stop().await;
    Killed { _folder: after, path, epoch }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    path.with_file_name(format!("p.db{suffix}"))
}

#[tokio::test]
async fn with_its_log_nothing_is_lost() {
    let killed = killed().await;
    let s = Running::open(settings(&killed.path)).expect("opens");
    assert_eq!((s.all().len(), s.catalog().read().epoch().to_string()), (LOGGED, killed.epoch));
    s.stop().await;
}

#[tokio::test]
async fn a_removed_log_is_an_error() {
    let killed = killed().await;
    let log = beside(&killed.path, "-wal");
    let kept = fs::read(&log).expect("reads");
    fs::remove_file(&log).expect("removes");
    says(
        &refusal(&killed.path),
        &[
            "p.db has lost what was written last",
            "revision 0, and 3 was committed",
            "log is not beside it",
            "Put",
            "--accept-loss",
        ],
    );
    assert!(!log.exists() || fs::metadata(&log).expect("a file").len() == 0, "nothing was written");
    fs::write(&log, kept).expect("puts it back");
    let s = Running::open(settings(&killed.path)).expect("opens");
    assert_eq!((s.all().len(), s.catalog().read().epoch().to_string()), (LOGGED, killed.epoch));
    s.stop().await;
}

#[tokio::test]
async fn an_accepted_loss_begins_a_new_line_of_revisions() {
    let killed = killed().await;
    fs::remove_file(beside(&killed.path, "-wal")).expect("removes");
    let s = Running::accept_loss(&killed.path).expect("opens");
    assert_eq!(s.all().len(), 0);
    let line = s.catalog().read().epoch().to_string();
    assert_ne!(line, killed.epoch);
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.stop().await;
    let s = Running::open(settings(&killed.path)).expect("and goes on");
    assert_eq!((s.all().len(), s.catalog().read().epoch().to_string()), (1, line));
    s.stop().await;
}

#[tokio::test]
async fn a_truncated_or_damaged_log_is_an_error() {
    let killed = killed().await;
    let log = beside(&killed.path, "-wal");
    let whole = fs::read(&log).expect("reads");
    let mut flipped = whole.clone();
    let last = flipped.len() - 2048;
    flipped[last] ^= 1;
    for damaged in [whole[..whole.len() / 2].to_vec(), Vec::new(), flipped, vec![0xa5; whole.len()]] {
        fs::write(&log, &damaged).expect("writes");
        says(&refusal(&killed.path), &["has lost what was written last", "3 was committed"]);
        assert!(fs::read(&log).expect("reads") == damaged, "nor was the log changed");
    }
    fs::write(&log, whole).expect("writes");
    let s = Running::open(settings(&killed.path)).expect("opens");
    assert_eq!(s.all().len(), LOGGED);
    s.stop().await;
}

#[tokio::test]
async fn an_older_copy_is_not_mixed_with_a_newer_log() {
    let (folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("old", "a", spec(1))).await.expect("registers");
    s.stop().await;
    let backup = fs::read(&path).expect("reads");
    let s = Running::open(settings(&path)).expect("opens");
    let reader = Connection::open(&path).expect("opens beside");
    reader.execute_batch("BEGIN; SELECT count(*) FROM service").expect("reads");
    s.register(registration("new", "a", spec(1))).await.expect("registers");
    let log = fs::read(folder.path().join("p.db-wal")).expect("reads");
    drop(reader);
    s.stop().await;
    // Killed, and then the file was replaced by the backup, but not its log.
    fs::write(&path, &backup).expect("writes");
    fs::write(folder.path().join("p.db-wal"), &log).expect("writes");
    says(&refusal(&path), &["the write-ahead log beside it belongs to another state", "--accept-loss"]);
    fs::remove_file(folder.path().join("p.db.lock")).expect("removes");
    says(&refusal(&path), &["the write-ahead log beside it belongs to another state", "--accept-loss"]);
    let s = Running::accept_loss(&path).expect("opens");
    assert_eq!(s.all().iter().map(|service| service.key.name().to_owned()).collect::<Vec<_>>(), ["old"]);
    s.stop().await;
    let aside = crate::common::files(&folder).into_iter().find(|name| name.ends_with("-wal")).expect("set aside");
    assert!(fs::read(folder.path().join(aside)).expect("reads") == log, "nothing is deleted");
}

#[tokio::test]
async fn a_copy_of_only_the_file_starts_a_new_line_of_revisions() {
    let killed = killed().await;
    for suffix in ["-wal", ".lock"] {
        fs::remove_file(beside(&killed.path, suffix)).expect("removes");
    }
    let s = Running::open(settings(&killed.path)).expect("opens: nothing proves the loss, and the log names it");
    assert_ne!(s.catalog().read().epoch().to_string(), killed.epoch);
    s.stop().await;
}
