//! The targets of a running server's log lines are the promised ones.

use std::collections::BTreeSet;

use portolan::telemetry::log::targets::TARGETS;
use rustix::process::Signal;

use crate::common::{Logged, ended, portolan};

fn target(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    line["target"].as_str().expect("a target").to_owned()
}

#[test]
fn every_line_has_a_promised_target() {
    let folder = tempfile::tempdir().expect("a folder");
    let env = [("LOG_LEVEL", "info,portolan=trace"), ("PORTOLAN_LOG_FORMAT", "json"), ("PORTOLAN_NO_SETTING", "1")];
    let mut server = Logged::start(folder.path(), &env);
    let unknown = server.until("PORTOLAN_NO_SETTING");
    let listening: serde_json::Value = serde_json::from_str(&server.until("listening on ")).expect("JSON");
    let url = listening["message"].as_str().expect("a message").replace("listening on ", "");
    let mut register = portolan();
    register.args(["register", "--name", "mail", "--base-url", "http://127.0.0.1:9", "--check-http", "/"]);
    assert_eq!(ended(&register.args(["--server", &url]).output().expect("it runs")).0, 0);
    let down = server.until("ConnectRefused");
    assert_eq!(ended(&portolan().args(["list", "--server", &url]).output().expect("it runs")).0, 0);
    server.signal(Signal::HUP);
    server.signal(Signal::TERM);
    let mut lines = server.rest();
    assert_eq!(server.wait(), Some(0));
    lines.extend([unknown, down]);
    let targets: BTreeSet<String> = lines.iter().map(|line| target(line)).collect();
    let promised = |target: &String| TARGETS.iter().any(|(name, _)| name == target);
    assert!(targets.iter().all(promised), "{targets:?}");
    for seen in ["portolan::access", "portolan::app", "portolan::cli", "portolan::prober"] {
        assert!(targets.contains(seen), "{seen} is not among {targets:?}");
    }
}
