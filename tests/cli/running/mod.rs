//! `portolan run` with real programs and real servers.

mod ending;
mod registry;
mod signals;

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::spawn;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use crate::common::{PATIENCE, Server, json, process, stderr};

/// Listens on a port (none for 0), prints the name of each signal that it gets, and does what its third argument says: `end` with code 3 at
/// the N-th SIGTERM (N is the second argument), `stay` for ever.
const PROGRAM: &str = r#"
import os, signal, socket, sys, time
port, ends_at = int(sys.argv[1]), int(sys.argv[2])
terms = 0
# Not print(), which a signal in the midst of another one refuses.
def say(line):
    os.write(1, (line + "\n").encode())
def heard(number, _):
    global terms
    say(signal.Signals(number).name)
    terms += number == signal.SIGTERM
    if terms == ends_at and number == signal.SIGTERM:
        sys.exit(3)
for name in ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2"):
    signal.signal(getattr(signal, "SIG" + name), heard)
if port:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
say("ready")
# Not signal.pause(), which sleeps on if a signal comes just before it.
while True:
    time.sleep(0.02)
"#;

/// Ends [`PROGRAM`] never.
const NEVER: u32 = 1000;

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// [`PROGRAM`] after `--`.
fn program(port: u16, ends_at: u32) -> Vec<String> {
    ["--", "python3", "-c", PROGRAM]
        .map(str::to_owned)
        .into_iter()
        .chain([port.to_string(), ends_at.to_string()])
        .collect()
}

/// A running `portolan run`. What is left of its process group is killed when it is dropped.
struct Run {
    child: Child,
    has_ended: bool,
    lines: Receiver<String>,
    notes: Receiver<String>,
}

impl Run {
    /// Keeps `a` registered at a server.
    fn start(url: &str, flags: &[&str], command: &[String]) -> Self {
        let mut run = process();
        run.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        run.args(["run", "--name", "a", "--server", url]).args(flags).args(command);
        Self::spawn(run)
    }

    fn spawn(mut command: Command) -> Self {
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let lines = each_line(child.stdout.take().expect("piped"));
        let notes = each_line(child.stderr.take().expect("piped"));
        Self { child, has_ended: false, lines, notes }
    }

    /// The next line of the program's.
    fn line(&self) -> String {
        let line = self.lines.recv_timeout(PATIENCE);
        line.unwrap_or_else(|error| panic!("{error}; on stderr: {:?}", rest(&self.notes)))
    }

    /// The next line on stderr that holds `wanted`.
    fn note(&self, wanted: &str) -> String {
        let mut seen = String::new();
        loop {
            let line =
                self.notes.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line with {wanted:?} in {seen}"));
            if line.contains(wanted) {
                return line;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is running");
    }

    fn code(&mut self) -> i32 {
        let status = self.child.wait().expect("it ends");
        // What it has left in the background; later another process could have its number.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        self.has_ended = true;
        status.code().expect("no signal ended it")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.has_ended {
            // The group may be gone.
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

fn each_line(out: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

/// The ignored signals of a line of a process's status, without the C library's own 32 and 33, which it lets every program that it starts ignore.
fn mask(line: &str) -> u64 {
    u64::from_str_radix(line.trim_start_matches("SigIgn:").trim(), 16).expect("a mask") & 0x7fff_ffff
}

/// The signals that these tests ignore, and so what they start: some under nohup, others in the background of a script.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find(|line| line.starts_with("SigIgn:")).map_or(0, mask);
    // Rust ignores SIGPIPE, and starts programs without that.
    ignored & !(1 << (Signal::PIPE.as_raw() - 1))
}

/// Waits until `a` is so at the server.
fn wait_for(server: &Server, state: &str) {
    let output = server.cli(&["wait", "a", "--for", state, "--timeout", "100s"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// The only instance of `a`.
fn instance(server: &Server) -> Value {
    let service = json(&server.cli(&["get", "a", "-o", "json"]));
    let instances = service["instances"].as_array().expect("instances");
    assert_eq!(instances.len(), 1, "{service}");
    instances[0].clone()
}

/// The reasons in the history of `a`, newest first.
fn reasons(server: &Server) -> Vec<String> {
    let history = json(&server.cli(&["history", "a", "-o", "json"]));
    let changes = history.as_array().expect("changes").iter();
    changes.map(|change| change["reason"].as_str().unwrap_or("removed").to_owned()).collect()
}

/// What still comes, for the message of a failed test.
fn rest(lines: &Receiver<String>) -> Vec<String> {
    std::iter::from_fn(|| lines.recv_timeout(Duration::from_secs(1)).ok()).collect()
}
