//! The load generator: `wrk` with one thread and a Lua script that selects the requests.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::Server;

/// The result of one round of load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// Requests answered a second.
    pub(crate) per_second: f64,
    /// Server CPU per request, in microseconds.
    pub(crate) cpu_us: f64,
    /// Median latency, in milliseconds.
    pub(crate) p50_ms: f64,
    /// 99th percentile of the latency, in milliseconds.
    pub(crate) p99_ms: f64,
    /// Requests that failed.
    pub(crate) errors: f64,
}

/// Prints its totals in one line that is easy to parse.
pub(crate) const REPORT: &str = r#"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("REPORT %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50.0), latency:percentile(99.0),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

/// Loads `server` with `connections` for `seconds`. A failed request invalidates the round.
pub(crate) fn load(server: &Server, script: &Path, connections: usize, seconds: u64) -> Result<Round> {
    let round = attempt(server, script, connections, seconds)?;
    if round.errors > 0.0 {
        bail!("{} requests failed, so the round means nothing", round.errors);
    }
    Ok(round)
}

/// The same, but failed requests are counted.
pub(crate) fn attempt(server: &Server, script: &Path, connections: usize, seconds: u64) -> Result<Round> {
    let before = server.cpu()?;
    let out = Command::new("wrk")
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--latency", "-s"])
        .arg(script)
        .arg(&server.url)
        .output()
        .context("wrk is needed to make load: apt-get install wrk")?;
    let cpu = server.cpu()?.saturating_sub(before);
    let text = String::from_utf8_lossy(&out.stdout);
    let line = text.lines().find_map(|l| l.strip_prefix("REPORT ")).with_context(|| format!("wrk failed: {text}"))?;
    let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [requests, micros, p50, p99, errors] = numbers[..] else { bail!("an odd report: {line}") };
    if requests == 0.0 {
        bail!("no request was answered, so the round means nothing");
    }
    Ok(Round {
        per_second: requests / (micros / 1e6),
        cpu_us: cpu.as_secs_f64() * 1e6 / requests,
        p50_ms: p50 / 1e3,
        p99_ms: p99 / 1e3,
        errors,
    })
}
