//! Programs of `examples/` as a test runs them: found by the lines that they print, asked over HTTP, and ended with the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::common::PATIENCE;

/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

/// A file or folder of `examples/`.
pub(crate) fn example(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples").join(path)
}

/// A running program. Dropped, it is asked to end what it started and itself; then its process group is killed.
pub(crate) struct Program {
    child: Child,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Program {
    /// Starts `command` in a process group of its own and reads what it prints.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let printed = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&printed);
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| kept.lock().expect("kept").push(line)));
        Self { child, printed }
    }

    /// What followed `wanted` in the newest line with it, as soon as there is one that `fits`.
    pub(crate) fn newest(&self, wanted: &str, fits: impl Fn(&str) -> bool) -> String {
        wait_for(&format!("a line with {wanted:?}"), || {
            let printed = self.printed.lock().expect("kept");
            let rest = printed.iter().rev().find_map(|line| line.split_once(wanted))?.1.trim();
            fits(rest).then(|| rest.to_owned())
        })
    }

    /// What followed `wanted` in the newest line with it, as soon as there is one.
    pub(crate) fn after(&self, wanted: &str) -> String {
        self.newest(wanted, |_| true)
    }

    /// Sends a signal to the program alone.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("it is running");
    }

    /// Asks it to end and waits, whether or not it has ended already.
    fn end(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::TERM);
            let until = Instant::now() + PATIENCE;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(POLL);
            }
        }
    }

    /// How it ended.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait_for("the program ends", || self.child.try_wait().expect("a child"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
        // The group may have ended already.
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Repeats `attempt` until it returns something.
pub(crate) fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(POLL);
    }
}

/// The body of a 200; `None` if nothing listens there or the answer is another one.
pub(crate) fn fetch(url: &str) -> Option<String> {
    let (address, target) = url.strip_prefix("http://")?.split_once('/')?;
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET /{target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    (head.split_whitespace().nth(1)? == "200").then(|| body.to_owned())
}
