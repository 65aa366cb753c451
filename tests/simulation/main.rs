//! Portolan on simulated time, network and disk: the real engine, store and catalog run through hours in seconds, and each step is checked
//! against the rules of health. A seed decides everything; a seed that once broke a rule is in [`FAULTS`] and is run each time.
//!
//! `make simulate HOURS=1000` looks for more, `make simulate SEED=7 HOURS=4` shows one.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own says how its lives went")]

mod children;
mod life;
mod moment;
mod network;
mod observer;
mod past;
mod programs;
mod server;
mod spec;
mod truth;

use std::process::ExitCode;
use std::time::Duration;

/// Lives that broke a rule once: the seed, the hours, and what was wrong.
const FAULTS: &[(u64, u32, &str)] = &[
    (1061, 1, "the checker took what a second trouble of the disk kept from being written for stored"),
    (1141, 1, "the checker took what was heard while the disk refused, before a kill, for stored"),
];

/// Where a life's file is: in memory where the machine has such a place, since it is not power cuts that are tried here.
fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder")
}

/// Lives one life in this process and tells its end in one line.
fn one(seed: u64, hours: u32, aloud: bool) -> ExitCode {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    let length = Duration::from_hours(hours.into());
    let life = runtime.block_on(life::live(seed, length, aloud));
    println!(
        "{:.1} hours, {} probes, {} transitions, {} runs, digest {:016x}",
        life.hours, life.probes, life.transitions, life.runs, life.digest
    );
    let Some(broken) = life.broken else { return ExitCode::SUCCESS };
    println!("seed {seed} breaks a rule: {broken}\nbefore that:\n{}", life.last_lines);
    ExitCode::FAILURE
}

fn main() -> ExitCode {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let hours = number("SIMULATION_HOURS").and_then(|hours| u32::try_from(hours).ok());
    match number("SIMULATION_SEED") {
        Some(seed) => one(seed, hours.unwrap_or(1), std::env::var_os("SIMULATION_ALOUD").is_some()),
        None => children::all(hours),
    }
}
