//! From a backend's death until its object's status says so.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use measure::percentile;
use portolan::operator::crd::HealthValue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::Plan;
use crate::backend::Backend;
use crate::bare::Watch;
use crate::environment::Environment;

/// Seconds between probes.
const INTERVAL: u64 = 5;

/// Runs it.
pub(crate) async fn run(plan: Plan) -> Result<()> {
    let environment = Environment::start().await?;
    let replica = environment.replica("one").await?;
    let (probes, _probed) = mpsc::unbounded_channel();
    let mut backends = Vec::new();
    for n in 0..plan.deaths {
        let backend = Backend::start(probes.clone()).await?;
        environment.create(&name(n), backend.spec(INTERVAL)?).await?;
        backends.push(backend);
    }
    environment.until_state(plan.deaths, "Healthy").await?;
    let mut watch = Watch::start(&environment).await?;
    let mut deaths = JoinSet::new();
    for (n, backend) in backends.into_iter().enumerate() {
        // Spread over two intervals, so each meets its prober at another moment.
        let at = Duration::from_millis(rand::random_range(0..INTERVAL * 2000));
        deaths.spawn(async move {
            tokio::time::sleep(at).await;
            (n, backend.die().await)
        });
    }
    let mut seconds = Vec::new();
    while let Some(death) = deaths.join_next().await {
        let (n, died) = death?;
        seconds.push(unhealthy(&mut watch, &name(n)).await?.duration_since(died).as_secs_f64());
    }
    report(&seconds).context("nobody died")?;
    replica.stop().await
}

fn name(n: usize) -> String {
    format!("service-{n:05}")
}

async fn unhealthy(watch: &mut Watch, name: &str) -> Result<Instant> {
    let is_down = |event: &crate::bare::Event| {
        let instances = event.status.iter().flat_map(|status| &status.instances);
        event.name == name && instances.into_iter().any(|instance| instance.health == HealthValue::Unhealthy)
    };
    Ok(watch.find(is_down).await?.at)
}

fn report(seconds: &[f64]) -> Option<()> {
    let worst = seconds.iter().copied().max_by(f64::total_cmp)?;
    let interval = Duration::from_secs(INTERVAL).as_secs_f64();
    let row = |what: &str, value: f64, goal: &str| vec![what.to_owned(), format!("{value:.2} s"), goal.to_owned()];
    let rows = [
        row("p50", percentile(seconds.iter().copied(), 50), ""),
        row("worst", worst, ""),
        row("worst minus an interval", worst - interval, "≤ 3 s"),
    ];
    let title = format!("From a backend's death to its object's status, {} backends, probed every 5 s", seconds.len());
    measure::print(&title, &["time", "measured", "goal"], &rows);
    Some(())
}
