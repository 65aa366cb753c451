//! Whether the leader keeps the Lease while 10,000 targets are due each second: first healthy, then all refused, with clients beside it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::Plan;
use crate::backend::Backend;
use crate::environment::Environment;
use crate::replica::Replica;

/// Seconds between probes.
const INTERVAL: u64 = 1;
/// Clients that ask the leader one question after the other.
const CLIENTS: usize = 8;
const LOOK: Duration = Duration::from_millis(250);

/// What was observed of the Lease over one stretch.
#[derive(Debug, Default)]
struct Observed {
    /// How often another held it than before.
    changes: u32,
    /// The longest that the last renewal was ago, in seconds.
    oldest: f64,
    answers: u64,
    seconds: f64,
}

/// Runs it.
pub(crate) async fn run(plan: Plan) -> Result<()> {
    let environment = Environment::start().await?;
    let (probes, mut first_probe) = mpsc::unbounded_channel();
    let backend = Backend::start(probes).await?;
    environment.fill(plan.objects, || backend.spec(INTERVAL)).await?;
    let leader = environment.replica("one").await?;
    environment.next_leader(None).await?;
    let other = environment.replica("two").await?;
    other.until_ready().await?;
    first_probe.recv().await.context("nobody probes")?;
    // Later probes do not matter.
    first_probe.close();
    let healthy = watch(plan, &environment, &leader).await?;
    backend.die().await;
    let refused = watch(plan, &environment, &leader).await?;
    report(plan, &[("all healthy", healthy), ("all refused", refused)]);
    other.stop().await?;
    leader.stop().await
}

/// Looks at the Lease while clients ask the leader.
async fn watch(plan: Plan, environment: &Environment, leader: &Replica) -> Result<Observed> {
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let url = format!("{}/api/v1/services/discover?name=service-{n:05}", leader.url);
        let client = leader.client.clone();
        let until = Instant::now() + plan.steady;
        clients.spawn(async move {
            let mut answers = 0_u64;
            while Instant::now() < until {
                answers += u64::from(client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()));
            }
            answers
        });
    }
    let (began, mut observed, mut holder) = (Instant::now(), Observed::default(), environment.lease().await?.0);
    while began.elapsed() < plan.steady {
        let (now, age) = environment.lease().await?;
        observed.changes += u32::from(now != holder);
        holder = now;
        observed.oldest = observed.oldest.max(age.as_secs_f64());
        tokio::time::sleep(LOOK).await;
    }
    observed.answers = clients.join_all().await.iter().sum();
    observed.seconds = began.elapsed().as_secs_f64();
    Ok(observed)
}

#[expect(clippy::cast_precision_loss, reason = "a few million")]
fn report(plan: Plan, all: &[(&str, Observed)]) {
    let row = |(what, observed): &(&str, Observed)| {
        vec![
            format!("{what}, {:.0} s", observed.seconds),
            format!("{}: {}", observed.changes, if observed.changes == 0 { "met" } else { "missed" }),
            format!("{:.1} s", observed.oldest),
            format!("{:.0}", observed.answers as f64 / observed.seconds),
        ]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    let title = format!("{} objects due each second at the leader, {CLIENTS} clients", plan.objects);
    let head = ["targets", "changes of the Lease's holder, goal none", "oldest renewal of 15 s", "answers/s"];
    measure::print(&title, &head, &rows);
}
