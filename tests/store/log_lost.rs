//! The write-ahead log removed, truncated, or of another state of the file: a loss is always reported.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::common::{Running, folder, refusal, registration, says, settings, spec, until};

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
    let (_folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    let reader = reader(&path);
    killed_with(s, &path, reader).await
}

/// Kills the server of the file at `before`, whose log stays as it is as long as there is `reader`, after it has registered something.
async fn killed_with(s: Running, before: &Path, reader: Connection) -> Killed {
    let epoch = s.catalog().read().epoch().to_string();
    for n in 0..LOGGED {
        s.register(registration(&format!("s{n}"), "a", spec(1))).await.expect("registers");
    }
    let (after, path) = folder();
    for suffix in ["", "-wal", ".lock"] {
        fs::copy(beside(before, suffix), beside(&path, suffix)).expect("copies");
    }
    drop(reader);
    s.stop().await;
    Killed { _folder: after, path, epoch }
}

/// Keeps what is written from now on in the log.
fn reader(path: &Path) -> Connection {
    let reader = Connection::open(path).expect("opens beside");
    reader.execute_batch("BEGIN; SELECT count(*) FROM service").expect("reads");
    reader
}

/// A file of an earlier run, with a service.
async fn older() -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = folder();
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("old", "a", spec(1))).await.expect("registers");
    s.stop().await;
    (folder, path)
}

/// A server that could not begin its run at its start, because another program had locked the file.
async fn postponed(path: &Path) -> Running {
    let other = Connection::open(path).expect("opens beside");
    other.execute_batch("BEGIN IMMEDIATE").expect("locks");
    let s = Running::open(settings(path)).expect("starts");
    assert!(s.store.failure().is_some(), "nothing can be written yet");
    other.execute_batch("COMMIT").expect("lets go");
    until("the run begins", async || s.store.failure().is_none()).await;
    s
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
async fn a_removed_log_is_an_error_even_if_only_that_log_names_the_run() {
    for begins_late in [false, true] {
        let (_folder, path) = older().await;
        let reader = reader(&path);
        let s = if begins_late { postponed(&path).await } else { Running::open(settings(&path)).expect("opens") };
        let killed = killed_with(s, &path, reader).await;
        let log = beside(&killed.path, "-wal");
        let kept = fs::read(&log).expect("reads");
        fs::remove_file(&log).expect("removes");
        says(&refusal(&killed.path), &["p.db has lost what was written last", "revision 1, and 4 was committed"]);
        fs::write(&log, kept).expect("puts it back");
        let s = Running::open(settings(&killed.path)).expect("opens");
        assert_eq!((s.all().len(), s.catalog().read().epoch().to_string()), (1 + LOGGED, killed.epoch));
        s.stop().await;
    }
}

#[tokio::test]
async fn a_run_that_began_late_and_ended_in_order_leaves_older_copies_restorable() {
    let (_folder, path) = older().await;
    let backup = fs::read(&path).expect("reads");
    let reader = reader(&path);
    let s = postponed(&path).await;
    let line = s.catalog().read().epoch().to_string();
    s.register(registration("new", "a", spec(1))).await.expect("registers");
    drop(reader);
    s.stop().await;
    fs::write(&path, &backup).expect("restores");
    let s = Running::open(settings(&path)).expect("opens: another run has had that file, and it ended in order");
    assert_eq!(s.all().len(), 1);
    assert_ne!(s.catalog().read().epoch().to_string(), line);
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
