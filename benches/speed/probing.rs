//! The prober at saturation against a bare client with the same targets, its start lag at a moderate rate, and leaks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use measure::median;

use crate::Plan;
use crate::outside;
use crate::process::Server;
use crate::registrations::Probed;

/// Probes a second and CPU per probe over a period.
#[derive(Debug, Clone, Copy)]
struct Rate {
    per_second: f64,
    cpu_us: f64,
}

/// The text of `/metrics`.
pub(crate) fn metrics(server: &Server) -> Result<String> {
    Ok(String::from_utf8(outside::fetch(&format!("{}/metrics", server.url))?.1)?)
}

/// The sum of all series of a metric in `/metrics`.
pub(crate) fn sum(text: &str, series: &str) -> f64 {
    text.lines().filter(|l| l.starts_with(series)).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

const PROBES: &str = "portolan_probes_total";

fn measure(server: &Server, seconds: u64) -> Result<Rate> {
    let (count, cpu, at) = (sum(&metrics(server)?, PROBES), server.cpu()?, Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let probes = sum(&metrics(server)?, PROBES) - count;
    Ok(Rate {
        per_second: probes / at.elapsed().as_secs_f64(),
        cpu_us: server.cpu()?.saturating_sub(cpu).as_secs_f64() * 1e6 / probes,
    })
}

/// Runs the benchmark.
pub(crate) fn run(plan: Plan) -> Result<()> {
    let targets = Server::role(&["targets"])?;
    saturation(plan, &targets)?;
    calm(plan)
}

/// The two never run at the same time: each has the machine and the targets to itself.
fn saturation(plan: Plan, targets: &Server) -> Result<()> {
    let services = plan.services.to_string();
    let mut rounds = Vec::new();
    for _ in 0..plan.rounds.min(3) {
        let mut portolan = Server::role(&["prober", &targets.url, &services])?;
        std::thread::sleep(Duration::from_secs(2));
        let ours = measure(&portolan, plan.seconds)?;
        let text = metrics(&portolan)?;
        let passed = sum(&text, "portolan_probes_total{kind=\"http\",verdict=\"pass\"");
        if passed < sum(&text, PROBES) * 0.999 {
            let counts: Vec<_> = text.lines().filter(|l| l.starts_with(PROBES)).collect();
            bail!("targets failed, so the round means nothing:\n{}", counts.join("\n"));
        }
        portolan.stop()?;
        let mut bare = Server::role(&["bare-prober", &targets.url, &services])?;
        std::thread::sleep(Duration::from_secs(1));
        rounds.push((ours, measure(&bare, plan.seconds)?));
        bare.stop()?;
    }
    let m = |f: &dyn Fn(&(Rate, Rate)) -> f64| median(rounds.iter().map(f));
    let rows = [
        vec![
            "Portolan's prober".to_owned(),
            format!("{:.0}", m(&|r| r.0.per_second)),
            format!("{:.1}", m(&|r| r.0.cpu_us)),
            format!("{:.2}", m(&|r| r.0.cpu_us / r.1.cpu_us)),
        ],
        vec![
            "bare hyper client".to_owned(),
            format!("{:.0}", m(&|r| r.1.per_second)),
            format!("{:.1}", m(&|r| r.1.cpu_us)),
            "1.00".to_owned(),
        ],
    ];
    let head = ["prober", "probes/s", "CPU µs/probe", "CPU ÷ the bare client's"];
    measure::print("Probing 10,000 targets as fast as possible, with a new connection each", &head, &rows);
    Ok(())
}

/// 10,000 targets every 10 s.
fn calm(plan: Plan) -> Result<()> {
    let probed = Probed::start(plan.services)?;
    let server = &probed.server;
    std::thread::sleep(Duration::from_secs(10));
    let (before, waiting, resident) = (lag(server)?, outside::time_wait(&probed.targets.url), server.resident_mb()?);
    let rate = measure(server, plan.watch_seconds)?;
    let after = lag(server)?;
    let grown = outside::time_wait(&probed.targets.url).saturating_sub(waiting);
    let rows = [
        vec!["probes/s".to_owned(), format!("{:.0}", rate.per_second), String::new()],
        vec!["start lag p99".to_owned(), percentile(&before, &after, 0.99)?, "≤ 50 ms".to_owned()],
        vec!["CPU µs/probe".to_owned(), format!("{:.1}", rate.cpu_us), String::new()],
        vec!["own sockets in TIME_WAIT, growth".to_owned(), grown.to_string(), "none".to_owned()],
        vec![
            "resident memory, start and end".to_owned(),
            format!("{resident:.1} → {:.1} MB", server.resident_mb()?),
            "no growth".to_owned(),
        ],
    ];
    let title = format!("Probing 10,000 targets every 10 s for {} s", plan.watch_seconds);
    measure::print(&title, &["figure", "measured", "goal"], &rows);
    Ok(())
}

/// The lag histogram: upper bounds in seconds with cumulative counts.
fn lag(server: &Server) -> Result<Vec<(f64, f64)>> {
    let text = metrics(server)?;
    let prefix = "portolan_probe_schedule_lag_seconds_bucket{le=\"";
    let bucket = |line: &str| -> Option<(f64, f64)> {
        let (bound, count) = line.strip_prefix(prefix)?.split_once("\"} ")?;
        Some((bound.replace("+Inf", "inf").parse().ok()?, count.parse().ok()?))
    };
    Ok(text.lines().filter_map(bucket).collect())
}

/// The bucket that contains the percentile of what was added between two readings.
fn percentile(before: &[(f64, f64)], after: &[(f64, f64)], p: f64) -> Result<String> {
    let added: Vec<(f64, f64)> = after.iter().zip(before).map(|(a, b)| (a.0, a.1 - b.1)).collect();
    let total = added.last().context("a histogram")?.1;
    let bound = added.iter().find(|b| b.1 >= total * p).context("a bucket")?.0;
    Ok(format!("≤ {} ms", bound * 1e3))
}
