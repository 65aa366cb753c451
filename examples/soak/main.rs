//! `make soak MINUTES=60`: a real server under churn and faults for as long as you like. Prints a row of figures each minute, and finally a verdict:
//! whether memory and descriptors grow, whether each 5xx has a reason, and whether everything that was acknowledged is there.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

mod backends;
mod faults;
mod judge;
mod load;
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use judge::{Sample, slope};
use load::Load;
use server::Server;

/// Time between two readings of memory and descriptors.
const LOOK: Duration = Duration::from_secs(2);
/// After a start, caches fill for this long.
const WARMING: Duration = Duration::from_mins(2);
/// Shortest period over which growth is judged.
const LEAST: Duration = Duration::from_secs(150);
/// A value grows if it grows by more than this part of its mean in an hour.
const SHARE: f64 = 0.2;

#[tokio::main]
async fn main() -> Result<()> {
    let minutes = minutes()?;
    let folder = tempfile::tempdir()?;
    let server = Arc::new(Server::start(folder.path()).await?);
    let backends = Arc::new(backends::Backends::start(40).await?);
    let load = Arc::new(Load::new(Arc::clone(&server), Arc::clone(&backends))?);
    let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
    load::start(&load, &mut tasks, &stop);
    let length = Duration::from_mins(1) * minutes;
    // Restarts only in the first half, so that the last run is long enough to be judged.
    tasks.spawn(faults::cause(Arc::clone(&server), Arc::clone(&backends), length / 2, stop.clone()));
    let samples = watch(&server, &load, length).await?;
    stop.cancel();
    server.go_on();
    while let Some(ended) = tasks.join_next().await {
        ended.context("a part of the load panicked")?;
    }
    let mut faults = load.verify().await?;
    faults.extend(judge(&samples));
    if faults.is_empty() {
        println!("passed: nothing acknowledged was lost, every failure has a reason, and nothing grew");
        return Ok(());
    }
    let log = std::env::temp_dir().join("portolan-soak.log");
    std::fs::copy(server.log(), &log)?;
    bail!("not sound:\n- {}\nthe server's log: {}", faults.join("\n- "), log.display());
}

fn minutes() -> Result<u32> {
    let minutes = std::env::args().nth(1).unwrap_or_else(|| "10".to_owned());
    let minutes = minutes.parse().context("the only argument is a number of minutes")?;
    if minutes == 0 {
        bail!("give at least a minute")
    }
    Ok(minutes)
}

/// Takes a reading every two seconds and prints a row every minute.
async fn watch(server: &Server, load: &Load, length: Duration) -> Result<Vec<Sample>> {
    let (began, mut samples, mut reported) = (Instant::now(), Vec::new(), 0);
    println!("minute  requests  registered  watched  refused  unexplained  restarts  RSS MB  descriptors");
    while began.elapsed() < length {
        tokio::time::sleep(LOOK).await;
        if let Some((run, kilobytes, descriptors)) = server.size() {
            samples.push(Sample { run, at: began.elapsed(), kilobytes, descriptors });
        }
        let minute = began.elapsed().as_secs() / 60;
        if minute > reported {
            reported = minute;
            let (run, memory, descriptors) =
                samples.last().map_or((0, 0, 0), |sample| (sample.run, sample.kilobytes / 1024, sample.descriptors));
            println!("{minute:>6}  {}  {run:>8}  {memory:>6}  {descriptors:>11}", load.row());
        }
    }
    Ok(samples)
}

/// The slopes of the last run, after its caches have filled.
fn judge(samples: &[Sample]) -> Vec<String> {
    let last = samples.last().map_or(0, |sample| sample.run);
    let run: Vec<Sample> = samples.iter().copied().filter(|sample| sample.run == last).collect();
    let began = run.first().map_or(Duration::ZERO, |sample| sample.at);
    let warm_at = run.partition_point(|sample| sample.at < began + WARMING).max(run.len() / 3);
    let warm = run.get(warm_at..).unwrap_or_default();
    let mut faults = Vec::new();
    let span = warm.last().zip(warm.first()).map_or(Duration::ZERO, |(last, first)| last.at.saturating_sub(first.at));
    if span < LEAST {
        println!("growth cannot be judged: the last run was too short; use 10 minutes or more");
        return faults;
    }
    let mean = |of: fn(&Sample) -> f64| {
        warm.iter().map(of).sum::<f64>() / f64::from(u32::try_from(warm.len().max(1)).unwrap_or(1))
    };
    // In the observed period, memory may grow by the store's page caches, which fill with its file: 8 MiB, and 1 MiB for each reader.
    for (what, unit, of, least, noise) in [
        ("memory", "KiB", Sample::memory as fn(&Sample) -> f64, 4096.0, 12.0 * 1024.0),
        ("descriptors", "", Sample::open as fn(&Sample) -> f64, 50.0, 25.0),
    ] {
        let Some((an_hour, error)) = slope(warm, of) else { continue };
        let most = (mean(of) * SHARE).max(least);
        println!("{what}: {:.0} {unit} on average, {an_hour:+.0} ± {error:.0} an hour", mean(of));
        // Significant beyond twice its error, and more than noise over the observed period.
        let hours = span.as_secs_f64() / 3600.0;
        if an_hour - 2.0 * error > most && (an_hour - 2.0 * error) * hours > noise {
            faults.push(format!("{what} grows by {an_hour:.0} {unit} an hour"));
        }
    }
    faults
}
