//! The real binary, started on a free port and killed without warning.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

/// A service as the list shows it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) status: String,
}

pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start(db: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portolan"))
            .arg("serve")
            .env("SERVER_PORT", "0")
            .env("DB_PATH", db)
            .env("MAX_SERVICES", "0")
            .env("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0")
            .env("HEALTH_CHECK_INTERVAL", "1")
            .env("LOG_LEVEL", "info")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let stderr = child.stderr.take().expect("its stderr");
        let mut server = Self { child, url: String::new() };
        let mut lines = BufReader::new(stderr).lines();
        let mut seen = Vec::new();
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(url) = line.find("http://127.0.0.1:").map(|at| line[at..].to_owned()) {
                url.split_whitespace().next().expect("a word").clone_into(&mut server.url);
                std::thread::spawn(move || lines.for_each(drop));
                return server;
            }
            seen.push(line);
        }
        panic!("the server ended before it listened:\n{}", seen.join("\n"));
    }

    /// Every service by name.
    pub(crate) async fn services(&self, client: &reqwest::Client) -> BTreeMap<String, Found> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<Found>,
        }
        let reply = client.get(format!("{}/api/v1/services", self.url)).send().await.expect("the list is answered");
        let list: List = reply.json().await.expect("the list is JSON");
        list.data.into_iter().map(|found| (found.name.clone(), found)).collect()
    }

    /// Lets it run for `time`, then ends it as a power cut would.
    pub(crate) async fn kill_9_after(mut self, time: Duration) {
        tokio::time::sleep(time).await;
        self.child.kill().expect("SIGKILL is sent");
        self.child.wait().expect("it is gone");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failed test must not leave it behind; already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
