//! `portolan backup`, and what is restored from it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::Value;

use crate::common::{Server, ended, json, portolan, stdout};

fn register(server: &Server, name: &str) {
    assert_eq!(ended(&server.cli(&["register", "--name", name, "--base-url", "http://127.0.0.1:9"])).0, 0, "{name}");
}

fn backup(db: &Path, to: &Path, more: &[&str]) -> std::process::Output {
    portolan().arg("backup").arg(to).arg("--db").arg(db).args(more).output().expect("it runs")
}

fn names(server: &Server) -> Vec<String> {
    let list = json(&server.cli(&["list", "-o", "json"]));
    let mut names: Vec<_> =
        list.as_array().expect("a list").iter().map(|s| s["name"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    names
}

/// The events of a watch, up to and with the first one that has a cursor: its kinds, and the cursor.
fn watch(server: &Server, cursor: Option<&str>) -> (Vec<String>, String) {
    let address = server.url.strip_prefix("http://").expect("plain http");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let last = cursor.map(|cursor| format!("Last-Event-ID: {cursor}\r\n")).unwrap_or_default();
    write!(stream, "GET /api/v1/watch HTTP/1.1\r\nHost: {address}\r\n{last}\r\n").expect("it reads");
    let mut kinds = Vec::new();
    for line in BufReader::new(stream).lines().map(|line| line.expect("UTF-8")) {
        if let Some(kind) = line.strip_prefix("event: ") {
            kinds.push(kind.to_owned());
        }
        if let Some(cursor) = line.strip_prefix("id: ") {
            return (kinds, cursor.to_owned());
        }
    }
    panic!("the watch ended: {kinds:?}");
}

fn epoch(cursor: &str) -> &str {
    cursor.split('.').next().expect("an epoch")
}

#[test]
fn a_backup_restores_what_was_there_and_every_reader_starts_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let (db, copy) = (folder.path().join("services.db"), folder.path().join("copy.db"));
    let mut server = Server::of(&db, &[]);
    register(&server, "before");
    let output = backup(&db, &copy, &[]);
    assert_eq!(ended(&output).0, 0, "{output:?}");
    let said = stdout(&output);
    assert!(
        said.contains("copy.db: 1 service with 1 instance at revision ") && said.ends_with(", checked\n"),
        "{said}"
    );
    assert_eq!(copy.metadata().expect("a file").permissions().mode() & 0o777, 0o640);
    register(&server, "after");
    let (_, cursor) = watch(&server, None);
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));

    // As documented: the old files away, the copy in their place. The lock file, which knows of later commits, stays.
    for suffix in ["", "-wal", "-shm"] {
        drop(std::fs::rename(format!("{}{suffix}", db.display()), format!("{}.old{suffix}", db.display())));
    }
    std::fs::copy(&copy, &db).expect("copied");
    let server = Server::of(&db, &[]);
    assert_eq!(names(&server), ["before"]);
    let (kinds, fresh) = watch(&server, Some(&cursor));
    assert!(kinds.contains(&"snapshot".to_owned()), "the old cursor means nothing here: {kinds:?}");
    assert_ne!(epoch(&cursor), epoch(&fresh));
    let tag =
        |answer: &str| answer.lines().find(|line| line.to_lowercase().starts_with("etag:")).expect("a tag").to_owned();
    assert!(tag(&server.get("/api/v1/services")).contains(epoch(&fresh)));
}

#[test]
fn a_log_that_was_left_beside_a_restored_backup_is_never_applied() {
    let folder = tempfile::tempdir().expect("a folder");
    let (db, copy) = (folder.path().join("services.db"), folder.path().join("copy.db"));
    let mut server = Server::of(&db, &[]);
    register(&server, "before");
    assert_eq!(ended(&backup(&db, &copy, &[])).0, 0);
    register(&server, "after");
    server.signal(Signal::KILL);
    server.wait();
    let log = folder.path().join("services.db-wal");
    assert!(log.metadata().expect("a log").len() > 0);
    std::fs::copy(&copy, &db).expect("copied");
    let output = portolan().arg("serve").env("DB_PATH", &db).env("SERVER_PORT", "0").output().expect("it runs");
    let (code, said) = ended(&output);
    assert!(
        code == 1 && said.contains("the write-ahead log beside it belongs to another state of the file"),
        "{code} {said}"
    );
    assert!(log.exists());
}

#[test]
fn backups_beside_a_server_that_writes_are_whole_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = folder.path().join("services.db");
    let server = Server::of(&db, &[("MAX_SERVICES", "0")]);
    let (done, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let address = server.url.strip_prefix("http://").expect("plain http");
            for n in 0.. {
                if done.load(Ordering::Acquire) {
                    return;
                }
                let body = format!("{{\"name\":\"s{n}\",\"base_url\":\"http://127.0.0.1:9\"}}");
                let mut stream = TcpStream::connect(address).expect("it listens");
                let head = "POST /api/v1/services/register HTTP/1.1\r\nContent-Type: application/json\r\nConnection: close\r\n";
                write!(stream, "{head}Host: {address}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).expect("it reads");
                let mut status = String::new();
                BufReader::new(stream).read_line(&mut status).expect("it answers");
                assert!(status.contains(" 200 "), "{status}");
                acknowledged.store(n + 1, Ordering::Release);
            }
        });
        for round in 0..5 {
            let started = std::time::Instant::now();
            while acknowledged.load(Ordering::Acquire) < 40 * (round + 1) {
                assert!(started.elapsed() < crate::common::PATIENCE);
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let least = acknowledged.load(Ordering::Acquire);
            let copy = folder.path().join(format!("copy-{round}.db"));
            let output = backup(&db, &copy, &[]);
            assert_eq!(ended(&output).0, 0, "{output:?}");
            let held = services(&copy);
            assert!(held >= least, "{least} were acknowledged before, and the copy holds {held}");
            let export = portolan().arg("export").arg("--db").arg(&copy).output().expect("it runs");
            assert_eq!(stdout(&export).lines().count(), held, "each with its instance");
        }
        done.store(true, Ordering::Release);
    });
    let left = std::fs::read_dir(folder.path())
        .expect("a folder")
        .filter_map(|file| file.ok()?.file_name().into_string().ok());
    let left: Vec<_> = left.filter(|name| name.contains("unfinished")).collect();
    assert!(left.is_empty(), "{left:?}");
}

fn services(db: &Path) -> usize {
    let db = rusqlite::Connection::open(db).expect("opens");
    let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checks");
    assert_eq!(check, "ok");
    let count: u32 = db.query_row("SELECT count(*) FROM service", [], |row| row.get(0)).expect("counts");
    count as usize
}

#[test]
fn nothing_is_overwritten_unless_that_was_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let (db, copy) = (folder.path().join("services.db"), folder.path().join("copy.db"));
    let server = Server::of(&db, &[]);
    register(&server, "one");
    std::fs::write(&copy, "precious").expect("written");
    let (code, said) = ended(&backup(&db, &copy, &[]));
    assert!(code == 5 && said.contains("exists and was left as it is") && said.contains("--force"), "{code} {said}");
    assert_eq!(std::fs::read(&copy).expect("reads"), b"precious");
    assert_eq!(ended(&backup(&db, &copy, &["--force"])).0, 0);
    assert_eq!(services(&copy), 1);

    let refused = |to: &Path, expected: &str| {
        let (code, said) = ended(&backup(&db, to, &["--force"]));
        assert!(matches!(code, 2 | 5) && said.contains(expected), "{}: {code} {said}", to.display());
    };
    refused(&db, "is the store's own file");
    refused(&folder.path().join("services.db-wal"), "is the store's own file");
    std::os::unix::fs::symlink(&db, folder.path().join("alias.db")).expect("a link");
    refused(&folder.path().join("alias.db"), "is the store's own file");
    refused(&folder.path().join("nowhere/copy.db"), "cannot be created");
    std::fs::write(folder.path().join("fresh.db-wal"), "left").expect("written");
    refused(&folder.path().join("fresh.db"), "SQLite would take it for a part of the backup");
    let other = Server::start(&[]);
    refused(&other.folder.path().join("services.db"), "in use by a Portolan server");
    let (code, said) = ended(&backup(&folder.path().join("missing.db"), &folder.path().join("new.db"), &[]));
    assert!(code == 4 && said.contains("there is no store at"), "{code} {said}");
}

#[test]
fn a_stopped_servers_file_is_backed_up_and_a_damaged_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (db, copy) = (folder.path().join("services.db"), folder.path().join("copy.db"));
    let mut server = Server::of(&db, &[("MAX_SERVICES", "0")]);
    for n in 0..30 {
        register(&server, &format!("s{n}"));
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    let before = std::fs::read(&db).expect("reads");
    assert_eq!(ended(&backup(&db, &copy, &[])).0, 0);
    assert_eq!(services(&copy), 30);
    assert_eq!(std::fs::read(&db).expect("reads"), before, "the file is only read");
    // The copy is served as it is, as a new line of revisions.
    let server = Server::of(&copy, &[]);
    assert_eq!(names(&server).len(), 30);

    let mut damaged = before;
    let page = damaged.len() / 4096 / 2;
    damaged[page * 4096..(page + 2) * 4096].fill(0x5a);
    std::fs::write(&db, damaged).expect("written");
    let second = folder.path().join("second.db");
    let (code, said) = ended(&backup(&db, &second, &[]));
    assert!(code == 3 && said.contains("no backup was made"), "{code} {said}");
    assert!(!second.exists());
}

#[test]
fn the_reports_of_a_restored_service_are_its_own() {
    // What the catalog shows of a service comes back to the letter, history included.
    let folder = tempfile::tempdir().expect("a folder");
    let (db, copy) = (folder.path().join("services.db"), folder.path().join("copy.db"));
    let server = Server::of(&db, &[]);
    register(&server, "one");
    let parts =
        |service: &Value| (service["id"].clone(), service["registered_at"].clone(), service["revision"].clone());
    let before = parts(&json(&server.cli(&["get", "one", "-o", "json"])));
    assert_eq!(ended(&backup(&db, &copy, &[])).0, 0);
    let restored = Server::of(&copy, &[]);
    assert_eq!(parts(&json(&restored.cli(&["get", "one", "-o", "json"]))), before);
}

#[test]
fn one_frame_shows_a_file_that_no_server_has_open() {
    let server = Server::start(&[]);
    register(&server, "billing");
    let copy = server.folder.path().join("copy.db");
    let to = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let made = backup(&server.folder.path().join("services.db"), &copy, &[]);
    assert_eq!(ended(&made).0, 0, "{made:?}");
    let args = ["console", "--once", "--size", "100x20", "--file", &to(&copy)];
    let frame = portolan().args(args).output().expect("it runs");
    assert_eq!(ended(&frame).0, 0, "{frame:?}");
    let frame = stdout(&frame);
    assert!(frame.contains("billing") && frame.contains("no server has this file open"), "{frame}");

    let empty = server.folder.path().join("empty.db");
    drop(Server::of(&empty, &[]));
    let frame = portolan().args(["console", "--once", "--size", "100x20", "--file", &to(&empty)]).output();
    let frame = stdout(&frame.expect("it runs"));
    assert!(frame.contains("no server has this file open"), "{frame}");
}
