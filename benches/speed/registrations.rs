//! Registrations: 64 clients with distinct content, each registration durable before its reply, against the same API without a store.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use measure::median;
use serde_json::Value;
use tempfile::TempDir;

use crate::Plan;
use crate::process::Server;
use crate::wrk::{self, Round};

const CONNECTIONS: usize = 64;

/// Registers `count` services called `service-00000` and so on, probed at `targets` if given.
pub(crate) async fn fill(server: &str, count: usize, targets: Option<&str>) -> Result<()> {
    let bodies = (0..count).map(|i| {
        let mut body = serde_json::json!({
            "name": format!("service-{i:05}"),
            "version": "1.4.2",
            "base_url": "http://127.0.0.1:9",
            "metadata": {"team": "core"},
        });
        if let Some(url) = targets {
            body["health_url"] = crate::roles::target(url, i).into();
        }
        body
    });
    register_all(server, bodies).await?;
    Ok(())
}

/// Sends each of `bodies` as a registration, and returns the answers in the order in which they came.
pub(crate) async fn register_all(server: &str, bodies: impl Iterator<Item = Value>) -> Result<Vec<Value>> {
    let client = portolan::crypto::http_client().build().expect("a client");
    let calls = futures::stream::iter(bodies).map(|body| {
        let call = client.post(format!("{server}/api/v1/services/register")).json(&body).send();
        async move {
            let reply = call.await?;
            anyhow::ensure!(reply.status().is_success(), "registering failed: {}", reply.text().await?);
            anyhow::Ok(reply.json().await?)
        }
    });
    calls.buffer_unordered(CONNECTIONS).try_collect().await
}

/// A future's result, from outside a runtime.
pub(crate) fn now<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// The same, from outside a runtime.
pub(crate) fn fill_now(server: &Server, count: usize, targets: Option<&Server>) -> Result<()> {
    now(fill(&server.url, count, targets.map(|targets| &*targets.url)))
}

/// A server with `count` services, each probed every 10 s at its own target.
pub(crate) struct Probed {
    pub(crate) server: Server,
    /// Its file.
    pub(crate) db: PathBuf,
    /// Its targets.
    pub(crate) targets: Server,
    // Kept so that the folder stays.
    _folder: TempDir,
}

impl Probed {
    /// Its settings.
    pub(crate) const SETTINGS: [(&str, &str); 2] =
        [("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0"), ("HEALTH_CHECK_INTERVAL", "10")];

    /// Starts it and registers the services.
    pub(crate) fn start(count: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let db = folder.path().join("s.db");
        let targets = Server::role(&["targets"])?;
        let server = Server::portolan(&db, &Self::SETTINGS)?;
        fill_now(&server, count, Some(&targets))?;
        Ok(Self { server, db, targets, _folder: folder })
    }
}

/// Every request of every round registers a new name.
fn script(folder: &Path, round: &str) -> Result<PathBuf> {
    let path = folder.join(format!("register-{round}.lua"));
    let text = format!(
        r#"
local n = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  n = n + 1
  local name = string.format("{round}-%08d", n)
  return wrk.format(nil, "/api/v1/services/register", nil, string.format(
    '{{"name":"%s","version":"1.0.%d","description":"made for load","base_url":"http://10.1.%d.%d:8080","metadata":{{"team":"core"}}}}',
    name, n, math.floor(n / 250) % 250, n % 250))
end
{report}"#,
        report = wrk::REPORT
    );
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Runs the benchmark.
pub(crate) fn run(plan: Plan) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = [("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0"), ("PORTOLAN_MAX_INSTANCES", "1000000")];
    let bare = Server::role(&["register-without-store"])?;
    let mut rounds: Vec<[Round; 2]> = Vec::new();
    for n in 0..plan.rounds {
        // A fresh file for each round: the rate of a new server, not of one that has grown for minutes.
        let mut portolan = Server::portolan(&folder.path().join(format!("{n}.db")), &settings)?;
        let script = script(folder.path(), &format!("r{n}"))?;
        let stored = wrk::load(&portolan, &script, CONNECTIONS, plan.seconds)?;
        portolan.stop().context("stop the server of a round")?;
        rounds.push([stored, wrk::load(&bare, &script, CONNECTIONS, plan.seconds)?]);
    }
    let row = |name: &str, which: usize| {
        let m = |f: &dyn Fn(&[Round; 2]) -> f64| median(rounds.iter().map(f));
        vec![
            name.to_owned(),
            format!("{:.0}", m(&|r| r[which].per_second)),
            format!("{:.1}", m(&|r| r[which].cpu_us)),
            format!("{:.1}", m(&|r| r[which].p99_ms)),
            format!("{:.2}", m(&|r| r[0].per_second / r[which].per_second)),
        ]
    };
    let rows = [row("Portolan, durable before its reply", 0), row("the same API without a store", 1)];
    let head = ["server", "registrations/s", "CPU µs/registration", "p99 ms", "Portolan ÷ this"];
    measure::print("New registrations, 64 connections", &head, &rows);
    Ok(())
}
