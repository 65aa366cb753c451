//! A full disk: a small file system of the test's own, in a child with its own mount namespace.

use portolan::model::ports::{Registrar, WriteError};
use portolan::store::OpenError;
use portolan::store::backup::{BackupError, backup};

use crate::child::{on_a_disk, on_a_small_disk};
use crate::common::{Running, anyone, registration, settings, spec, until};

fn fill(folder: &std::path::Path) -> std::path::PathBuf {
    let ballast = folder.join("ballast");
    let error = std::fs::write(&ballast, vec![0_u8; 32 << 20]).expect_err("larger than the disk");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    ballast
}

#[tokio::test]
async fn writes_fail_and_reads_go_on() {
    let Some(folder) = on_a_small_disk("disk_full::writes_fail_and_reads_go_on") else { return };
    let path = folder.join("p.db");
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("first", "a", spec(1))).await.expect("registers");
    let ballast = fill(&folder);
    let mut heavy = spec(1);
    heavy.description = "x".repeat(1024);
    let mut written = vec!["first".to_owned()];
    let error = loop {
        let name = format!("s{}", written.len());
        match s.register(registration(&name, "a", heavy.clone())).await {
            Ok(_) => written.push(name),
            Err(error) => break error,
        }
    };
    assert_eq!(error, WriteError::DiskFull);
    assert_eq!(s.all().len(), written.len(), "a failed change is seen by nobody");
    assert!(s.register(registration("first", "a", spec(1))).await.expect("a repeat writes nothing").renewed);
    assert!(s.metrics.commit_errors.get() >= 1);

    std::fs::remove_file(&ballast).expect("removes");
    s.register(registration("after", "a", heavy)).await.expect("there is room again");
    written.push("after".to_owned());
    s.stop().await;
    let s = Running::open(settings(&path)).expect("opens");
    let mut found: Vec<_> = s.all().iter().map(|service| service.key.name().to_owned()).collect();
    found.sort();
    written.sort();
    assert_eq!(found, written);
    s.stop().await;
}

#[tokio::test]
async fn a_first_start_on_a_full_disk_fails_with_the_reason() {
    let Some(folder) = on_a_small_disk("disk_full::a_first_start_on_a_full_disk_fails_with_the_reason") else { return };
    let path = folder.join("p.db");
    let ballast = fill(&folder);
    let error = Running::open(settings(&path)).err().expect("no room for the file");
    assert!(matches!(error, OpenError::DiskFull(_)), "{error:?}");
    assert!(error.to_string().contains("free some space"), "{error}");
    std::fs::remove_file(&ballast).expect("removes");
}

/// Services registered before the disk was full.
const SERVICES: usize = 5;

/// As a killed server leaves it: with a log that is not in the file yet, and with or without that log's index.
async fn killed(folder: &std::path::Path, index: bool) -> std::path::PathBuf {
    let before = tempfile::tempdir().expect("a folder elsewhere");
    let s = Running::open(settings(&before.path().join("p.db"))).expect("opens");
    for n in 0..SERVICES {
        s.register(registration(&format!("s{n}"), "a", spec(1))).await.expect("registers");
    }
    let suffixes = ["", "-wal", ".lock", "-shm"];
    for suffix in suffixes.iter().take(3 + usize::from(index)) {
        let name = format!("p.db{suffix}");
        std::fs::copy(before.path().join(&name), folder.join(&name)).expect("copies");
    }
    s.stop().await;
    folder.join("p.db")
}

/// Starts on the full disk: it reads what was registered and writes nothing; with free space it writes again.
async fn serves_and_recovers(path: &std::path::Path, ballast: &std::path::Path, services: usize) {
    let s = Running::open(settings(path)).expect("starts");
    assert_eq!((s.all().len(), s.revision()), (services, services as u64));
    assert_eq!(s.store.failure().as_deref(), Some(&WriteError::DiskFull));
    assert!(s.history("s1").await.is_empty(), "history answers, with nothing");
    for name in ["late", "later"] {
        let refused = s.register(registration(name, "a", spec(1))).await.expect_err("no room");
        assert_eq!(refused, WriteError::DiskFull);
    }
    assert_eq!(s.all().len(), services);
    std::fs::remove_file(ballast).expect("removes");
    until("writes succeed again", async || s.store.failure().is_none()).await;
    s.register(registration("after", "a", spec(1))).await.expect("registers");
    s.remove(crate::common::removal("after", None)).await.expect("removes");
    assert_eq!(s.history("after").await.len(), 1, "history goes on");
    s.stop().await;
    let s = Running::open(settings(path)).expect("opens");
    assert_eq!(s.all().len(), services);
    s.stop().await;
}

#[tokio::test]
async fn a_start_on_a_full_disk_serves_what_was_registered() {
    let Some(folder) = on_a_small_disk("disk_full::a_start_on_a_full_disk_serves_what_was_registered") else { return };
    let path = killed(&folder, true).await;
    let ballast = fill(&folder);
    serves_and_recovers(&path, &ballast, SERVICES).await;
}

#[tokio::test]
async fn a_start_without_room_for_the_logs_index_serves_too() {
    let Some(folder) = on_a_small_disk("disk_full::a_start_without_room_for_the_logs_index_serves_too") else { return };
    let path = killed(&folder, false).await;
    let ballast = fill(&folder);
    serves_and_recovers(&path, &ballast, SERVICES).await;
}

#[tokio::test]
async fn a_cleanly_closed_file_is_served_on_a_full_disk() {
    let Some(folder) = on_a_small_disk("disk_full::a_cleanly_closed_file_is_served_on_a_full_disk") else { return };
    let path = folder.join("p.db");
    let s = Running::open(settings(&path)).expect("opens");
    s.store.register(registration("s1", "a", spec(1)), anyone()).await.expect("registers");
    s.stop().await;
    let ballast = fill(&folder);
    serves_and_recovers(&path, &ballast, 1).await;
}

#[tokio::test]
async fn an_older_schema_is_served_on_a_full_disk() {
    let Some(folder) = on_a_small_disk("disk_full::an_older_schema_is_served_on_a_full_disk") else { return };
    let path = folder.join("p.db");
    crate::mirror_files::of_the_first_schema(&path);
    let ballast = fill(&folder);
    let s = Running::open(settings(&path)).expect("starts");
    assert_eq!((s.all().len(), s.revision()), (1, 7));
    assert_eq!(s.store.failure().as_deref(), Some(&WriteError::DiskFull));
    std::fs::remove_file(ballast).expect("removes");
    until("it is brought up to date", async || s.store.failure().is_none()).await;
    s.register(registration("late", "a", spec(1))).await.expect("registers");
    s.stop().await;
}

#[tokio::test]
async fn a_backup_onto_a_full_disk_leaves_nothing_behind() {
    let Some(folder) = on_a_disk("disk_full::a_backup_onto_a_full_disk_leaves_nothing_behind", 24) else { return };
    let path = folder.join("p.db");
    let s = Running::open(settings(&path)).expect("opens");
    // More than SQLite's cache holds: then it writes before the copy is complete.
    let mut heavy = spec(1);
    heavy.metadata = (0..64).map(|n| (format!("k{n}"), "x".repeat(500))).collect();
    for n in 0..150 {
        s.register(registration(&format!("s{n}"), "a", heavy.clone())).await.expect("registers");
    }
    s.stop().await;
    let ballast = fill(&folder);
    let file = std::fs::File::options().write(true).open(&ballast).expect("opens");
    let all = file.metadata().expect("a file").len();
    file.set_len(all - (3 << 20)).expect("makes room for a part of it");
    let error = backup(&path, &folder.join("copy.db"), false, |_, _| ()).expect_err("not enough room");
    assert!(matches!(error, BackupError::Copy(_)), "{error}");
    let left: Vec<String> = std::fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("copy.db"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
