//! Heartbeats of 10,000 instances over keep-alive connections, against a handler that returns the same bytes and headers from a constant, and
//! against r-nacos, whose clients send heartbeats over HTTP too, if `PORTOLAN_BENCH_RNACOS` names its program (`cargo install rnacos`).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use measure::median;
use serde_json::{Value, json};

use crate::process::Server;
use crate::registrations::{now, register_all};
use crate::wrk::{self, Round};
use crate::{Plan, outside};

mod rnacos;

const CONNECTIONS: usize = 64;
/// Instances of each service.
pub(crate) const PER_SERVICE: usize = 10;

/// Runs the benchmark.
pub(crate) fn run(plan: Plan) -> Result<()> {
    let folder = tempfile::tempdir()?;
    // The limit is on and checked, but high enough never to refuse.
    let settings = [("PORTOLAN_RATE_LIMIT_PER_MINUTE", "1000000000")];
    let portolan = Server::portolan(&folder.path().join("s.db"), &settings)?;
    let paths = lease(&portolan, plan.services)?;

    let (head, body) = outside::capture(folder.path(), "PUT", &format!("{}{}", portolan.url, paths[0]))?;
    let mut contenders = vec![
        ("Portolan: log, limit, metrics on", portolan, script(folder.path(), "portolan", &paths)?),
        (
            "bare hyper, constant",
            Server::role(&["hyper-constant", &head, &body])?,
            script(folder.path(), "hyper", &paths)?,
        ),
    ];
    if let Some(server) = rnacos::start(folder.path())? {
        let paths = rnacos::register(&server, plan.services)?;
        contenders.push(("r-nacos", server, script(folder.path(), "rnacos", &paths)?));
    }
    // Also the first heartbeat of each instance, which makes it healthy.
    for (_, server, script) in &contenders {
        wrk::load(server, script, CONNECTIONS, 1)?;
    }
    let before = revision(&contenders[0].1)?;
    report(&contenders.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), &rounds(plan, &contenders)?);
    anyhow::ensure!(revision(&contenders[0].1)? == before, "a heartbeat moved the revision");
    Ok(())
}

/// Registers instances with a lease, and returns the paths of their heartbeats.
fn lease(server: &Server, instances: usize) -> Result<Vec<String>> {
    let bodies = (0..instances).map(|i| {
        json!({
            "name": format!("service-{:05}", i / PER_SERVICE),
            "instance": format!("i{}", i % PER_SERVICE),
            "version": "1.4.2",
            "base_url": format!("http://10.1.{}.{}:8080", i / 250, i % 250),
            "ttl_seconds": 3600,
        })
    });
    // The answers do not say which instance they are about, but each service's last one names all of them.
    let answers = now(register_all(&server.url, bodies))?;
    let id = |answer: &Value| answer["data"]["id"].as_str().map(str::to_owned).context("an id");
    let mut ids = answers.iter().map(id).collect::<Result<Vec<_>>>()?;
    ids.sort();
    ids.dedup();
    let path = |id: &str, i: usize| format!("/api/v1/services/{id}/instances/i{i}/heartbeat");
    Ok(ids.iter().flat_map(|id| (0..PER_SERVICE).map(move |i| path(id, i))).collect())
}

/// The entity tag of all services, which holds the catalog's revision. No heartbeat may move it.
fn revision(server: &Server) -> Result<String> {
    let (head, _) = outside::fetch(&format!("{}/api/v1/services", server.url))?;
    let tag = head.lines().find(|line| line.to_ascii_lowercase().starts_with("etag:"));
    Ok(tag.context("an ETag")?.to_owned())
}

/// One heartbeat after the other, in a cache-unfriendly order.
fn script(folder: &Path, name: &str, paths: &[String]) -> Result<PathBuf> {
    let (list, script) = (folder.join(format!("{name}.paths")), folder.join(format!("{name}.lua")));
    std::fs::write(&list, paths.join("\n"))?;
    let text = format!(
        r#"
local requests, n = {{}}, 0
function init(args)
  for path in io.lines("{list}") do
    requests[#requests + 1] = wrk.format("PUT", path)
  end
end
function request()
  n = (n + 7919) % #requests
  return requests[n + 1]
end
{report}"#,
        list = list.display(),
        report = wrk::REPORT
    );
    std::fs::write(&script, text)?;
    Ok(script)
}

type Contender = (&'static str, Server, PathBuf);

/// Each server in turn, in an alternating order, so that none always gets the quieter moments.
fn rounds(plan: Plan, contenders: &[Contender]) -> Result<Vec<Vec<Round>>> {
    let mut rounds = vec![Vec::new(); contenders.len()];
    for n in 0..plan.rounds {
        for k in 0..contenders.len() {
            let which = (n + k) % contenders.len();
            let (_, server, script) = &contenders[which];
            rounds[which].push(wrk::load(server, script, CONNECTIONS, plan.seconds)?);
        }
    }
    Ok(rounds)
}

fn report(names: &[&str], rounds: &[Vec<Round>]) {
    let of = |which: usize, f: fn(&Round) -> f64| median(rounds[which].iter().map(f));
    let ratio =
        |which: usize| median(rounds[0].iter().zip(&rounds[which]).map(|(ours, its)| ours.per_second / its.per_second));
    let row = |(which, name): (usize, &&str)| {
        vec![
            (*name).to_owned(),
            format!("{:.0}", of(which, |r| r.per_second)),
            format!("{:.2}", of(which, |r| r.cpu_us)),
            format!("{:.2}", of(which, |r| r.p99_ms)),
            format!("{:.2}", ratio(which)),
        ]
    };
    let rows: Vec<_> = names.iter().enumerate().map(row).collect();
    let head = ["server", "heartbeats/s", "CPU µs/heartbeat", "p99 ms", "Portolan ÷ this"];
    measure::print("Heartbeats of 10,000 instances, 64 connections; goal: 50,000/s", &head, &rows);
}
