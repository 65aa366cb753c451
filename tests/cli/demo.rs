//! `portolan demo` without a terminal: it shows a failure and a recovery, and leaves nothing behind.

use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{ended, portolan, process, stdout};

struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Demo {
    fn start(temporary: &Path) -> Self {
        let mut command = process();
        let mut child = command
            .args(["demo", "--seconds", "90"])
            .env("TMPDIR", temporary)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    fn until(&mut self, wanted: &[&str]) -> String {
        let mut seen = String::new();
        for line in self.lines.by_ref().map_while(Result::ok) {
            if wanted.iter().all(|part| line.contains(part)) {
                return line;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        panic!("no line with {wanted:?} in\n{seen}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn folders(temporary: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(temporary).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

#[test]
fn an_instance_fails_and_recovers_and_nothing_is_left() {
    let temporary = tempfile::tempdir().expect("a folder");
    let mut demo = Demo::start(temporary.path());
    demo.until(&["Portolan demo: a registry at http://127.0.0.1:"]);
    let private = folders(temporary.path());
    let mode = std::fs::metadata(&private[0]).expect("there").permissions().mode();
    assert_eq!((private.len(), mode & 0o777), (1, 0o700), "one private folder");

    kill_process(Pid::from_child(&demo.child), Signal::HUP).expect("it is running");
    demo.until(&["order-service/b  healthy -> unhealthy", "ConnectRefused"]);
    demo.until(&["order-service/b  unhealthy -> healthy", "Passed"]);
    demo.until(&["invoice-service/default  healthy -> unhealthy", "WrongIdentity", "wiki"]);
    demo.until(&["invoice-service/default  unhealthy -> healthy", "Passed"]);
    kill_process(Pid::from_child(&demo.child), Signal::TERM).expect("it is running");
    demo.until(&["the demo is over"]);
    assert_eq!(demo.child.wait().expect("it ends").code(), Some(0));
    assert!(folders(temporary.path()).is_empty(), "nothing is left");
}

#[test]
fn every_kind_becomes_healthy_and_the_curl_lines_work() {
    let temporary = tempfile::tempdir().expect("a folder");
    let mut demo = Demo::start(temporary.path());
    let mut pasted = Vec::new();
    for line in demo.lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(at) = line.find("curl ") {
            pasted.push(line[at..].to_owned());
        }
    }
    let mut kinds = vec![
        "user-service/a",
        "report-service/default",
        "ledger-db/default",
        "inventory-service/default",
        "export-worker/default",
    ];
    while !kinds.is_empty() {
        let line = demo.until(&["unknown -> healthy"]);
        kinds.retain(|kind| !line.contains(kind));
    }
    assert!(pasted.len() >= 4, "{pasted:?}");
    for line in pasted {
        let ran = std::process::Command::new("sh").args(["-c", &line.replace("curl -s", "curl -fs")]).output();
        let ran = ran.expect("a shell");
        assert!(ran.status.success() && !ran.stdout.is_empty(), "{line}");
    }
}

#[test]
fn it_ends_by_itself_in_time() {
    let temporary = tempfile::tempdir().expect("a folder");
    let output = portolan().args(["demo", "--seconds", "1"]).env("TMPDIR", temporary.path()).output().expect("it runs");
    assert_eq!(ended(&output).0, 0, "{}", ended(&output).1);
    assert!(stdout(&output).contains("curl -s") && stdout(&output).ends_with("its folder is removed\n"));
    assert!(folders(temporary.path()).is_empty(), "nothing is left");
}

#[test]
fn a_used_port_is_refused() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let output = portolan().args(["demo", "--port", &port]).output().expect("it runs");
    let (code, said) = ended(&output);
    assert!(code == 1 && said.contains(&port) && said.contains("--port") && !said.contains("SERVER_PORT"), "{said}");
}
