//! A disk that is really full: a small file system of the test's own, in a child with its own mount namespace.

use portolan::model::ports::{Registrar, WriteError};
use portolan::store::OpenError;

use crate::child::on_a_small_disk;
use crate::common::{Running, anyone, registration, settings, spec};

fn fill(folder: &std::path::Path) -> std::path::PathBuf {
    let ballast = folder.join("ballast");
    let error = std::fs::write(&ballast, vec![0_u8; 2 << 20]).expect_err("larger than the disk");
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
async fn a_start_on_a_full_disk_says_so() {
    let Some(folder) = on_a_small_disk("disk_full::a_start_on_a_full_disk_says_so") else { return };
    let path = folder.join("p.db");
    let ballast = fill(&folder);
    let error = Running::open(settings(&path)).err().expect("no room for the file");
    assert!(matches!(error, OpenError::DiskFull(_)), "{error:?}");
    assert!(error.to_string().contains("free some space"), "{error}");
    std::fs::remove_file(&ballast).expect("removes");

    let s = Running::open(settings(&path)).expect("opens");
    s.store.register(registration("users", "a", spec(1)), anyone()).await.expect("registers");
    s.stop().await;
    let ballast = fill(&folder);
    let error = Running::open(settings(&path)).err().expect("no room for the log");
    assert!(matches!(error, OpenError::DiskFull(_)), "{error:?}");
    std::fs::remove_file(&ballast).expect("removes");
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(s.all().len(), 1, "nothing was set aside");
    s.stop().await;
}
