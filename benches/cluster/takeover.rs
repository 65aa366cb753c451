//! From `kill -9` of the leader until another replica leads, and until it probes.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use measure::median;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::environment::Environment;
use crate::replica::Replica;
use crate::{PATIENCE, Plan};

const SERVICES: usize = 20;
/// Seconds between probes.
const INTERVAL: u64 = 1;

/// Seconds from the kill.
struct Takeover {
    lease: f64,
    probe: f64,
}

/// Runs it.
pub(crate) async fn run(plan: Plan) -> Result<()> {
    let environment = Environment::start().await?;
    let (sender, mut probes) = mpsc::unbounded_channel();
    let mut backends = Vec::new();
    for n in 0..SERVICES {
        let backend = Backend::start(sender.clone()).await?;
        environment.create(&format!("service-{n:05}"), backend.spec(INTERVAL)?).await?;
        backends.push(backend);
    }
    let mut leader = environment.replica("one").await?;
    environment.next_leader(None).await?;
    let mut other = environment.replica("two").await?;
    environment.until_state(SERVICES, "Healthy").await?;
    let mut all = Vec::new();
    for _ in 0..plan.takeovers {
        other.until_ready().await?;
        let dead = leader.name.clone();
        all.push(takeover(&environment, leader, &other.name, &mut probes).await?);
        (leader, other) = (other, environment.replica(&dead).await?);
    }
    report(&all);
    other.stop().await?;
    leader.stop().await
}

async fn takeover(
    environment: &Environment,
    leader: Replica,
    other: &str,
    probes: &mut mpsc::UnboundedReceiver<Instant>,
) -> Result<Takeover> {
    // Renewals come every two seconds: this meets one at any moment between two.
    tokio::time::sleep(std::time::Duration::from_millis(rand::random_range(4000..6000))).await;
    let dead = leader.name.clone();
    leader.kill()?;
    let killed = Instant::now();
    let next = environment.next_leader(Some(&dead)).await?;
    let lease = killed.elapsed().as_secs_f64();
    ensure!(next == other, "{next} leads instead of {other}");
    // The dead one's last connections were accepted long before the Lease ended.
    let first = async {
        while let Some(at) = probes.recv().await {
            let after = at.saturating_duration_since(killed).as_secs_f64();
            if after > lease / 2.0 {
                return Some(after);
            }
        }
        None
    };
    let probe = timeout(PATIENCE, first).await.context("nobody probes")?.context("the backends ended")?;
    Ok(Takeover { lease, probe })
}

fn report(all: &[Takeover]) {
    let row = |what: &str, value: fn(&Takeover) -> f64| {
        let worst = all.iter().map(value).fold(f64::NAN, f64::max);
        vec![
            what.to_owned(),
            format!("{:.1} s", median(all.iter().map(value))),
            format!("{worst:.1} s"),
            "≤ 20 s".to_owned(),
        ]
    };
    let rows = [
        row("the other replica holds the Lease", |takeover| takeover.lease),
        row("its first probe", |takeover| takeover.probe),
    ];
    let title = format!("From kill -9 of the leader, {} times", all.len());
    measure::print(&title, &["until", "median", "worst", "goal"], &rows);
}
