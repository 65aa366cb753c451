//! A replica of Portolan, as a pod would run it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use control_plane::{ControlPlane, Guarded, Kubeconfig};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running replica.
pub(crate) struct Replica {
    pub(crate) name: String,
    /// Where it answers.
    pub(crate) url: String,
    process: Guarded,
}

/// The program that `cargo` built beside this example.
pub(crate) fn program() -> Result<PathBuf> {
    let here = std::env::current_exe().context("where is this program?")?;
    let folder = here.parent().and_then(|examples| examples.parent()).context("no folder above this program")?;
    let program = folder.join("portolan");
    if !program.is_file() {
        bail!("{} does not exist: run `cargo build`, or `make demo-cluster`, which does", program.display());
    }
    Ok(program)
}

impl Replica {
    /// Starts the replica `name` and waits until it listens.
    pub(crate) async fn start(plane: &ControlPlane, account: &Kubeconfig, secret: &str, name: &str) -> Result<Self> {
        let log = plane.folder().join(format!("{name}.log"));
        // A restarted one has a new log to be found in.
        if log.exists() {
            std::fs::rename(&log, log.with_extension("old.log"))?;
        }
        let mut command = Command::new(program()?);
        command
            .arg("serve")
            .env("KUBECONFIG", account.path())
            .env("PORTOLAN_MODE", "cluster")
            .env("ENABLE_AUTH", "true")
            .env("JWT_SECRET", secret)
            .env("PORTOLAN_BIND_ADDRESS", "127.0.0.1")
            .env("SERVER_PORT", "0")
            .env("DB_PATH", plane.folder().join(format!("{name}.db")))
            // The backends are on loopback, which the prober of a cluster does not touch by itself.
            .env("PORTOLAN_PROBE_ALLOW", "127.0.0.0/8")
            .env("POD_NAME", name)
            .env("POD_NAMESPACE", "portolan")
            .env("POD_IP", "127.0.0.1");
        let mut process = Guarded::start(&command, &log)?;
        let started = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let url = text.split("listening on ").nth(1).and_then(|rest| rest.split_whitespace().next());
            if let Some(url) = url {
                return Ok(Self { name: name.to_owned(), url: url.to_owned(), process });
            }
            if process.has_ended() || started.elapsed() > PATIENCE {
                bail!("{name} does not start: {text}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }
}
