//! How fast Portolan is, as ratios against minimal programs that do the same work, side by side in one run.
//!
//! `cargo bench --bench speed -- [discovery|probing|registrations|heartbeats|footprint|console|watchers|overload]… [--quick]`; without a name all eight run.
//! Every server is a separate process (this binary again, with `--role`), so its CPU time can be measured; the load also
//! comes from outside, from `wrk`. The figures are goals, not tests: nothing here fails because it is slow.

#![expect(clippy::print_stderr, reason = "its servers print their address")]

mod console;
mod discovery;
mod footprint;
mod heartbeats;
mod outside;
mod overload;
mod probing;
mod process;
mod pty;
mod registrations;
mod roles;
mod watchers;
mod without_store;
mod wrk;

use anyhow::{Result, bail};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long and how often to measure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Interleaved rounds; the median counts.
    pub(crate) rounds: usize,
    /// Seconds of load per round.
    pub(crate) seconds: u64,
    /// Services registered.
    pub(crate) services: usize,
    /// Seconds for which the prober is watched for leaks.
    pub(crate) watch_seconds: u64,
}

fn main() -> Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if args.first().is_some_and(|a| a == "--role") {
        return roles::run(&args[1..]);
    }
    let quick = args.iter().any(|a| a == "--quick");
    args.retain(|a| a != "--quick");
    let plan = if quick {
        Plan { rounds: 3, seconds: 2, services: 10_000, watch_seconds: 10 }
    } else {
        Plan { rounds: 7, seconds: 4, services: 10_000, watch_seconds: 120 }
    };
    let all = ["discovery", "probing", "registrations", "heartbeats", "footprint", "console", "watchers", "overload"];
    let all = all.map(str::to_owned);
    for name in if args.is_empty() { &all[..] } else { &args[..] } {
        match name.as_str() {
            "discovery" => discovery::run(plan)?,
            "probing" => probing::run(plan)?,
            "registrations" => registrations::run(plan)?,
            "heartbeats" => heartbeats::run(plan)?,
            "footprint" => footprint::run(plan)?,
            "console" => console::run(plan)?,
            "watchers" => watchers::run(plan)?,
            "overload" => overload::run(plan)?,
            other => bail!("no benchmark is called {other}; there are {}", all.join(", ")),
        }
    }
    Ok(())
}
