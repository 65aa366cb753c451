//! What 10,000 objects cost: the first list, memory under probing, and CPU while nothing happens.

use std::time::Instant;

use anyhow::Result;
use measure::median;
use tokio::sync::mpsc;

use crate::backend::Backend;
use crate::bare;
use crate::environment::Environment;
use crate::{Plan, milliseconds};

/// Seconds between probes: what they are unless a manifest or a setting says otherwise.
const INTERVAL: u64 = 30;

/// Of replicas that stay.
struct Measured {
    /// The leader's memory after its start without a file, when all is written.
    first_mb: f64,
    /// And after its start from that file.
    again_mb: f64,
    from_file_ms: f64,
    follower_mb: f64,
    /// Of one core.
    follower_percent: f64,
}

/// Milliseconds from the start of a process.
struct Round {
    bare: f64,
    portolan: f64,
}

/// Runs it.
pub(crate) async fn run(plan: Plan) -> Result<()> {
    let environment = Environment::start().await?;
    let (probes, _) = mpsc::unbounded_channel();
    let backend = Backend::start(probes).await?;
    environment.fill(plan.objects, || backend.spec(INTERVAL)).await?;
    let measured = measured(plan, &environment).await?;
    let mut rounds = Vec::new();
    for n in 0..plan.rounds {
        // Who goes first changes, so that neither always meets the quieter machine.
        rounds.push(if n % 2 == 0 {
            let bare = bare_ms(plan, &environment).await?;
            Round { bare, portolan: cold_ms(&environment, n).await? }
        } else {
            let portolan = cold_ms(&environment, n).await?;
            Round { bare: bare_ms(plan, &environment).await?, portolan }
        });
    }
    report(plan, &measured, &rounds);
    Ok(())
}

async fn measured(plan: Plan, environment: &Environment) -> Result<Measured> {
    let leader = environment.replica("leader").await?;
    environment.until_state(plan.objects, "Healthy").await?;
    tokio::time::sleep(plan.rest).await;
    let first_mb = leader.resident_mb()?;
    leader.stop().await?;

    let (leader, from_file_ms) = environment.leader_again().await?;
    let follower = environment.replica("follower").await?;
    follower.until_ready().await?;
    tokio::time::sleep(plan.rest).await;
    let follower_percent = follower.cpu_percent(plan.steady).await?;
    let (again_mb, follower_mb) = (leader.resident_mb()?, follower.resident_mb()?);
    follower.stop().await?;
    leader.stop().await?;
    Ok(Measured { first_mb, again_mb, from_file_ms, follower_mb, follower_percent })
}

async fn bare_ms(plan: Plan, environment: &Environment) -> Result<f64> {
    Ok(milliseconds(bare::time_of_list(environment.admin(), plan.objects).await?))
}

/// From the start of a replica without a file until it is ready.
async fn cold_ms(environment: &Environment, round: usize) -> Result<f64> {
    let started = Instant::now();
    let replica = environment.replica(&format!("cold-{round}")).await?;
    replica.until_ready().await?;
    let took = started.elapsed();
    replica.stop().await?;
    Ok(milliseconds(took))
}

fn report(plan: Plan, measured: &Measured, rounds: &[Round]) {
    let row = |what: &str, measured: String, goal: &str| vec![what.to_owned(), measured, goal.to_owned()];
    let ms = |value: f64| format!("{value:.0} ms");
    let mb = |what: &str, value: f64| row(what, format!("{value:.0} MB"), "≤ 150 MB");
    let ratio = median(rounds.iter().map(|round| round.portolan / round.bare));
    let rows = [
        row("start without a file until ready, median", ms(median(rounds.iter().map(|round| round.portolan))), ""),
        row("a bare client's complete list, median", ms(median(rounds.iter().map(|round| round.bare))), ""),
        row("ratio of the two, median of the rounds", format!("{ratio:.2}"), "≤ 2"),
        row("start from the file until ready", ms(measured.from_file_ms), "≤ 1,000 ms"),
        mb("resident memory of the leader, all statuses written", measured.first_mb),
        mb("the same after a start from its file", measured.again_mb),
        mb("resident memory of a follower", measured.follower_mb),
        row(
            &format!("CPU of a follower over {} s, of one core", plan.steady.as_secs()),
            format!("{:.2} %", measured.follower_percent),
            "≤ 1 %",
        ),
    ];
    let title = format!("{} objects, each probed every {INTERVAL} s by the leader", plan.objects);
    measure::print(&title, &["figure", "measured", "goal"], &rows);
}
