//! Replicas as pods run them: the program itself, with the ServiceAccount's rights.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use control_plane::{Guarded, Kubeconfig};
use reqwest::Client;

use crate::PATIENCE;
use crate::environment::NAMESPACE;

/// Between two looks at what is timed.
const LOOK: Duration = Duration::from_millis(1);

/// How a replica is started.
pub(crate) struct Setup<'a> {
    pub(crate) name: &'a str,
    pub(crate) account: &'a Kubeconfig,
    /// Where its file and its log are.
    pub(crate) folder: &'a Path,
    /// Besides those that every replica has.
    pub(crate) settings: &'a [(&'a str, &'a str)],
}

/// A running replica; killed when it is dropped.
pub(crate) struct Replica {
    pub(crate) name: String,
    /// Where it answers.
    pub(crate) url: String,
    pub(crate) client: Client,
    process: Guarded,
}

impl Setup<'_> {
    /// Starts it and waits until it listens, ready or not.
    pub(crate) async fn start(self) -> Result<Replica> {
        let log = self.folder.join(format!("{}.log", self.name));
        // The address of one that was started again is in the new log.
        drop(std::fs::remove_file(&log));
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan"));
        command
            .arg("serve")
            .env("KUBECONFIG", self.account.path())
            .env("PORTOLAN_MODE", "cluster")
            .env("PORTOLAN_BIND_ADDRESS", "127.0.0.1")
            .env("SERVER_PORT", "0")
            .env("DB_PATH", self.folder.join(format!("{}.db", self.name)))
            // The backends are on loopback, which the prober of a cluster does not touch by itself.
            .env("PORTOLAN_PROBE_ALLOW", "127.0.0.0/8")
            .env("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0")
            .env("POD_NAME", self.name)
            .env("POD_NAMESPACE", NAMESPACE)
            .env("POD_IP", "127.0.0.1");
        command.envs(self.settings.iter().copied());
        let mut process = Guarded::start(&command, &log)?;
        let started = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log)?;
            let url = text.split("listening on ").nth(1).and_then(|rest| Some(rest.split_once(char::is_whitespace)?.0));
            if let Some(url) = url {
                let client = portolan::crypto::http_client().no_proxy().build()?;
                return Ok(Replica { name: self.name.to_owned(), url: url.to_owned(), client, process });
            }
            ensure!(!process.has_ended() && started.elapsed() < PATIENCE, "{} does not start: {text}", self.name);
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Replica {
    pub(crate) async fn until_ready(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            let answer = self.client.get(format!("{}/readyz", self.url)).send().await?;
            if answer.status().is_success() {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "{} does not become ready: {}", self.name, answer.text().await?);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Resident memory, in MB of 10^6 bytes.
    pub(crate) fn resident_mb(&self) -> Result<f64> {
        measure::resident_mb(self.process.pid())
    }

    /// What it uses over this time, as a percentage of one core.
    pub(crate) async fn cpu_percent(&self, over: Duration) -> Result<f64> {
        let (cpu, at) = (measure::cpu(self.process.pid())?, Instant::now());
        tokio::time::sleep(over).await;
        let used = measure::cpu(self.process.pid())?.saturating_sub(cpu);
        Ok(used.as_secs_f64() / at.elapsed().as_secs_f64() * 100.0)
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.process.kill()
    }

    /// SIGTERM, and its end.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.process.terminate()?;
        let started = Instant::now();
        while !self.process.has_ended() {
            ensure!(started.elapsed() < PATIENCE, "{} does not end", self.name);
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}
