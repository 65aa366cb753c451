//! The audit file of a real server: rotation, permissions, and what its log and `/readyz` say of it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::common::{Logged, PATIENCE, SECRET, Server, ended, portolan, stderr};

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// Waits until the file has that many lines.
fn until(path: &Path, count: usize) -> Vec<Value> {
    let started = Instant::now();
    loop {
        let known = lines(path);
        if known.len() >= count {
            assert_eq!(known.len(), count, "{known:?}");
            return known;
        }
        assert!(started.elapsed() < PATIENCE, "{known:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn register(url: &str, name: &str) {
    let args = ["register", "--name", name, "--base-url", "http://127.0.0.1:9", "--server", url];
    let output = portolan().args(args).output().expect("it runs");
    assert_eq!(ended(&output).0, 0, "{}", stderr(&output));
}

#[test]
fn a_renamed_file_is_followed_by_a_new_one_with_and_without_a_hangup() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.jsonl");
    let at = path.to_str().expect("UTF-8");
    let mut server =
        Logged::start(folder.path(), &[("PORTOLAN_AUDIT_FILE", at), ("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0")]);
    let url = server.url();
    register(&url, "a");
    until(&path, 1);
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "its lines name people");

    let rotated = folder.path().join("audit.jsonl.1");
    std::fs::rename(&path, &rotated).expect("renamed");
    server.signal(Signal::HUP);
    let said = server.until("SIGHUP");
    assert!(said.contains("the audit file is opened again"), "{said}");
    register(&url, "b");
    assert_eq!(until(&path, 1)[0]["service"], "b");
    let again = folder.path().join("audit.jsonl.2");
    std::fs::rename(&path, &again).expect("renamed");
    register(&url, "c");
    assert_eq!(until(&path, 1)[0]["service"], "c", "a program that renames and sends nothing");
    assert_eq!((lines(&rotated).len(), lines(&again).len()), (1, 1), "the old ones stay as they were");

    register(&url, "d");
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    assert_eq!(lines(&path).len(), 2, "the last line is written before the end");
}

#[test]
fn the_log_has_the_lines_too_as_json_where_it_is_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Logged::start(folder.path(), &[("PORTOLAN_LOG_FORMAT", "json")]);
    let listening = server.url();
    let url = listening.split('"').next().expect("an address");
    register(url, "a");
    let line: Value = serde_json::from_str(&server.until("portolan::audit")).expect("JSON");
    for (field, value) in [("action", "register"), ("outcome", "done"), ("service", "a"), ("kind", "anonymous")] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!((&line["status"], &line["client"]), (&200.into(), &"127.0.0.1".into()), "{line}");
    assert!(line.get("code").is_none() && line["request_id"].as_str().is_some_and(|id| id.len() == 16), "{line}");
}

#[test]
fn a_file_that_cannot_be_used_stops_the_start_and_one_that_is_full_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = folder.path().join("notes.txt");
    std::fs::write(&other, "shopping list\n").expect("written");
    let missing = folder.path().join("missing/audit.jsonl");
    let db = folder.path().join("services.db");
    for (path, wanted) in
        [(&other, "is not an audit log"), (&missing, "cannot be opened"), (&db, "is not an audit log")]
    {
        let command = portolan()
            .args(["serve"])
            .env("SERVER_PORT", "0")
            .env("DB_PATH", &db)
            .env("PORTOLAN_AUDIT_FILE", path)
            .output();
        let said = stderr(&command.expect("it runs"));
        assert!(said.contains("PORTOLAN_AUDIT_FILE") && said.contains(wanted), "{said}");
    }
    assert_eq!(std::fs::read_to_string(&other).expect("it stays"), "shopping list\n");

    let mut server = Logged::start(folder.path(), &[("PORTOLAN_AUDIT_FILE", "/dev/full")]);
    let url = server.url();
    register(&url, "a");
    let said = server.until("/dev/full cannot be written");
    assert!(said.contains("ERROR portolan::audit") && said.contains("portolan_audit_dropped_total"), "{said}");
}

#[test]
fn a_cut_off_line_is_ended_before_the_next_begins() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.jsonl");
    std::fs::write(&path, "{\"cut\":").expect("written");
    let server = Server::start(&[("PORTOLAN_AUDIT_FILE", path.to_str().expect("UTF-8"))]);
    register(&server.url, "a");
    let started = Instant::now();
    let mut text = String::new();
    while !text.ends_with("}\n") {
        text = std::fs::read_to_string(&path).expect("it is there");
        assert!(started.elapsed() < PATIENCE, "{text}");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(text.starts_with("{\"cut\":\n{\"timestamp\""), "{text}");
    assert!(
        server.get("/readyz?verbose").contains("audit: the audit file is written"),
        "{}",
        server.get("/readyz?verbose")
    );
}

#[test]
fn an_import_leaves_a_line_of_the_user_who_ran_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.jsonl");
    let line = "{\"name\":\"a\",\"base_url\":\"http://127.0.0.1:9\"}\n";
    let output = portolan()
        .args(["import", "-", "--db"])
        .arg(folder.path().join("services.db"))
        .env("PORTOLAN_AUDIT_FILE", &path)
        .write_stdin(line)
        .output()
        .expect("it runs");
    assert_eq!(ended(&output).0, 0, "{}", stderr(&output));
    let line = &until(&path, 1)[0];
    assert_eq!((&line["action"], &line["kind"], &line["outcome"]), (&"import".into(), &"local".into(), &"done".into()));
    assert_eq!(line["subject"], rustix::process::getuid().as_raw().to_string());
    assert!(line["note"].as_str().is_some_and(|note| note.contains("1 added, 0 changed")), "{line}");
}

#[test]
fn the_owner_of_a_service_is_shown_to_a_token_and_to_nobody_else() {
    let server =
        Server::start(&[("ENABLE_AUTH", "true"), ("JWT_SECRET", SECRET), ("PORTOLAN_BIND_ADDRESS", "127.0.0.1")]);
    let args = ["register", "--name", "pay", "--base-url", "http://127.0.0.1:9"];
    assert_eq!(ended(&server.as_subject("payments-ci", &[], &args)).0, 0);
    let known = server.as_subject("reader", &[], &["get", "pay"]);
    let text = crate::common::stdout(&known);
    assert!(text.contains("Owner        payments-ci\n"), "{text}");
    let open = server.cli(&["discover", "pay", "-o", "json"]);
    assert!(!crate::common::stdout(&open).contains("owner"), "{}", crate::common::stdout(&open));
}
