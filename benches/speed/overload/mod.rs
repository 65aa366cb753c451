//! How fast clients are served while 10,000 targets are due each second: all healthy, all failing, all hanging.
//!
//! Two servers with the same services take turns: one probes each of them every second, the other has probed them once
//! and rests. While one is measured, the other is stopped, so each has the machine and the load to itself.

mod beat;
mod figures;
mod keys;
mod report;
mod side;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::Plan;
use crate::outside;
use crate::process::Server;
use figures::Figures;
use side::Side;

/// How long the overloaded server runs in its turn before it is measured.
const SETTLE: Duration = Duration::from_secs(3);
/// Longest wait until all targets have the expected health.
const CONVERGED: Duration = Duration::from_mins(3);
/// Nearly all: services that are being registered again wait for their next probe.
const ALMOST_ALL: f64 = 0.999;

/// What all targets do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    Healthy,
    Failing,
    Hanging,
}

impl Scenario {
    const ALL: [Self; 3] = [Self::Healthy, Self::Failing, Self::Hanging];

    /// The mode of the targets' process.
    fn mode(self) -> &'static str {
        match self {
            Self::Healthy => "ok",
            Self::Failing => "failing",
            Self::Hanging => "hanging",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Healthy => "all healthy",
            Self::Failing => "all answering 500",
            Self::Hanging => "all accepting and never answering",
        }
    }
}

/// One round: the resting server, the loaded one.
type Round = [Figures; 2];

/// Runs the benchmark.
pub(crate) fn run(plan: Plan) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let good = Server::role(&["targets"])?;
    // With a day between probes, it rests after the first ones.
    let calm = Side::start(&folder, "calm", plan.services, &good, "86400")?;
    for scenario in Scenario::ALL {
        let targets = Server::role(&["targets"])?;
        let (converged, rounds) = overloaded(plan, &folder, &calm, &targets, scenario)?;
        report::print(plan, scenario, converged, &rounds);
    }
    Ok(())
}

/// How many services got the expected health and how long that took; and the rounds.
fn overloaded(
    plan: Plan,
    folder: &TempDir,
    calm: &Side,
    targets: &Server,
    scenario: Scenario,
) -> Result<((f64, Duration), Vec<Round>)> {
    let busy = Side::start(folder, scenario.mode(), plan.services, targets, "1")?;
    converge(&busy, "healthy_services", plan.services)?;
    turn(targets, scenario)?;
    let wanted = if scenario == Scenario::Healthy { "healthy_services" } else { "unhealthy_services" };
    let converged = converge(&busy, wanted, plan.services)?;
    let mut rounds = Vec::new();
    for n in 0..plan.rounds.div_ceil(2) {
        let [mut first, mut second] = [None, None];
        // The order alternates.
        for side in [n % 2, (n + 1) % 2] {
            if side == 0 {
                busy.pause()?;
                first = Some(calm.measure(plan)?);
                busy.go_on()?;
                std::thread::sleep(SETTLE);
            } else {
                second = Some(busy.measure(plan)?);
            }
        }
        rounds.push([first.context("its turn")?, second.context("its turn")?]);
    }
    Ok((converged, rounds))
}

/// Makes all targets behave as in `scenario` from now on.
fn turn(targets: &Server, scenario: Scenario) -> Result<()> {
    outside::fetch(&format!("{}/mode/{}", targets.url, scenario.mode()))?;
    Ok(())
}

/// Waits until `field` of the statistics counts all services; how many it counts, and after what time.
fn converge(side: &Side, field: &str, services: usize) -> Result<(f64, Duration)> {
    let began = Instant::now();
    loop {
        let count = side.counted(field)?;
        #[expect(clippy::cast_precision_loss, reason = "ten thousand")]
        if count >= services as f64 * ALMOST_ALL || began.elapsed() > CONVERGED {
            return Ok((count, began.elapsed()));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
