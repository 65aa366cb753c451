//! Lives as processes of their own, each with randomness preloaded from its seed.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::FAULTS;

/// Lives at once.
const AT_ONCE: usize = 2;
/// Hours of one life, and where no hours are asked for.
const HOURS: u32 = 2;
const SHORT: u32 = 1;
/// Time for fresh seeds where no hours are asked for: those that began in it are brought to their end.
const TIME: Duration = Duration::from_secs(10);
/// A life that takes this long hangs.
const DEADLINE: Duration = Duration::from_mins(5);

/// The library that answers for the system; none where it cannot be made, and then a seed decides all but the order of what happens
/// at one moment.
fn seeded() -> Option<PathBuf> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let library = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("seeded.so");
    let partial = library.with_extension(std::process::id().to_string());
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simulation/seeded.c");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&partial).args([source, "-ldl"]).status();
    let made = made.is_ok_and(|status| status.success()) && std::fs::rename(&partial, &library).is_ok();
    made.then_some(library)
}

fn child(library: Option<&PathBuf>, seed: u64, hours: u32) -> Output {
    let mut command = Command::new("timeout");
    command.arg(DEADLINE.as_secs().to_string()).arg(std::env::current_exe().expect("this program"));
    command.env("SIMULATION_SEED", seed.to_string()).env("SIMULATION_HOURS", hours.to_string());
    if let Some(library) = library {
        command.env("LD_PRELOAD", library);
    }
    command.output().expect("a life begins")
}

struct Report {
    failed: bool,
    hours: f64,
    lives: u32,
    text: String,
}

fn read(output: &Output, seed: u64, what: &str) -> Report {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let hours = text.split_once(" hours").and_then(|(hours, _)| hours.parse().ok()).unwrap_or_default();
    let failed = !output.status.success();
    let errors = String::from_utf8_lossy(&output.stderr);
    Report {
        failed,
        hours,
        lives: 1,
        text: if failed { format!("seed {seed} {what}: {}\n{text}{errors}", output.status) } else { text },
    }
}

/// Known faults, one life twice, and fresh seeds: for so many hours of simulated time, or else for a while.
pub(crate) fn all(hours: Option<u32>) -> ExitCode {
    // `cargo test NAME` runs what is called so.
    let names: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    if !names.is_empty() && !names.iter().any(|name| "simulation".contains(name.as_str())) {
        println!("test result: ok. 0 passed; 0 failed");
        return ExitCode::SUCCESS;
    }
    let library = seeded();
    let library = library.as_ref();
    let mut reports: Vec<Report> =
        FAULTS.iter().map(|(seed, hours, what)| read(&child(library, *seed, *hours), *seed, what)).collect();
    if library.is_some() {
        reports.push(twice(library));
    }
    reports.extend(fresh(library, hours));
    let failed = reports.iter().filter(|report| report.failed).count();
    for report in reports.iter().filter(|report| report.failed) {
        println!("{}", report.text);
    }
    let (hours, lives) = (reports.iter().map(|r| r.hours).sum::<f64>(), reports.iter().map(|r| r.lives).sum::<u32>());
    println!("simulated {hours:.0} hours in {lives} lives");
    println!(
        "test result: {}. {} passed; {failed} failed",
        if failed == 0 { "ok" } else { "FAILED" },
        reports.len() - failed
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One seed is one story.
fn twice(library: Option<&PathBuf>) -> Report {
    let live = || read(&child(library, 1, 1), 1, "lived twice");
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(live);
        (live(), other.join().expect("no panic"))
    });
    let differs = first.text != second.text;
    Report {
        failed: first.failed || differs,
        hours: first.hours + second.hours,
        lives: 2,
        text: format!("seed 1 twice:\n{}{}", first.text, second.text),
    }
}

fn fresh(library: Option<&PathBuf>, hours: Option<u32>) -> Vec<Report> {
    let began = Instant::now();
    let first = hours.map_or_else(|| rand::random_range(0..1 << 40), |_| 1000);
    let (next, reports) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let wanted = hours.map(|hours| u64::from(hours.div_ceil(HOURS)));
    let length = hours.map_or(SHORT, |_| HOURS);
    let more = |place: u64| wanted.map_or_else(|| began.elapsed() < TIME, |wanted| place < wanted);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if !more(place) {
                        return;
                    }
                    let seed = first + place;
                    let report = read(&child(library, seed, length), seed, "of fresh ones");
                    reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                }
            });
        }
    });
    reports.into_inner().unwrap_or_else(PoisonError::into_inner)
}
