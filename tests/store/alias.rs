//! One server per file, whatever its name, and planted links are not followed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use portolan::store::OpenError;

use crate::common::{Running, files, folder, fresh, refusal, registration, says, settings, spec};

#[tokio::test]
async fn removing_the_lock_file_admits_no_other_server() {
    let (folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let path = folder.path().join("p.db");
    fs::remove_file(folder.path().join("p.db.lock")).expect("removes");
    let error = Running::open(settings(&path)).err().expect("refused");
    assert!(matches!(error, OpenError::InUse { pid: None, .. }), "{error:?}");
    assert!(!folder.path().join("p.db.lock").exists(), "no lock file is left by the one that was refused");
    s.register(registration("late", "a", spec(1))).await.expect("the first goes on");
    s.stop().await;
}

#[tokio::test]
async fn another_name_of_the_file_has_the_same_lock() {
    let (folder, s) = fresh();
    let (path, moved) = (folder.path().join("p.db"), folder.path().join("moved.db"));
    fs::rename(&path, &moved).expect("renames");
    assert!(matches!(Running::open(settings(&moved)).err(), Some(OpenError::InUse { .. })));
    s.stop().await;
    let link = folder.path().join("folder");
    symlink(folder.path(), &link).expect("links");
    let s = Running::open(settings(&link.join("moved.db"))).expect("opens");
    assert!(matches!(Running::open(settings(&moved)).err(), Some(OpenError::InUse { pid: Some(_), .. })));
    s.stop().await;
}

#[tokio::test]
async fn an_older_version_keeps_its_lock() {
    let (folder, s) = fresh();
    s.stop().await;
    // It locks only the lock file.
    let lock = fs::File::open(folder.path().join("p.db.lock")).expect("opens");
    lock.lock().expect("locks");
    assert!(matches!(Running::open(settings(&folder.path().join("p.db"))).err(), Some(OpenError::InUse { .. })));
}

#[tokio::test]
async fn links_in_the_place_of_our_files_are_neither_followed_nor_written() {
    for suffix in [".lock", "-wal", "-shm", "-journal"] {
        let (folder, s) = fresh();
        s.register(registration("users", "a", spec(1))).await.expect("registers");
        s.stop().await;
        let (path, victim) = (folder.path().join("p.db"), folder.path().join("victim"));
        let place = folder.path().join(format!("p.db{suffix}"));
        fs::write(&victim, "theirs").expect("writes");
        for hard in [false, true] {
            // SQLite creates its own files, and accepts further names of them.
            if hard && suffix != ".lock" {
                continue;
            }
            drop(fs::remove_file(&place));
            let link = if hard { fs::hard_link(&victim, &place) } else { symlink(&victim, &place) };
            link.expect("links");
            let name = format!("p.db{suffix}");
            says(
                &refusal(&path),
                &[&name, "is a link or has several names", "neither followed nor written", "remove it"],
            );
            assert_eq!(fs::read_to_string(&victim).expect("reads"), "theirs");
        }
        fs::remove_file(&place).expect("removes");
        let s = Running::open(settings(&path)).expect("opens");
        assert_eq!(s.all().len(), 1, "{suffix}");
        s.stop().await;
    }
}

#[tokio::test]
async fn a_link_planted_before_the_first_start_is_not_followed() {
    let (folder, path) = folder();
    let victim = folder.path().join("victim");
    symlink(&victim, folder.path().join("p.db.lock")).expect("links");
    says(&refusal(&path), &["p.db.lock", "neither followed nor written"]);
    assert!(!victim.exists() && !path.exists(), "nothing was made");
}

#[tokio::test]
async fn a_dangling_link_is_refused() {
    let (folder, path) = folder();
    let target = folder.path().join("volume/services.db");
    symlink(&target, &path).expect("links");
    says(
        &refusal(&path),
        &["p.db is a symbolic link to", "volume/services.db", "not there", "mount", "remove the link"],
    );
    assert_eq!(files(&folder), ["p.db"], "it is still there, and nothing is beside it");
    fs::create_dir(folder.path().join("volume")).expect("makes");
    says(&refusal(&path), &["not there"]);
    fs::remove_file(&path).expect("removes");
    let s = Running::open(settings(&path)).expect("opens");
    s.stop().await;
}

#[tokio::test]
async fn a_file_in_use_stays_closed_to_others() {
    let (folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    for name in files(&folder) {
        let mode = fs::metadata(folder.path().join(&name)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o027, 0, "{name} is {mode:o}");
    }
    s.stop().await;
}
