//! A server under measurement and its load.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use measure::{median, percentile};
use rustix::process::Signal;
use tempfile::TempDir;

use super::beat::Beat;
use super::figures::{Figures, Loaded};
use super::keys;
use crate::probing::{metrics, sum};
use crate::process::Server;
use crate::registrations::fill_now;
use crate::roles::TARGET_HOSTS;
use crate::wrk;
use crate::{Plan, discovery, outside};

const PROBES: &str = "portolan_probes_total";

pub(super) struct Side {
    server: Server,
    folder: PathBuf,
    services: usize,
    /// The port of the targets, which a repeated registration must name.
    port: String,
    turns: AtomicUsize,
}

impl Side {
    /// A server with `services`, each probed at its own target every `interval` seconds.
    pub(super) fn start(
        folder: &TempDir,
        name: &str,
        services: usize,
        targets: &Server,
        interval: &str,
    ) -> Result<Self> {
        let settings = [("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0"), ("HEALTH_CHECK_INTERVAL", interval)];
        let server = Server::portolan(&folder.path().join(format!("{name}.db")), &settings)?;
        fill_now(&server, services, Some(targets))?;
        let port = targets.url.rsplit_once(':').context("a port")?.1.to_owned();
        Ok(Self { server, folder: folder.path().to_owned(), services, port, turns: AtomicUsize::new(0) })
    }

    pub(super) fn pause(&self) -> Result<()> {
        self.server.signal(Signal::STOP)
    }

    pub(super) fn go_on(&self) -> Result<()> {
        self.server.signal(Signal::CONT)
    }

    /// A field of `/api/v1/services/stats`.
    pub(super) fn counted(&self, field: &str) -> Result<f64> {
        let stats = outside::fetch(&format!("{}/api/v1/services/stats", self.server.url))?.1;
        let stats: serde_json::Value = serde_json::from_slice(&stats)?;
        stats["data"][field].as_f64().with_context(|| format!("no {field}: {stats}"))
    }

    /// Runs its turn.
    pub(super) fn measure(&self, plan: Plan) -> Result<Figures> {
        let beat = Beat::start(&self.server.url)?;
        let (alone, probes) = self.probes(|| {
            std::thread::sleep(Duration::from_secs(plan.seconds));
            Ok(beat.delays())
        })?;
        let discover = discovery::script(&self.folder, self.services)?;
        let load = |script: &PathBuf, clients| -> Result<Loaded> {
            let (round, probes) = self.probes(|| wrk::attempt(&self.server, script, clients, plan.seconds))?;
            Ok(Loaded { round, probes })
        };
        let [one, many] = [self.changing()?, self.changing()?];
        let loads = [load(&discover, 1)?, load(&discover, 32)?, load(&one, 1)?, load(&many, 64)?];
        let pressed = keys::press(&self.server.url, plan.seconds * 20)?;
        let all = beat.stop()?;
        Ok(Figures {
            probes,
            loads,
            change_p50: median(alone.iter().copied()),
            change_worst: percentile(alone, 100),
            key_p50: percentile(pressed.iter().copied(), 50),
            key_p99: percentile(pressed, 99),
            behind: percentile(all, 100),
        })
    }

    /// The result of `work`, and the probes a second meanwhile.
    fn probes<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
        let (before, at) = (sum(&metrics(&self.server)?, PROBES), Instant::now());
        let given = work()?;
        let took = at.elapsed().as_secs_f64();
        Ok((given, (sum(&metrics(&self.server)?, PROBES) - before) / took))
    }

    /// Registers known services again, each time with another version: a durable write without a new target.
    fn changing(&self) -> Result<PathBuf> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("change-{}-{turn}.lua", self.port));
        let text = format!(
            r#"
local n = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  n = n + 1
  local i = n * 7919 % {services}
  return wrk.format(nil, "/api/v1/services/register", nil, string.format(
    '{{"name":"service-%05d","version":"2.{turn}.%d","base_url":"http://127.0.0.1:9","health_url":"http://127.0.0.%d:{port}/health/%d","metadata":{{"team":"core"}}}}',
    i, n, i % {hosts} + 1, i))
end
{report}"#,
            services = self.services,
            port = self.port,
            hosts = TARGET_HOSTS,
            report = wrk::REPORT
        );
        std::fs::write(&path, text)?;
        Ok(path)
    }
}
