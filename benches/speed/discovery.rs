//! Discovery by name over keep-alive connections, against handlers that return the same bytes and headers from a constant.

use std::path::Path;

use anyhow::Result;
use measure::median;

use crate::outside;
use crate::process::Server;
use crate::wrk::{self, Round};
use crate::{Plan, registrations};

const CONNECTIONS: usize = 64;

/// Requests one registered name after the other, in a cache-unfriendly order.
pub(crate) fn script(folder: &Path, services: usize) -> Result<std::path::PathBuf> {
    let path = folder.join("discover.lua");
    let text = format!(
        r#"
local paths, n = {{}}, 0
function init(args)
  for i = 0, {services} - 1 do
    paths[i] = wrk.format("GET", string.format("/api/v1/services/discover?name=service-%05d", i))
  end
end
function request()
  n = (n + 7919) % {services}
  return paths[n]
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
    // The rate limit is on and checked, but high enough never to refuse.
    let portolan = Server::portolan(&folder.path().join("s.db"), &[("PORTOLAN_RATE_LIMIT_PER_MINUTE", "1000000000")])?;
    registrations::fill_now(&portolan, plan.services, None)?;
    let url = format!("{}/api/v1/services/discover?name=service-00000", portolan.url);
    let (head, body) = outside::capture(folder.path(), "GET", &url)?;
    let axum = Server::role(&["axum-constant", &head, &body])?;
    let hyper = Server::role(&["hyper-constant", &head, &body])?;
    let script = script(folder.path(), plan.services)?;
    let mut rounds: Vec<[Round; 3]> = Vec::new();
    for server in [&portolan, &axum, &hyper] {
        wrk::load(server, &script, CONNECTIONS, 1)?;
    }
    for n in 0..plan.rounds {
        // The order alternates, so that no server always gets the quieter moments.
        let mut round = [None; 3];
        for k in 0..3 {
            let which = (n + k) % 3;
            round[which] = Some(wrk::load([&portolan, &axum, &hyper][which], &script, CONNECTIONS, plan.seconds)?);
        }
        rounds.push(round.map(|r| r.expect("each server had its turn")));
    }
    report(&rounds);
    Ok(())
}

fn report(rounds: &[[Round; 3]]) {
    let row = |name: &str, which: usize| {
        let m = |f: &dyn Fn(&[Round; 3]) -> f64| median(rounds.iter().map(f));
        vec![
            name.to_owned(),
            format!("{:.0}", m(&|r| r[which].per_second)),
            format!("{:.2}", m(&|r| r[which].cpu_us)),
            format!("{:.2}", m(&|r| r[which].p99_ms)),
            format!("{:.2}", m(&|r| r[0].per_second / r[which].per_second)),
            format!("{:.2}", m(&|r| r[0].cpu_us / r[which].cpu_us)),
        ]
    };
    let rows = [row("Portolan: log, limit, metrics on", 0), row("axum, constant", 1), row("bare hyper, constant", 2)];
    let head =
        ["server", "requests/s", "CPU µs/request", "p99 ms", "requests/s, Portolan ÷ this", "CPU, Portolan ÷ this"];
    measure::print("Discovery by name, 10,000 services, 64 connections", &head, &rows);
}
