//! `portolan ack` and `portolan unack`.

use crate::common::{Logged, Server, ended, json, portolan, stderr, stdout};

/// What a command prints; it must succeed.
fn ok(server: &Server, args: &[&str]) -> String {
    let output = server.cli(args);
    assert_eq!(ended(&output).0, 0, "{args:?} {}", stderr(&output));
    stdout(&output)
}

/// Registers an instance at a port where nothing listens, and proves that.
fn failing(server: &Server, instance: &str) {
    let flags = ["register", "--name", "a", "-i", instance, "--base-url", "http://127.0.0.1:1"];
    let output = server.cli(&[&flags[..], &["--health-url", "http://127.0.0.1:1/health"]].concat());
    assert_eq!(ended(&output).0, 0, "{}", stderr(&output));
    let checked = server.cli(&["check", "a", "-i", instance]);
    assert_eq!(ended(&checked).0, 1, "{} {}", stdout(&checked), stderr(&checked));
}

#[test]
fn what_fails_is_acknowledged_and_shown_with_its_note() {
    let server = Server::start(&[]);
    for instance in ["x", "y"] {
        failing(&server, instance);
    }
    let said = ok(&server, &["ack", "a", "--note", "disk ordered", "--for", "2h"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("acknowledged default/a/x until 2"), "{said}");
    assert!(
        lines[1].starts_with("acknowledged default/a/y until 2") && lines[1].ends_with("Z: disk ordered"),
        "{said}"
    );
    let listed = ok(&server, &["list", "-o", "wide"]);
    assert!(listed.contains("ACKNOWLEDGED") && listed.contains("anonymous: disk ordered"), "{listed}");
    let shown = ok(&server, &["get", "a"]);
    assert!(shown.contains("x  acknowledged for ") && shown.contains("by anonymous: disk ordered"), "{shown}");
    let history = ok(&server, &["history", "a"]);
    assert!(history.contains("acknowledged by anonymous for the service, failing: x, y, until "), "{history}");

    let said = ok(&server, &["unack", "a", "-i", "x"]);
    assert_eq!(said, "no longer acknowledged: default/a/x\n");
    let data = json(&server.cli(&["unack", "a", "-o", "json"]));
    assert!(data.get("acknowledged").is_none(), "{data}");
    let again = server.cli(&["unack", "a"]);
    assert_eq!((ended(&again).0, stdout(&again).as_str()), (0, ""));
    assert!(stderr(&again).contains("nothing of a is acknowledged"), "{}", stderr(&again));
    let data = json(&server.cli(&["ack", "a", "-i", "y", "--note", "n", "-o", "json"]));
    assert!(data.get("acknowledged").is_none(), "x fails, too: {data}");
}

#[test]
fn it_is_refused_in_words() {
    let server = Server::start(&[]);
    assert_eq!(ended(&server.cli(&["ack", "a", "--note", "n"])).0, 4);
    let register = ["register", "--name", "a", "--base-url", "http://127.0.0.1:9"];
    assert_eq!(ended(&server.cli(&register)).0, 0);
    let refused = server.cli(&["ack", "a", "--note", "n"]);
    assert_eq!(ended(&refused).0, 5, "{}", stderr(&refused));
    assert!(stderr(&refused).contains("nothing to acknowledge"), "{}", stderr(&refused));
    assert_eq!(ended(&server.cli(&["ack", "a"])).0, 2, "a note is needed");
    assert_eq!(ended(&server.cli(&["ack", "a", "--note", "n", "--for", "soon"])).0, 2);
    assert_eq!(ended(&server.cli(&["ack", "a", "-i", "w", "--note", "n"])).0, 4);
    for (flag, value) in [("--note", "a\u{7}"), ("--note", " ")] {
        let refused = server.cli(&["ack", "a", flag, value]);
        assert_eq!(ended(&refused).0, 2, "{value:?}: {}", stderr(&refused));
    }
}

#[test]
fn the_log_says_who_did_it_and_from_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Logged::start(folder.path(), &[]);
    let url = server.url();
    let cli = |args: &[&str]| {
        let output = portolan().args(args).env("PORTOLAN_SERVER", &url).output().expect("it runs");
        assert!(ended(&output).0 <= 1, "{args:?} {}", stderr(&output));
    };
    cli(&["register", "--name", "a", "--base-url", "http://127.0.0.1:1", "--health-url", "http://127.0.0.1:1/health"]);
    cli(&["check", "a"]);
    cli(&["ack", "a", "--note", "disk ordered"]);
    let given = server.until(" INFO portolan::audit: acknowledge: done");
    for part in ["kind=\"anonymous\"", "client=127.0.0.1", "service=\"a\"", "note=\"disk ordered\""] {
        assert!(given.contains(part), "{part}: {given}");
    }
    cli(&["unack", "a", "-i", "default"]);
    let withdrawn = server.until("portolan::audit: unacknowledge: done");
    assert!(withdrawn.contains("service=\"a\"") && withdrawn.contains("instance=\"default\""), "{withdrawn}");
}
