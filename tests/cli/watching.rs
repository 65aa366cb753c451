//! Commands that go on printing what changes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::spawn;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::common::{PATIENCE, Server, ended, process, stderr};

/// A command whose lines come as they are printed.
struct Printing {
    child: Child,
    lines: Receiver<String>,
    notes: Receiver<String>,
}

impl Printing {
    fn start(server: &Server, args: &[&str]) -> Self {
        let mut command = process();
        command.args(args).args(["--server", &server.url]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let lines = each_line(child.stdout.take().expect("piped"));
        let notes = each_line(child.stderr.take().expect("piped"));
        Self { child, lines, notes }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line")
    }

    fn note(&self) -> String {
        self.notes.recv_timeout(PATIENCE).expect("a line on stderr")
    }
}

fn each_line(out: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

impl Drop for Printing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn register(server: &Server, name: &str) {
    let output = server.cli(&["register", "--name", name, "--base-url", "http://127.0.0.1:9"]);
    assert_eq!(ended(&output).0, 0, "{}", stderr(&output));
}

/// Registers services until the watch prints one: it prints nothing when it begins.
fn first(server: &Server, watch: &Printing) -> String {
    let mut n = 0;
    loop {
        register(server, &format!("s{n}"));
        if let Ok(line) = watch.lines.recv_timeout(Duration::from_millis(200)) {
            return line;
        }
        n += 1;
        assert!(n < 200, "no line came");
    }
}

#[test]
fn a_watch_prints_a_line_for_each_change() {
    let server = Server::start(&[]);
    let watch = Printing::start(&server, &["watch", "-o", "json"]);
    let line: Value = serde_json::from_str(&first(&server, &watch)).expect("JSON");
    assert!(line["name"].as_str().is_some_and(|name| name.starts_with('s')), "{line}");
    assert_eq!((&line["from"], &line["to"], &line["reason"]), (&Value::Null, &"unknown".into(), &"NotChecked".into()));
    assert_eq!((&line["instances"], &line["healthy_instances"]), (&1.into(), &0.into()));

    let plain = Printing::start(&server, &["watch"]);
    let line = first(&server, &plain);
    assert!(line.contains("  default/s") && line.ends_with("  new -> unknown 0/1  NotChecked"), "{line}");
}

#[test]
fn a_drain_is_seen_in_its_line() {
    let server = Server::start(&[]);
    register(&server, "mail");
    let watch = Printing::start(&server, &["watch"]);
    first(&server, &watch);
    assert_eq!(ended(&server.cli(&["drain", "mail", "--reason", "r"])).0, 0);
    let line = std::iter::repeat_with(|| watch.line()).find(|line| line.contains("/mail  ")).expect("a line");
    assert!(line.contains("unknown 0/1 -> unknown 0/1 (1 drained)"), "{line}");
}

#[test]
fn a_watch_of_one_name_prints_only_that_service() {
    let server = Server::start(&[]);
    let watch = Printing::start(&server, &["watch", "mail"]);
    assert!(watch.note().contains("no service is called mail yet"));
    let elsewhere = Printing::start(&server, &["watch", "mail", "-n", "shop", "-o", "json"]);
    assert!(elsewhere.note().contains("no service is called mail yet"));
    assert!(elsewhere.note().contains("portolan list -A"));
    register(&server, "maildrop");
    register(&server, "mail");
    let line = watch.line();
    assert!(line.contains("  default/mail  new -> unknown"), "{line}");
    let beside = Printing::start(&server, &["watch", "mail", "-n", "bank"]);
    assert!(beside.note().contains("no service is called mail yet"));
    assert!(beside.note().contains("but in default: add -n default"), "where it is");
    let shop = ["register", "--name", "mail", "-n", "shop", "--base-url", "http://127.0.0.1:9"];
    assert_eq!(ended(&server.cli(&shop)).0, 0);
    assert_eq!(ended(&server.cli(&["deregister", "maildrop"])).0, 0);
    assert_eq!(ended(&server.cli(&["deregister", "mail"])).0, 0);
    let line = watch.line();
    assert!(line.contains("  default/mail  ") && line.contains(" -> removed"), "{line}");
    let line: Value = serde_json::from_str(&elsewhere.line()).expect("JSON");
    assert_eq!((&line["namespace"], &line["name"]), (&"shop".into(), &"mail".into()));
    let refused = server.cli(&["watch", "Mail"]);
    assert!(ended(&refused).0 == 2 && stderr(&refused).contains("name: "), "{}", stderr(&refused));
}

#[test]
fn server_events_go_to_stderr_beside_the_changes() {
    let mut server = Server::start(&[("PORTOLAN_DRAIN_SECONDS", "3")]);
    let watch = Printing::start(&server, &["watch", "-o", "json"]);
    first(&server, &watch);
    std::fs::remove_file(server.folder.path().join("services.db")).expect("deleted");
    let refused = server.cli(&["register", "--name", "late", "--base-url", "http://127.0.0.1:9"]);
    assert_ne!(ended(&refused).0, 0);
    let said = watch.note();
    assert!(said.contains("Z  server (store): writes fail: the store's file was deleted"), "{said}");
    let late = Printing::start(&server, &["list", "--watch"]);
    assert!(late.note().contains("server (store): writes fail"), "a bad event is printed at once, and nothing else");

    server.signal(Signal::TERM);
    for said in [watch.note(), late.note()] {
        assert!(said.contains("server (server): shutting down"), "{said}");
    }
    assert_eq!(server.wait(), Some(0));
    assert!(
        watch.lines.try_iter().all(|line| serde_json::from_str::<Value>(&line).is_ok()),
        "changes and nothing else"
    );
}

#[test]
fn a_watched_list_prints_changed_rows() {
    let server = Server::start(&[]);
    register(&server, "user-service");
    let list = Printing::start(&server, &["list", "--watch"]);
    assert!(list.line().starts_with("NAME "), "the head");
    assert!(list.line().starts_with("user-service "), "what there is");
    register(&server, "mail");
    let row = list.line();
    assert!(row.starts_with("mail           ") && row.contains("NotChecked"), "{row}");
    assert_eq!(ended(&server.cli(&["deregister", "mail"])).0, 0);
    assert!(list.line().contains("removed"));
}

#[test]
fn an_unreachable_server_is_reported_at_once() {
    for args in [&["watch"][..], &["list", "-w"]] {
        let mut command = crate::common::portolan();
        let output = command.args(args).args(["--server", "http://127.0.0.1:9"]).output().expect("it runs");
        assert_eq!(ended(&output).0, 3, "{}", stderr(&output));
    }
}
