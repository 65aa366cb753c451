//! `portolan serve` as a process: starts, refusals, its end.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

use rustix::process::Signal;

use crate::common::{PATIENCE, Server, ended, portolan, process};

#[test]
fn signals_end_it_well_from_its_first_word_on() {
    for signal in [Signal::TERM, Signal::INT].repeat(5) {
        let mut server = Server::start(&[]);
        server.signal(signal);
        assert_eq!(server.wait(), Some(0), "{signal:?}");
    }
}

#[test]
fn a_bad_setting_is_usage_and_named() {
    let output = portolan().arg("serve").env("HEALTH_CHECK_INTERVAL", "0").env("LOG_LEVEL", "loud").output();
    let (code, said) = ended(&output.expect("it runs"));
    assert_eq!(code, 2);
    assert!(said.contains("HEALTH_CHECK_INTERVAL is \"0\"") && said.contains("LOG_LEVEL is \"loud\""), "{said}");
}

#[test]
fn a_weak_secret_file_is_usage() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "hunter2\n").expect("written");
    let mut command = portolan();
    command.arg("serve").env("ENABLE_AUTH", "true").env("JWT_SECRET_FILE", &secret).env("SERVER_PORT", "0");
    let (code, said) = ended(&command.env("DB_PATH", folder.path().join("db")).output().expect("it runs"));
    assert_eq!(code, 2, "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_used_port_and_a_used_file_are_refused() {
    let server = Server::start(&[]);
    let port = server.url.rsplit_once(':').expect("a port").1;
    let mut command = portolan();
    command.arg("serve").env("SERVER_PORT", port).env("DB_PATH", server.folder.path().join("other.db"));
    let (code, said) = ended(&command.output().expect("it runs"));
    assert!(code == 1 && said.contains("SERVER_PORT"), "{code} {said}");

    let mut command = portolan();
    command.arg("serve").env("SERVER_PORT", "0").env("DB_PATH", server.folder.path().join("services.db"));
    let (code, said) = ended(&command.output().expect("it runs"));
    assert!(code == 1 && said.contains("services.db"), "{code} {said}");
}

#[test]
fn it_says_why_it_listens_on_loopback_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = process();
    command.arg("serve").env("SERVER_PORT", "0").env("DB_PATH", folder.path().join("services.db"));
    let mut child = command.env("PORTOLAN_RATE_LIMIT", "7").stderr(Stdio::piped()).spawn().expect("it starts");
    let log = BufReader::new(child.stderr.take().expect("piped"));
    let lines: Vec<String> = log.lines().map_while(Result::ok).take(3).collect();
    child.kill().expect("it is running");
    child.wait().expect("it ends");
    let said = lines.join("\n");
    assert!(said.contains("PORTOLAN_RATE_LIMIT is set, and no setting has that name"), "{said}");
    assert!(said.contains("loopback only") && said.contains("ENABLE_AUTH=true"), "{said}");
}

#[test]
fn a_server_that_is_to_stop_is_not_ready_and_answers_while_it_drains() {
    let mut server = Server::start(&[("PORTOLAN_DRAIN_SECONDS", "2")]);
    let ready = server.get("/readyz?verbose");
    assert!(ready.contains("200 OK") && ready.contains("[+] server: it started, and serves\n"), "{ready}");
    assert!(
        ready.contains("[+] guard: health follows the probes (clear)\n") && ready.ends_with("\nready\n"),
        "{ready}"
    );
    server.signal(Signal::TERM);
    let started = Instant::now();
    while server.get("/readyz").contains("200 OK") {
        assert!(started.elapsed() < PATIENCE, "still ready");
    }
    let turned_away = server.get("/readyz");
    assert!(turned_away.contains("503 ") && turned_away.contains("[-] server: it was told to stop: "), "{turned_away}");
    assert_eq!(
        ended(&server.cli(&["register", "--name", "late", "--base-url", "http://127.0.0.1:9"])).0,
        0,
        "all else goes on"
    );
    assert!(server.get("/api/v1/services/discover?name=late").contains("200 OK"));
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_file_that_is_deleted_while_it_runs_is_told_to_who_writes_and_who_looks() {
    let mut server = Server::start(&[]);
    assert_eq!(ended(&server.cli(&["register", "--name", "kept", "--base-url", "http://127.0.0.1:9"])).0, 0);
    std::fs::remove_file(server.folder.path().join("services.db")).expect("deleted");
    let (code, said) = ended(&server.cli(&["register", "--name", "late", "--base-url", "http://127.0.0.1:9"]));
    assert!(code == 3 && said.contains("deleted, moved or replaced") && said.contains("restart"), "{code} {said}");
    let ready = server.get("/readyz?verbose");
    assert!(
        ready.contains("200 OK") && ready.contains("[+] store: writes fail: the store's file was deleted"),
        "{ready}"
    );
    assert!(server.get("/api/v1/services/discover?name=kept").contains("200 OK"), "reads go on");
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0), "the end is in order though what probing knows has no place");
}

/// A store of two services, of which one cannot be read, and the path of its file.
fn with_a_bad_row() -> (tempfile::TempDir, std::path::PathBuf) {
    let mut server = Server::start(&[]);
    for name in ["users", "orders"] {
        let output = server.cli(&["register", "--name", name, "--base-url", "http://127.0.0.1:9"]);
        assert_eq!(ended(&output).0, 0, "{}", ended(&output).1);
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("services.db");
    std::fs::copy(server.folder.path().join("services.db"), &path).expect("copies");
    let sql = "UPDATE instance SET base_url = 'nowhere' WHERE service = (SELECT row FROM service WHERE name = 'users')";
    rusqlite::Connection::open(&path).expect("opens").execute_batch(sql).expect("writes");
    (folder, path)
}

#[test]
fn a_row_that_cannot_be_read_is_named_counted_and_printed() {
    let (_folder, path) = with_a_bad_row();
    let path = path.to_str().expect("a plain path");
    let server = Server::start(&[("DB_PATH", path)]);
    let ready = server.get("/readyz?verbose");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(ready.contains("2 rows in quarantine") && ready.contains("default/users"), "{ready}");
    assert!(ready.contains("`portolan quarantine`"), "{ready}");
    assert!(server.get("/metrics").contains("portolan_quarantined_rows 2"));
    let listed = server.cli(&["list", "-o", "json"]);
    assert!(crate::common::stdout(&listed).contains("orders"), "{listed:?}");
    let output = portolan().args(["quarantine", "--file", path]).output().expect("it runs");
    assert_eq!(ended(&output).0, 0, "{}", ended(&output).1);
    let rows: Vec<serde_json::Value> =
        crate::common::stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["table"], &rows[0]["content"]["base_url"]), (&"instance".into(), &"nowhere".into()));
}

#[test]
fn no_store_to_print_from_is_not_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let output =
        portolan().args(["quarantine", "--file"]).arg(folder.path().join("none.db")).output().expect("it runs");
    assert_eq!(ended(&output).0, 4, "{}", ended(&output).1);
}

#[test]
fn a_damaged_store_is_refused_until_an_empty_one_is_asked_for() {
    let (_folder, path) = with_a_bad_row();
    let bytes = std::fs::read(&path).expect("reads");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("cuts");
    let mut command = portolan();
    command.arg("serve").env("SERVER_PORT", "0").env("DB_PATH", &path);
    let (code, said) = ended(&command.output().expect("it runs"));
    assert!(code == 1 && said.contains("is damaged") && said.contains("--start-empty"), "{code} {said}");
    let mut child = process()
        .args(["serve", "--start-empty"])
        .env("SERVER_PORT", "0")
        .env("DB_PATH", &path)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let started = log.by_ref().any(|line| line.contains("listening on"));
    child.kill().expect("ends it");
    child.wait().expect("it ends");
    assert!(started);
}
