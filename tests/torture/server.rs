//! The real binary, started on a free port, and its end.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::shim::Shim;

/// A service as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) status: String,
    pub(crate) revision: u64,
}

pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    said: Arc<Mutex<Vec<String>>>,
}

/// It ended before it listened.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
}

impl Ended {
    /// By SIGKILL, rather than by itself.
    pub(crate) fn was_killed(&self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        self.status.signal() == Some(Signal::KILL.as_raw())
    }
}

impl Server {
    pub(crate) fn start(db: &Path) -> Self {
        Self::run(command(db)).unwrap_or_else(|ended| panic!("it ended before it listened: {ended:?}"))
    }

    /// With the library under it that may fail it or end it.
    pub(crate) fn over(shim: &Shim) -> Result<Self, Ended> {
        let mut command = command(&shim.db());
        shim.under(&mut command);
        Self::run(command)
    }

    fn run(mut command: Command) -> Result<Self, Ended> {
        let mut child = command.spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its stderr")).lines().map_while(Result::ok);
        let said = Arc::new(Mutex::new(Vec::new()));
        let mut server = Self { child, url: String::new(), said: Arc::clone(&said) };
        let keep = move |line: String| said.lock().expect("no panic").push(line);
        for line in lines.by_ref() {
            let url = line.find("http://127.0.0.1:").and_then(|at| line[at..].split_whitespace().next());
            let url = url.filter(|_| line.contains("listening on")).map(str::to_owned);
            keep(line);
            if let Some(url) = url {
                server.url = url;
                std::thread::spawn(move || lines.for_each(keep));
                return Ok(server);
            }
        }
        let status = server.child.wait().expect("it is gone");
        Err(Ended { status, said: server.said() })
    }

    /// What it wrote to its log until now.
    pub(crate) fn said(&self) -> String {
        self.said.lock().expect("no panic").join("\n")
    }

    /// Every service by name.
    pub(crate) async fn services(&self, client: &reqwest::Client) -> reqwest::Result<BTreeMap<String, Found>> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<Found>,
        }
        let list: List = client.get(format!("{}/api/v1/services", self.url)).send().await?.json().await?;
        Ok(list.data.into_iter().map(|found| (found.name.clone(), found)).collect())
    }

    /// Every service's description by name.
    pub(crate) async fn descriptions(&self, client: &reqwest::Client) -> reqwest::Result<BTreeMap<String, String>> {
        let list: serde_json::Value = client.get(format!("{}/api/v1/services", self.url)).send().await?.json().await?;
        let text = |service: &serde_json::Value, field: &str| service[field].as_str().expect("a text").to_owned();
        let all = list["data"].as_array().expect("a list");
        Ok(all.iter().map(|service| (text(service, "name"), text(service, "description"))).collect())
    }

    /// Lets it run for `time`, then ends it as `kill -9` does.
    pub(crate) async fn kill_9_after(mut self, time: Duration) {
        tokio::time::sleep(time).await;
        self.kill_9();
    }

    pub(crate) fn kill_9(&mut self) {
        self.child.kill().expect("SIGKILL is sent");
        self.child.wait().expect("it is gone");
    }

    /// Waits for its end, which something else brings.
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.child.wait().expect("it is gone")
    }

    /// SIGTERM, and waits until it is gone.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.end()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the signal is sent");
    }

    /// SIGSTOP, and waits until it stands still.
    pub(crate) fn pause(&self) {
        control_plane::pause(self.child.id()).expect("SIGSTOP");
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("an answer").is_none()
    }
}

fn command(db: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
    command
        .arg("serve")
        .env("SERVER_PORT", "0")
        .env("DB_PATH", db)
        .env("MAX_SERVICES", "0")
        .env("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0")
        .env("HEALTH_CHECK_INTERVAL", "1")
        .env("LOG_LEVEL", "info")
        .env_remove("PORTOLAN_TORTURE_SEED")
        .env_remove("PORTOLAN_TORTURE_ROUNDS")
        .env_remove("PORTOLAN_TORTURE_CASE")
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failed test must not leave it behind; already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server said:\n{}", self.said());
        }
    }
}
