//! How fast Portolan is as a Kubernetes operator, side by side with the least that a client of the same API server could do.
//!
//! `cargo bench --bench cluster -- [apply|death|objects|takeover|overload|publish|adopt]… [--quick]`; without a name all seven run. Each has a real etcd and
//! kube-apiserver to itself, without an audit log; Portolan runs as the pods do, a process of its own with the rights of its ServiceAccount.
//! The figures are goals, never a test: nothing here fails for being slow.

mod adopt;
mod apply;
mod backend;
mod bare;
mod death;
mod environment;
mod found;
mod objects;
mod overload;
mod publish;
mod replica;
mod slices;
mod takeover;

use std::time::Duration;

use anyhow::{Result, bail};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Longer than anything that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Objects applied one after the other.
    applied: usize,
    /// Backends that die.
    deaths: usize,
    /// Objects of the large cluster.
    objects: usize,
    /// Interleaved rounds of its cold sync; the median counts.
    rounds: usize,
    /// Rest before memory is read.
    rest: Duration,
    /// Time over which CPU is measured.
    steady: Duration,
    /// Leaders that are killed.
    takeovers: usize,
    /// Published services among which one changes, and how often one does.
    published: usize,
    transitions: usize,
    /// Slices of the large cluster.
    slices: usize,
}

const WHOLE: Plan = Plan {
    applied: 1000,
    deaths: 40,
    objects: 10_000,
    rounds: 7,
    rest: Duration::from_secs(20),
    steady: Duration::from_mins(1),
    takeovers: 5,
    published: 1000,
    transitions: 200,
    slices: 5000,
};
const QUICK: Plan = Plan {
    applied: 200,
    deaths: 10,
    objects: 10_000,
    rounds: 3,
    rest: Duration::from_secs(10),
    steady: Duration::from_secs(10),
    takeovers: 1,
    published: 200,
    transitions: 50,
    slices: 1000,
};

fn main() -> Result<()> {
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if args.first().is_some_and(|arg| arg == bare::ROLE) {
        return runtime.block_on(bare::list(&args[1..]));
    }
    let plan = if args.iter().any(|arg| arg == "--quick") { QUICK } else { WHOLE };
    args.retain(|arg| arg != "--quick");
    let all = ["apply", "death", "objects", "takeover", "overload", "publish", "adopt"].map(str::to_owned);
    for name in if args.is_empty() { &all[..] } else { &args[..] } {
        match name.as_str() {
            "apply" => runtime.block_on(apply::run(plan))?,
            "death" => runtime.block_on(death::run(plan))?,
            "objects" => runtime.block_on(objects::run(plan))?,
            "takeover" => runtime.block_on(takeover::run(plan))?,
            "overload" => runtime.block_on(overload::run(plan))?,
            "publish" => runtime.block_on(publish::run(plan))?,
            "adopt" => runtime.block_on(adopt::run(plan))?,
            other => bail!("no benchmark is called {other}; there are {}", all.join(", ")),
        }
    }
    Ok(())
}

/// For tables.
pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
