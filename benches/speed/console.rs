//! The console in a real pseudo-terminal with 10,000 services: its first frames, its keys during changes, its memory, its idle cost.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::StreamExt;
use measure::{cpu, median, percentile, resident_mb};

use crate::Plan;
use crate::probing::{metrics, sum};
use crate::process::{Server, program};
use crate::pty::Pty;
use crate::registrations::Probed;

pub(crate) const SIZE: (u16, u16) = (120, 40);
/// Changes a second that a reader sees while keys are pressed.
const CHANGES: u64 = 500;
/// Time between two keys: about the repeat rate of a held key, and not a multiple of the frame time.
const KEY_EVERY: Duration = Duration::from_millis(37);

/// Runs the benchmark.
pub(crate) fn run(plan: Plan) -> Result<()> {
    let probed = Probed::start(plan.services)?;
    let server = &probed.server;
    // Every service has been probed once, so the order of the list is settled.
    std::thread::sleep(Duration::from_secs(12));
    let api = ["--server".to_owned(), server.url.clone()];
    let file = ["--file".to_owned(), probed.db.to_string_lossy().into_owned()];
    let mut rows = Vec::new();
    rows.extend(starts(plan, &api, "API", 300)?);
    rows.extend(starts(plan, &file, "file", 150)?.into_iter().skip(1));
    rows.extend(keys(plan, server, &api)?);
    rows.extend(rest(plan, server, &api)?);
    measure::print("The console over 10,000 services, 120x40", &["figure", "measured", "goal"], &rows);
    Ok(())
}

pub(crate) fn console(arguments: &[String]) -> Command {
    let mut command = Command::new(program());
    command.arg("console").args(arguments);
    command
}

pub(crate) fn has_rows(screen: &vt100::Screen) -> bool {
    screen.contents().contains("service-0")
}

/// Time until something is painted, and until services are shown.
fn starts(plan: Plan, source: &[String], name: &str, goal: u32) -> Result<[Vec<String>; 2]> {
    let (mut paints, mut rows) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let pty = Pty::start(&console(source), SIZE)?;
        let paint = pty.since_start("a first frame", |screen| screen.contents().contains("Portolan"))?;
        paints.push(paint.as_secs_f64() * 1e3);
        rows.push(pty.since_start("the first rows", has_rows)?.as_secs_f64() * 1e3);
    }
    Ok([
        vec!["start to first paint, median".to_owned(), format!("{:.0} ms", median(paints)), "≤ 30 ms".to_owned()],
        vec![
            format!("start to first rows from the {name}, median"),
            format!("{:.0} ms", median(rows)),
            format!("≤ {goal} ms"),
        ],
    ])
}

/// Key to frame while services change.
fn keys(plan: Plan, server: &Server, source: &[String]) -> Result<[Vec<String>; 3]> {
    let mut pty = Pty::start(&console(source), SIZE)?;
    pty.wait("the first rows", has_rows)?;
    pty.press("2")?;
    pty.wait("the table", |screen| chosen(screen).is_some() && screen.contents().contains("services"))?;
    let changes = Changes::start(&server.url)?;
    std::thread::sleep(Duration::from_secs(2));
    let (before, at) = (changes.made(), Instant::now());
    let mut took = Vec::new();
    for n in 0..plan.seconds * 100 {
        let row = pty.look(chosen).context("a chosen row")?;
        let (key, wanted) = if n % 2 == 0 { ("j", row + 1) } else { ("k", row - 1) };
        let pressed = pty.press(key)?;
        let seen = pty.wait("the next row", |screen| chosen(screen) == Some(wanted))?;
        took.push((seen - pressed).as_secs_f64() * 1e3);
        std::thread::sleep(KEY_EVERY);
    }
    let rate = f64::from(changes.made() - before) / at.elapsed().as_secs_f64();
    changes.stop();
    let (p50, p99) = (percentile(took.iter().copied(), 50), percentile(took.iter().copied(), 99));
    let resident = resident_mb(pty.pid()?)?;
    Ok([
        vec!["changes a second while keys are pressed".to_owned(), format!("{rate:.0}"), CHANGES.to_string()],
        vec!["key to frame, p50 and p99".to_owned(), format!("{p50:.1} and {p99:.1} ms"), "p99 ≤ 5 ms".to_owned()],
        vec!["resident memory".to_owned(), format!("{resident:.0} MB"), "≤ 40 MB".to_owned()],
    ])
}

/// The position of the reversed row.
pub(crate) fn chosen(screen: &vt100::Screen) -> Option<u16> {
    (0..SIZE.1).find(|row| screen.cell(*row, 20).is_some_and(vt100::Cell::inverse))
}

/// Nothing changes: targets are probed every 10 s and ages advance, but the help page stays the same.
fn rest(plan: Plan, server: &Server, source: &[String]) -> Result<[Vec<String>; 3]> {
    let mut pty = Pty::start(&console(source), SIZE)?;
    pty.wait("the first rows", has_rows)?;
    std::thread::sleep(Duration::from_secs(3));
    let (pid, span) = (pty.pid()?, Duration::from_secs(plan.watch_seconds.div_ceil(2)));
    let lists = || anyhow::Ok(sum(&metrics(server)?, LISTS));
    let (used, listed) = (cpu(pid)?, lists()?);
    std::thread::sleep(span);
    let percent = cpu(pid)?.saturating_sub(used).as_secs_f64() / span.as_secs_f64() * 100.0;
    let listed = lists()? - listed;
    pty.press("?")?;
    std::thread::sleep(Duration::from_secs(2));
    let bytes = pty.bytes();
    std::thread::sleep(Duration::from_secs(5));
    let bytes = pty.bytes() - bytes;
    Ok([
        vec![
            format!("CPU while idle, over {} s", span.as_secs()),
            format!("{percent:.2} % of a core"),
            "≤ 0.2 %".to_owned(),
        ],
        vec!["list requests meanwhile".to_owned(), format!("{listed:.0}"), "0".to_owned()],
        vec!["bytes written in 5 s without a change".to_owned(), bytes.to_string(), "0".to_owned()],
    ])
}

const LISTS: &str = "portolan_http_requests_total{route=\"/api/v1/services\"";

/// Registers services with another version, over and over, until stopped.
struct Changes {
    made: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Changes {
    fn start(server: &str) -> Result<Self> {
        let (made, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end, url) = (Arc::clone(&made), Arc::clone(&stop), format!("{server}/api/v1/services/register"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let known = runtime.block_on(known(server))?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let client = portolan::crypto::http_client().build().expect("a client");
                // Catches up after a delay.
                let every = tokio::time::interval(Duration::from_micros(1_000_000 / CHANGES));
                let ticks = futures::stream::unfold((0_usize, every), |(n, mut every)| async move {
                    every.tick().await;
                    Some((n, (n + 1, every)))
                });
                let until = ticks.take_while(|_| std::future::ready(!end.load(Ordering::Relaxed)));
                let calls = until.map(|n| {
                    let mut body = known[n * 7919 % known.len()].clone();
                    body["version"] = format!("1.5.{n}").into();
                    client.post(&url).json(&body).send()
                });
                let made = calls
                    .buffer_unordered(8)
                    .filter(|reply| std::future::ready(reply.as_ref().is_ok_and(|reply| reply.status().is_success())));
                made.for_each(|_| {
                    count.fetch_add(1, Ordering::Relaxed);
                    std::future::ready(())
                })
                .await;
            });
        });
        Ok(Self { made, stop, thread })
    }

    fn made(&self) -> u32 {
        self.made.load(Ordering::Relaxed)
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        // If a thread panicked, the rate of changes shows it.
        let _ = self.thread.join();
    }
}

/// The registered services, in the form of registrations.
async fn known(server: &str) -> Result<Vec<serde_json::Value>> {
    let list: serde_json::Value =
        portolan::crypto::http_client().build()?.get(format!("{server}/api/v1/services")).send().await?.json().await?;
    let all = list["data"].as_array().context("a list")?;
    let again = |service: &serde_json::Value| {
        let field = |name: &str| service[name].clone();
        serde_json::json!({
            "name": field("name"),
            "base_url": field("base_url"),
            "health_url": field("health_url"),
            "metadata": field("metadata"),
        })
    };
    Ok(all.iter().map(again).collect())
}
