//! What runs in a pod, on this machine; and what a program prints.

use std::process::{Command, Stdio};
use std::time::Duration;

use control_plane::Guarded;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::sync::replica::until;

pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef-for-tests";
/// Time for anything that must happen.
const AMPLE: Duration = Duration::from_mins(3);

/// A `portolan serve` of its own record; killed when it is dropped.
pub(super) struct Server {
    process: Guarded,
    address: String,
    _folder: TempDir,
}

impl Server {
    pub(super) async fn start(env: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command.arg("serve").env("SERVER_PORT", "0").env("DB_PATH", folder.path().join("services.db"));
        command.envs(env.iter().copied());
        let mut process = Guarded::start(&command, &log).expect("it starts");
        let mut address = None;
        until("it listens", async || {
            let text = std::fs::read_to_string(&log).expect("a log");
            assert!(!process.has_ended(), "it ended: {text}");
            let said = text.split("listening on http://").nth(1);
            address = said.and_then(|rest| Some(rest.split_whitespace().next()?.to_owned()));
            address.is_some()
        })
        .await;
        Self { process, address: address.expect("found"), _folder: folder }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    /// Registers a service of that name, straight at it.
    pub(super) async fn register(&self, name: &str) {
        let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_portolan"));
        let url = format!("http://{}", self.address);
        program.args(["register", "--name", name, "--base-url", "http://10.0.0.5:80", "--server", &url]).env_clear();
        let output = program.output().await.expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(super) fn kill(&mut self) {
        self.process.kill().expect("SIGKILL");
    }
}

/// A program that goes on, and its lines.
pub(super) struct Running {
    pub(super) child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(super) fn start(mut command: tokio::process::Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// Waits for a line with that in it.
    pub(super) async fn until(&mut self, expected: &str) {
        let mut seen = Vec::new();
        let found = async {
            while let Some(line) = self.lines.next_line().await.expect("a line") {
                seen.push(line);
                if seen.last().is_some_and(|line| line.contains(expected)) {
                    return true;
                }
            }
            false
        };
        let found = timeout(AMPLE, found).await;
        assert!(matches!(found, Ok(true)), "{expected} did not come ({found:?}): {seen:#?}");
    }
}
