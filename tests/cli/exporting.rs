//! `portolan export`: lines that register the same again.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::{SECRET, Server, ended, json as json_of, portolan, stdout};
use crate::moving::{exported, lines, run_in};

/// Registrations with every field that there is.
fn registrations() -> Vec<Value> {
    vec![
        json!({"name": "zeta", "namespace": "shop", "instance": "b", "base_url": "http://127.0.0.1:4002", "weight": 0, "zone": "eu-1a",
            "version": "1.4.2", "description": "two words: \"quoted\", ünïcode", "metadata": {"team": "identity", "tier": "1"},
            "health_url": "http://127.0.0.1:4102/live?key=secret",
            "check": {"http": {"expected_statuses": [200, 204], "identity": {"json": {"/name": "$service"}}}, "interval_seconds": 7,
                "unhealthy_threshold": 4},
            "checks": [{"name": "admin", "advisory": true, "url": "http://127.0.0.1:4202/ready", "http": {}}, {"name": "port", "tcp": {}}],
            "tags": ["blue", "canary=yes"], "external_id": "Zeta#1", "deregister_after_seconds": 3600}),
        json!({"name": "zeta", "namespace": "shop", "instance": "a", "base_url": "http://127.0.0.1:4001",
            "check": {"heartbeat": {"ttl_seconds": 3600}}}),
        json!({"name": "alpha", "namespace": "shop", "instance": "default", "base_url": "postgres://db.example:5432", "check": {"tcp": {}}}),
        json!({"name": "alpha", "namespace": "default", "instance": "default", "base_url": "http://127.0.0.1:4003", "check": {"none": {}}}),
    ]
}

fn register(server: &Server, line: &Value) {
    let output = server.command(&["register", "-f", "-"]).write_stdin(line.to_string()).output().expect("it runs");
    assert_eq!(ended(&output).0, 0, "{line} {output:?}");
}

/// Takes an instance of zeta out of selection.
fn drain(server: &Server, instance: &str) {
    let service =
        json_of(&server.as_subject("ops", &["--namespaces", "*"], &["get", "zeta", "-n", "shop", "-o", "json"]));
    let token = portolan()
        .env("JWT_SECRET", SECRET)
        .args(["token", "--subject", "ops", "--scope", "admin", "--namespaces", "*"])
        .output();
    let token = stdout(&token.expect("it runs"));
    let address = server.url.strip_prefix("http://").expect("plain http");
    let mut stream = TcpStream::connect(address).expect("it listens");
    let target = format!("/api/v1/services/{}/instances/{instance}/drain", service["id"].as_str().expect("an id"));
    let body = r#"{"reason":"new disk"}"#;
    let head = format!("PUT {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n", token.trim());
    let kind = "Content-Type: application/json\r\nConnection: close\r\n";
    write!(stream, "{head}{kind}Content-Length: {}\r\n\r\n{body}", body.len()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn lines_come_in_a_stable_order_and_register_the_same_again() {
    let server = Server::start(&[]);
    for line in &registrations() {
        register(&server, line);
    }
    let output = server.cli(&["export"]);
    assert_eq!(ended(&output), (0, String::new()));
    let text = stdout(&output);
    let mut expected = registrations();
    expected.reverse();
    assert_eq!(lines(&text), expected, "namespace, name, instance; and nothing but what was registered");

    let other = Server::start(&[]);
    for line in &lines(&text) {
        register(&other, line);
    }
    assert_eq!(stdout(&other.cli(&["export"])), text);
    let shop = stdout(&server.cli(&["export", "-n", "shop", "--source", "rest"]));
    assert_eq!(lines(&shop).len(), 3);
    assert_eq!(stdout(&server.cli(&["export", "--source", "manifest"])), "");
    // The file says the same as its server, while that runs.
    let db = server.folder.path().join("services.db");
    let from_file = portolan().arg("export").arg("--db").arg(&db).output().expect("it runs");
    assert_eq!((ended(&from_file).0, stdout(&from_file)), (0, text));
}

#[test]
fn the_loop_of_the_help_registers_every_line_as_it_is() {
    let help = stdout(&portolan().args(["export", "--help"]).output().expect("it runs"));
    let (_, example) = help.split_once("  portolan export -n shop |").expect("the example");
    let (old, new) = (Server::start(&[]), Server::start(&[]));
    let windows = json!({"name": "a", "namespace": "shop", "base_url": "http://127.0.0.1:4001", "check": {"none": {}},
        "metadata": {"path": r"C:\temp\x"}});
    register(&old, &windows);
    let script = format!("portolan export -n shop |{}", example.replace("http://new:8080", &new.url));
    let folder = Path::new(env!("CARGO_BIN_EXE_portolan")).parent().expect("a folder");
    let path = std::env::join_paths([folder, Path::new("/usr/bin"), Path::new("/bin")]).expect("paths");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).env_clear().env("PATH", path).env("PORTOLAN_SERVER", &old.url);
    let output = shell.output().expect("it runs");
    assert_eq!(ended(&output).0, 0, "{script} {output:?}");
    let text = stdout(&new.cli(&["export"]));
    assert!(text.contains(r"C:\\temp\\x") && text == stdout(&old.cli(&["export"])), "{text}");
}

#[test]
fn an_export_is_imported_whole_with_its_owners_and_ids() {
    let auth = [("ENABLE_AUTH", "true"), ("JWT_SECRET", SECRET), ("PORTOLAN_BIND_ADDRESS", "127.0.0.1")];
    let server = Server::start(&auth);
    for (line, subject) in registrations().iter().zip(["ci", "ci", "ops", "ci"]) {
        let file = server.folder.path().join("line.json");
        std::fs::write(&file, line.to_string()).expect("written");
        let more = ["--namespaces", "*"];
        let output = server.as_subject(subject, &more, &["register", "-f", file.to_str().expect("UTF-8")]);
        assert_eq!(ended(&output).0, 0, "{output:?}");
    }
    drain(&server, "b");
    let folder = tempfile::tempdir().expect("a folder");
    let db = server.folder.path().join("services.db");
    let output = portolan().args(["export", "--for-import", "--db"]).arg(&db).output().expect("it runs");
    let text = stdout(&output);
    assert!(lines(&text).iter().all(|line| line["id"].is_string() && line["owner"]["subject"].is_string()), "{text}");
    assert_eq!(text.matches(r#""drain":{"reason":"new disk","by":"ops""#).count(), 1, "{text}");
    let plain = portolan().args(["export", "--db"]).arg(&db).output().expect("it runs");
    assert!(
        ended(&plain).1.contains("the lines of 1 drained instance omit the drain; --for-import keeps it"),
        "{plain:?}"
    );

    let import = |args: &[&str]| {
        let mut command = portolan();
        command.current_dir(folder.path()).args(["import", "-", "--db", "portolan.db"]).args(args);
        command.write_stdin(text.clone()).output().expect("it runs")
    };
    assert_eq!(stdout(&import(&[])), "imported standard input into portolan.db, 4 rows: 4 added\n");
    assert_eq!(exported(folder.path(), &["--for-import"]), lines(&text), "ids, owners and dates too");
    // What the newest instance says of its service, it still says.
    let of_service = |server: &Server| {
        let list = json_of(&server.as_subject("ops", &["--namespaces", "*"], &["list", "-A", "-o", "json"]));
        let kept = ["id", "name", "version", "description", "metadata", "registered_at", "tags"];
        let all = list.as_array().expect("a list").clone();
        all.iter().map(|service| kept.map(|field| service[field].clone())).collect::<Vec<_>>()
    };
    let moved = Server::of(&folder.path().join("portolan.db"), &auth);
    assert_eq!(of_service(&moved), of_service(&server));
    drop(moved);
    assert_eq!(stdout(&import(&[])), "nothing changed in portolan.db: 4 rows of standard input: 4 already there\n");
    // Only the importer takes these.
    let line = text.lines().next().expect("a line");
    let plain = Server::start(&[]);
    let output = plain.command(&["register", "-f", "-"]).write_stdin(line).output().expect("it runs");
    assert!(ended(&output).1.contains("owner: unknown"), "{output:?}");
}

#[test]
fn an_export_says_what_is_wrong_with_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, said) = ended(&run_in(folder.path(), &["export", "--db", "missing.db"]));
    assert!(code == 4 && said.contains("there is no store at"), "{code} {said}");
    std::fs::write(folder.path().join("words.txt"), "x".repeat(5000)).expect("written");
    let (code, said) = ended(&run_in(folder.path(), &["export", "--db", "words.txt"]));
    assert!(code == 3 && said.contains("is not a store of Portolan"), "{code} {said}");
}

#[test]
fn a_list_without_end_ends() {
    let url = crate::common::canned_forever(r#"{"success":true,"data":[],"next_cursor":"same"}"#);
    let output = portolan().args(["export", "--server", &url]).output().expect("it runs");
    let (code, said) = ended(&output);
    assert!(code == 3 && said.contains("the server's list does not end"), "{code} {said}");
}
