//! Files that cannot be opened: the error, and that nothing is changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use portolan::model::ports::WriteError;
use portolan::store::OpenError;
use rusqlite::Connection;

use crate::child::bound_by_permissions;
use crate::common::{Running, files, folder, fresh, refusal, registration, removal, says, settings, spec, until};

#[tokio::test]
async fn the_group_may_read_the_files_and_others_may_not() {
    let (folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    let names = files(&folder);
    assert_eq!(names, ["p.db", "p.db-shm", "p.db-wal", "p.db.lock"]);
    for name in names {
        let mode = fs::metadata(folder.path().join(&name)).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode, 0o640, "{name}");
    }
    s.stop().await;
    assert_eq!(files(&folder), ["p.db", "p.db.lock"], "all is in the file after a stop in order");
}

#[tokio::test]
async fn a_second_server_learns_who_holds_the_file() {
    let (folder, s) = fresh();
    let error = Running::open(settings(&folder.path().join("p.db"))).err().expect("refused");
    let pid = std::process::id().to_string();
    says(&error, &["p.db", "another Portolan server", &pid, "stop that one", "DB_PATH"]);
    s.register(registration("users", "a", spec(1))).await.expect("the first goes on");
    s.stop().await;
}

#[tokio::test]
async fn a_link_leads_to_the_same_lock() {
    let (folder, s) = fresh();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(folder.path().join("p.db"), &link).expect("links");
    assert!(matches!(Running::open(settings(&link)).err(), Some(OpenError::InUse { .. })));
    s.stop().await;
}

#[tokio::test]
async fn the_folder_must_be_there() {
    let (folder, path) = folder();
    let error = refusal(&folder.path().join("missing/p.db"));
    says(&error, &["missing", "does not exist", "create it", "DB_PATH"]);
    fs::write(&path, "text").expect("writes");
    says(&refusal(&path.join("p.db")), &["p.db", "is not a folder"]);
    let error = refusal(folder.path());
    says(&error, &["is not a file", "DB_PATH names the store's file"]);
}

#[tokio::test]
async fn a_folder_in_which_no_file_can_be_created_is_named() {
    // Not even root can create files in the kernel's folders.
    let error = Running::open(settings(Path::new("/proc/p.db"))).err().expect("refused");
    says(&error, &["cannot create /proc/p.db.lock", "writable", "DB_PATH"]);
}

/// Sets a mode for the length of a test, and lets the folder be removed after it.
struct Mode<'a>(&'a Path);

impl<'a> Mode<'a> {
    fn set(path: &'a Path, mode: u32) -> Self {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changes the mode");
        Self(path)
    }
}

impl Drop for Mode<'_> {
    fn drop(&mut self) {
        fs::set_permissions(self.0, fs::Permissions::from_mode(0o755)).expect("changes the mode");
    }
}

#[tokio::test]
async fn permissions_are_named() {
    let Some(folder) = bound_by_permissions("files::permissions_are_named") else { return };
    let path = folder.join("p.db");
    {
        let _read_only = Mode::set(&folder, 0o555);
        says(&refusal(&path), &["cannot create", "p.db.lock", "ermission denied", "writable", "DB_PATH"]);
    }
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.stop().await;
    let _unreadable = Mode::set(&path, 0o200);
    says(&refusal(&path), &["p.db cannot be read and written", "ermission denied", "DB_PATH"]);
}

/// It serves what the file holds, and reports why it writes nothing.
async fn serves_reads(path: &Path) -> Running {
    let s = Running::open(settings(path)).expect("starts");
    assert_eq!(s.store.failure().as_deref(), Some(&WriteError::ReadOnly));
    assert_eq!((s.all().len(), s.history("gone").await.len()), (1, 1));
    let refused = s.register(registration("late", "a", spec(1))).await.expect_err("it would be lost");
    assert_eq!(refused, WriteError::ReadOnly);
    assert!(s.register(registration("users", "a", spec(1))).await.expect("a repeat writes nothing").renewed);
    s
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_served_and_written_later() {
    let name = "files::a_file_that_cannot_be_written_is_served_and_written_later";
    let Some(folder) = bound_by_permissions(name) else { return };
    let path = folder.join("p.db");
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.register(registration("gone", "a", spec(1))).await.expect("registers");
    s.remove(removal("gone", None)).await.expect("removes");
    let line = s.catalog().read().epoch().clone();
    s.stop().await;
    for (what, mode) in [(&folder, 0o555), (&path, 0o440)] {
        let read_only = Mode::set(what, mode);
        let s = serves_reads(&path).await;
        assert_eq!(s.catalog().read().epoch(), &line, "nothing was lost");
        drop(read_only);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changes the mode");
        until("writes succeed again", async || s.store.failure().is_none()).await;
        s.register(registration("late", "a", spec(1))).await.expect("registers");
        assert_eq!(s.history("gone").await.len(), 1, "history is still readable");
        s.remove(removal("late", None)).await.expect("removes");
        s.stop().await;
    }
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!((s.all().len(), s.catalog().read().epoch()), (1, &line));
    s.stop().await;
}

#[tokio::test]
async fn a_text_file_is_left_alone() {
    let (folder, path) = folder();
    fs::write(&path, "my notes, not a database").expect("writes");
    says(&refusal(&path), &["p.db is not an SQLite file", "nothing was changed", "DB_PATH"]);
    assert_eq!(files(&folder), ["p.db"], "not even a lock file is left");
}

#[tokio::test]
async fn another_programs_database_is_left_alone() {
    let (folder, path) = folder();
    let db = Connection::open(&path).expect("opens");
    db.execute_batch("CREATE TABLE notes (text); PRAGMA application_id = 77; PRAGMA user_version = 1").expect("writes");
    drop(db);
    says(&refusal(&path), &["SQLite file of another program", "nothing was changed", "DB_PATH"]);
    assert_eq!(files(&folder), ["p.db"]);
}

#[tokio::test]
async fn the_legacy_gateways_database_is_recognized() {
    let (folder, path) = folder();
    let db = Connection::open(&path).expect("opens");
    let table = "CREATE TABLE `service_infos` (`id` text,`name` text NOT NULL,`base_url` text NOT NULL,
        `status` text DEFAULT 'unknown',`registered_at` datetime,PRIMARY KEY (`id`))";
    db.execute_batch(table).expect("writes");
    drop(db);
    let words = ["Go microservice gateway", "service_infos", "nothing was changed", "`portolan import ", "DB_PATH"];
    says(&refusal(&path), &words);
    assert_eq!(files(&folder), ["p.db"]);
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_both_numbers() {
    let (folder, s) = fresh();
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.stop().await;
    let path = folder.path().join("p.db");
    let db = Connection::open(&path).expect("opens");
    db.pragma_update(None, "user_version", 9).expect("writes");
    drop(db);
    says(&refusal(&path), &["newer Portolan", "schema is 9", "knows 7", "nothing was changed"]);
}

#[tokio::test]
async fn an_empty_file_counts_as_none() {
    let (_folder, path) = folder();
    fs::write(&path, "").expect("writes");
    let s = Running::open(settings(&path)).expect("opens");
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.stop().await;
}

/// The damaged file is refused with the remedy; with consent it is set aside, and the registry starts empty.
async fn set_aside(folder: &tempfile::TempDir) {
    let path = folder.path().join("p.db");
    let damaged = fs::read(&path).expect("reads");
    says(&refusal(&path), &["p.db is damaged (", "nothing was changed", "backup", "`portolan serve --start-empty`"]);
    assert!(!files(folder).iter().any(|name| name.contains(".corrupt-")), "nothing is set aside unasked");
    let s = Running::start_empty(&path).expect("starts empty");
    assert_eq!((s.all().len(), s.revision()), (0, 0));
    let main = |name: &String| name.contains(".corrupt-") && name.ends_with('Z');
    let kept: Vec<_> = files(folder).into_iter().filter(main).collect();
    let [kept] = kept.as_slice() else { panic!("one file set aside: {kept:?}") };
    assert!(fs::read(folder.path().join(kept)).expect("reads") == damaged);
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.stop().await;
    let s = Running::start_empty(&path).expect("a sound file is opened whatever may be lost");
    assert_eq!(s.all().len(), 1);
    s.stop().await;
}

async fn closed_with_services() -> tempfile::TempDir {
    let (folder, s) = fresh();
    for n in 0..200 {
        s.register(registration(&format!("s{n}"), "a", spec(1))).await.expect("registers");
    }
    s.stop().await;
    folder
}

#[tokio::test]
async fn a_damaged_page_damages_the_whole_file() {
    let folder = closed_with_services().await;
    let path = folder.path().join("p.db");
    let mut bytes = fs::read(&path).expect("reads");
    bytes[3 * 4096..8 * 4096].fill(0xa5);
    fs::write(&path, bytes).expect("writes");
    set_aside(&folder).await;
}

#[tokio::test]
async fn a_truncated_file_is_damaged_as_a_whole() {
    let folder = closed_with_services().await;
    let path = folder.path().join("p.db");
    let bytes = fs::read(&path).expect("reads");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("writes");
    set_aside(&folder).await;
}

#[tokio::test]
async fn a_lost_header_damages_the_whole_file() {
    let folder = closed_with_services().await;
    let path = folder.path().join("p.db");
    let mut bytes = fs::read(&path).expect("reads");
    bytes[..100].fill(0);
    fs::write(&path, bytes).expect("writes");
    set_aside(&folder).await;
}

#[tokio::test]
async fn a_lost_table_damages_the_whole_file() {
    let folder = closed_with_services().await;
    let db = Connection::open(folder.path().join("p.db")).expect("opens");
    db.execute_batch("DROP TABLE transition").expect("writes");
    drop(db);
    set_aside(&folder).await;
}

#[tokio::test]
async fn a_crash_while_the_file_is_created_is_harmless() {
    let (folder, path) = folder();
    fs::write(folder.path().join("p.db.new"), "half").expect("writes");
    fs::write(folder.path().join("p.db.new-journal"), "half").expect("writes");
    let s = Running::open(settings(&path)).expect("opens");
    s.stop().await;
    assert_eq!(files(&folder), ["p.db", "p.db.lock"]);
}

#[tokio::test]
async fn the_log_of_a_lost_file_is_not_applied_to_a_new_one() {
    let (folder, s) = fresh();
    let log = folder.path().join("p.db-wal");
    for n in 0..20 {
        s.register(registration(&format!("s{n}"), "a", spec(1))).await.expect("registers");
    }
    let left = fs::read(&log).expect("reads");
    s.stop().await;
    let path = folder.path().join("p.db");
    fs::remove_file(&path).expect("removes");
    fs::write(&log, &left).expect("writes");
    let lock = folder.path().join("p.db.lock");
    says(&refusal(&path), &["p.db is not there", "p.db.lock says that its revision 20 was committed", "--start-empty"]);
    fs::remove_file(&lock).expect("removes");
    for empty in [false, true] {
        if empty {
            fs::write(&path, "").expect("writes");
        }
        says(&refusal(&path), &["p.db-wal holds what was written last", "put the file back", "--start-empty"]);
    }
    let s = Running::start_empty(&path).expect("starts empty");
    assert_eq!(s.all().len(), 0);
    s.register(registration("users", "a", spec(1))).await.expect("registers");
    s.stop().await;
    let s = Running::open(settings(&path)).expect("opens");
    assert_eq!(s.all().len(), 1);
    let kept = files(&folder).into_iter().find(|name| name.contains(".corrupt-") && name.ends_with("-wal"));
    assert!(fs::read(folder.path().join(kept.expect("set aside"))).expect("reads") == left);
    s.stop().await;
}

#[tokio::test]
async fn a_plain_name_means_the_current_folder() {
    // Its bare name opens the same file as its whole path, as the lock shows.
    let name = format!("portolan-test-{}.db", std::process::id());
    let s = Running::open(settings(Path::new(&name))).expect("opens");
    let whole = std::env::current_dir().expect("a folder").join(&name);
    let again = Running::open(settings(&whole)).err();
    s.stop().await;
    for suffix in ["", ".lock"] {
        fs::remove_file(format!("{name}{suffix}")).expect("removes");
    }
    assert!(matches!(again, Some(OpenError::InUse { path, .. }) if path == whole));
}
