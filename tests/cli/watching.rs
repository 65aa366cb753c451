//! Commands that go on printing what changes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::spawn;
use std::time::Duration;

use serde_json::Value;

use crate::common::{Server, ended, process, stderr};

/// A command whose lines come as they are printed.
struct Printing {
    child: Child,
    lines: Receiver<String>,
}

impl Printing {
    fn start(server: &Server, args: &[&str]) -> Self {
        let mut command = process();
        command.args(args).args(["--server", &server.url]).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (tell, lines) = channel();
        spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(20)).expect("a line")
    }
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

/// Registers one after another until the first is told of: a watch says nothing when it begins.
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
fn a_list_goes_on_with_the_rows_that_change() {
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
fn a_server_that_is_not_there_is_said_at_once() {
    for args in [&["watch"][..], &["list", "-w"]] {
        let mut command = crate::common::portolan();
        let output = command.args(args).args(["--server", "http://127.0.0.1:9"]).output().expect("it runs");
        assert_eq!(ended(&output).0, 3, "{}", stderr(&output));
    }
}
