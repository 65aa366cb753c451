//! What it registers, and how it keeps that through the server's absence.

use std::path::Path;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::{NEVER, Run, free_port, instance, program, reasons, wait_for};
use crate::common::{PATIENCE, SECRET, Server, answering, ended, json, process, stderr};
use crate::programs::wait_for as polled;

/// A server on that port with that file.
fn server_at(port: u16, file: &Path) -> Server {
    Server::start(&[("SERVER_PORT", &port.to_string()), ("DB_PATH", file.to_str().expect("UTF-8"))])
}

#[test]
fn a_program_is_registered_once_its_port_answers_and_deregistered_when_it_ends() {
    let server = Server::start(&[]);
    let port = free_port();
    let flags =
        ["--port", &port.to_string(), "--version", "1.4.2", "--tag", "blue", "--meta", "team=identity", "--zone", "eu"];
    let mut run = Run::start(&server.url, &flags, &program(port, 1));
    assert_eq!(run.line(), "ready");
    let said = run.note("registered");
    wait_for(&server, "healthy");
    let known = instance(&server);
    let name = known["name"].as_str().expect("a name");
    assert!(name.ends_with(&format!("-{port}")), "{name}");
    assert_eq!(said, format!("portolan: registered default/a/{name} at http://127.0.0.1:{port}"));
    assert_eq!(known["base_url"], format!("http://127.0.0.1:{port}"));
    assert_eq!((&known["version"], &known["zone"], &known["tags"][0]), (&"1.4.2".into(), &"eu".into(), &"blue".into()));
    assert_eq!(known["metadata"]["team"], "identity");
    assert_eq!(known["check"], serde_json::json!({"tcp": {}}));
    assert_eq!(known["checks"][0]["heartbeat"]["ttl_seconds"], 30, "{known}");
    let shown = crate::common::stdout(&server.cli(&["get", "a"]));
    assert!(shown.contains(&format!("{name}  check default: tcp, ")), "{shown}");
    assert!(shown.contains(&format!("{name}  check heartbeat: heartbeat within 30 s")), "{shown}");
    run.signal(Signal::TERM);
    run.note("deregistered");
    assert_eq!(run.code(), 3);
    assert_eq!(ended(&server.cli(&["get", "a"])).0, 4);
}

#[test]
fn a_program_that_never_listens_is_named_and_tried_for_as_long_as_it_runs() {
    let server = Server::start(&[]);
    let port = free_port();
    let run = Run::start(&server.url, &["--port", &port.to_string(), "--ready-within", "200ms"], &program(0, NEVER));
    run.note(&format!("not registered: nothing answers at 127.0.0.1:{port} or [::1]:{port}; trying again"));
    assert_eq!(ended(&server.cli(&["get", "a"])).0, 4);
    let _late = std::net::TcpListener::bind(("127.0.0.1", port)).expect("still free");
    wait_for(&server, "healthy");
}

#[test]
fn a_port_that_answers_before_the_program_starts_is_reported() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let command = ["--", "sh", "-c", "exit 98"].map(str::to_owned);
    let server = Server::start(&[]);
    let mut run = Run::start(&server.url, &["--port", &port], &command);
    run.note("another program listens there");
    assert_eq!(run.code(), 98);
    let history = json(&server.cli(&["list", "-A", "-o", "json"]));
    assert_eq!(history, Value::Array(Vec::new()), "the other program was not registered as this one");

    let command = ["--", "sh", "-c", "sleep 3; exit 98"].map(str::to_owned);
    let mut run = Run::start(&server.url, &["--port", &port], &command);
    run.note("never registered: the program ended while another one had port");
    assert_eq!(run.code(), 98);
    assert_eq!(ended(&server.cli(&["history", "a"])).0, 4, "nor for as long as this one runs without the port");

    let flags = ["--port", &port, "--ready-within", "200ms"];
    let run = Run::start(&server.url, &flags, &program(0, NEVER));
    run.note("another program listens there");
    drop(taken);
    run.note("not registered: nothing answers at");
}

/// Listens on a port that others may share, says so, and stays.
const SHARING: &str = r#"
import socket, sys, time
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen()
print("ready", flush=True)
while True:
    time.sleep(1)
"#;

#[test]
fn a_port_that_the_program_shares_with_its_predecessor_is_its_own() {
    let server = Server::start(&[]);
    let port = free_port().to_string();
    let sharing = ["--", "python3", "-c", SHARING, &port].map(str::to_owned);
    let old = Run::start("http://127.0.0.1:9", &["--port", &port], &sharing);
    assert_eq!(old.line(), "ready");
    let new = Run::start(&server.url, &["--port", &port], &sharing);
    new.note("another program listens there");
    new.note("registered default/a/");
    wait_for(&server, "healthy");
}

#[test]
fn a_server_that_starts_later_gets_the_registration() {
    let (at, port) = (free_port(), free_port());
    let run = Run::start(&format!("http://127.0.0.1:{at}"), &["--port", &port.to_string()], &program(port, NEVER));
    run.note("not registered: no server answers at");
    let folder = tempfile::tempdir().expect("a folder");
    let server = server_at(at, &folder.path().join("services.db"));
    wait_for(&server, "healthy");
}

#[test]
fn a_server_that_restarts_finds_it_as_it_was_and_one_that_forgot_it_gets_it_again() {
    let (at, port) = (free_port(), free_port());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("services.db");
    let mut server = server_at(at, &file);
    let flags = ["--port", &port.to_string(), "--ttl", "2s"];
    let run = Run::start(&server.url, &flags, &program(port, NEVER));
    wait_for(&server, "healthy");
    let before = instance(&server);
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    run.note("not renewed: no server answers at");
    let mut server = server_at(at, &file);
    run.note("renewed: the registry answers again");
    let after = instance(&server);
    assert_eq!((&before["generation"], &before["registered_at"]), (&after["generation"], &after["registered_at"]));
    assert_eq!(reasons(&server), ["Passed"], "it was never down");

    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    let server = server_at(at, &folder.path().join("empty.db"));
    run.note("not renewed: the registry no longer knows it; registering it again");
    run.note("registered default/a/");
    wait_for(&server, "healthy");
}

#[test]
fn a_server_that_is_stopped_for_longer_than_the_lease_expires_nothing() {
    let server = Server::start(&[]);
    let port = free_port();
    let run = Run::start(&server.url, &["--port", &port.to_string(), "--ttl", "2s"], &program(port, NEVER));
    wait_for(&server, "healthy");
    server.pause();
    run.note("not renewed: no answer from");
    // Longer than the lease: the clocks of both go on meanwhile.
    std::thread::sleep(Duration::from_secs(4));
    server.signal(Signal::CONT);
    run.note("renewed: the registry answers again");
    wait_for(&server, "healthy");
    assert_eq!(reasons(&server), ["Passed"]);
}

#[test]
fn a_lease_that_nobody_renews_ends_although_the_port_answers() {
    let server = Server::start(&[]);
    let port = free_port();
    let run = Run::start(&server.url, &["--port", &port.to_string(), "--ttl", "1s"], &program(port, NEVER));
    wait_for(&server, "healthy");
    run.signal(Signal::KILL);
    polled("its lease expires", || (instance(&server)["reason"] == "LeaseExpired").then_some(()));
    assert_eq!(run.line(), "ready", "the program itself was not touched");
}

#[test]
fn a_successor_under_the_same_name_stays() {
    let server = Server::start(&[]);
    let port = free_port();
    let mut run = Run::start(&server.url, &["--port", &port.to_string(), "-i", "a"], &program(port, 1));
    run.note("registered default/a/a");
    wait_for(&server, "healthy");
    let moved = server.cli(&["register", "--name", "a", "-i", "a", "--base-url", "http://127.0.0.1:9", "--ttl", "1m"]);
    assert_eq!(ended(&moved).0, 0, "{}", stderr(&moved));
    run.signal(Signal::TERM);
    run.note("not deregistered: another program has since taken over this name");
    assert_eq!(run.code(), 3);
    assert_eq!(instance(&server)["base_url"], "http://127.0.0.1:9");
}

#[test]
fn a_successor_is_not_renewed_by_the_program_that_it_replaced() {
    let server = Server::start(&[]);
    let port = free_port();
    let run = Run::start(&server.url, &["--port", &port.to_string(), "-i", "a", "--ttl", "1s"], &program(port, NEVER));
    run.note("registered default/a/a");
    let moved = server.cli(&["register", "--name", "a", "-i", "a", "--base-url", "http://127.0.0.1:9", "--ttl", "1s"]);
    assert_eq!(ended(&moved).0, 0, "{}", stderr(&moved));
    run.note("not renewed: another program has since taken over this name");
    while instance(&server)["reason"] != "LeaseExpired" {
        std::thread::yield_now();
    }
    assert_eq!(ended(&server.cli(&["deregister", "a"])).0, 0);
    run.note("registered default/a/a");
}

#[test]
fn a_refusal_stops_nothing() {
    let server = Server::start(&[("MAX_SERVICES", "1")]);
    let port = free_port();
    let other = server.cli(&["register", "--name", "b", "--base-url", "http://127.0.0.1:9"]);
    assert_eq!(ended(&other).0, 0, "{}", stderr(&other));
    let run = Run::start(&server.url, &["--port", &port.to_string()], &program(port, NEVER));
    run.note("not registered: ");
    assert_eq!(ended(&server.cli(&["deregister", "b"])).0, 0);
    wait_for(&server, "healthy");
}

/// A server's answer about `a`, whose instance `a` has that port and generation.
fn answer(port: u16, generation: u64) -> (&'static str, String) {
    let instance =
        serde_json::json!({"name": "a", "base_url": format!("http://127.0.0.1:{port}"), "generation": generation});
    let service = serde_json::json!({"name": "a", "namespace": "default", "instances": [instance]});
    ("200 OK", serde_json::json!({"success": true, "message": "", "data": service}).to_string())
}

fn refusal(status: &'static str, code: &str) -> (&'static str, String) {
    (status, serde_json::json!({"success": false, "error": "it cannot be done", "code": code}).to_string())
}

#[test]
fn a_replica_that_cannot_write_is_left_for_another() {
    let port = free_port();
    let url = answering(move |connection, request| {
        let cannot_write = connection == 0 || (connection == 1 && request.starts_with("DELETE"));
        if cannot_write { refusal("503 Service Unavailable", "unavailable") } else { answer(port, 1) }
    });
    let mut run = Run::start(&url, &["--port", &port.to_string(), "-i", "a"], &program(port, 1));
    run.note("registered default/a/");
    run.signal(Signal::TERM);
    run.note("deregistered");
    assert_eq!(run.code(), 3);
}

#[test]
fn a_replica_that_is_behind_is_asked_again_after_a_pause() {
    let port = free_port();
    let (beat, beats) = channel();
    let url = answering(move |_, request| match request.split_once(' ') {
        Some(("POST", _)) => answer(port, 2),
        Some(("PUT", _)) => {
            // The test may have ended.
            let _ = beat.send(Instant::now());
            refusal("412 Precondition Failed", "stale_generation")
        }
        _ => answer(port, 1),
    });
    let flags = ["--port", &port.to_string(), "-i", "a", "--ttl", "3s"];
    let _run = Run::start(&url, &flags, &program(port, NEVER));
    let six: Vec<_> = (0..6).map(|_| beats.recv_timeout(PATIENCE).expect("a heartbeat")).collect();
    // Between them lie pauses of at least 50, 100, 166, 166 and 166 ms.
    let took = six[5] - six[0];
    assert!(took >= Duration::from_millis(640), "{took:?}");
}

/// A server that wants a token, and one for it.
fn guarded() -> (Server, Vec<u8>) {
    let auth = [("ENABLE_AUTH", "true"), ("JWT_SECRET", SECRET), ("PORTOLAN_BIND_ADDRESS", "127.0.0.1")];
    let mut mint = process();
    let minted = mint.env("JWT_SECRET", SECRET).args(["token", "--subject", "a"]).output().expect("it runs");
    (Server::start(&auth), minted.stdout)
}

#[test]
fn a_registration_that_could_not_be_renewed_is_removed_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let (server, token) = guarded();
    std::fs::write(&file, &token).expect("written");
    let port = free_port();
    let flags = ["--port", &port.to_string(), "--ttl", "1s", "--token-file", file.to_str().expect("UTF-8")];
    let mut run = Run::start(&server.url, &flags, &program(port, 1));
    run.note("registered default/a/");
    std::fs::write(&file, "").expect("written");
    run.note("not renewed: ");
    run.note("not registered: ");
    std::fs::write(&file, &token).expect("written");
    run.signal(Signal::TERM);
    run.note("deregistered");
    assert_eq!(run.code(), 3);
    assert_eq!(ended(&server.as_subject("a", &[], &["get", "a"])).0, 4);
}

#[test]
fn the_token_of_a_file_is_not_handed_to_the_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let (server, token) = guarded();
    std::fs::write(&file, token).expect("written");
    let port = free_port();
    let script = format!("env; exec python3 -m http.server {port} --bind 127.0.0.1");
    let flags = ["--port", &port.to_string(), "--token-file", file.to_str().expect("UTF-8")];
    let run = Run::start(&server.url, &flags, &["--".into(), "sh".into(), "-c".into(), script]);
    run.note("registered default/a/");
    assert!(run.lines.try_iter().all(|line| !line.contains("TOKEN")));
}
