//! What 10,000 services cost: memory while probing, start until ready, list of all; and memory when each has two checks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use measure::median;
use serde_json::json;

use crate::Plan;
use crate::process::Server;
use crate::registrations::{Probed, now, register_all};
use crate::roles::target;

/// Runs the benchmark.
pub(crate) fn run(plan: Plan) -> Result<()> {
    let mut probed = Probed::start(plan.services)?;
    std::thread::sleep(Duration::from_secs(plan.seconds * 5));
    let resident = probed.server.resident_mb()?;
    let list = (0..plan.rounds).map(|_| list_ms(&probed.server)).collect::<Result<Vec<_>>>()?;
    let starts = (0..plan.rounds).map(|_| start_ms(&mut probed)).collect::<Result<Vec<_>>>()?;
    let rows = [
        vec!["resident memory while probing".into(), format!("{resident:.0} MB"), "≤ 100 MB".into()],
        vec!["start until ready, median".into(), format!("{:.0} ms", median(starts)), "≤ 1,000 ms".into()],
        vec!["list of all, median, curl included".into(), format!("{:.0} ms", median(list)), "≤ 50 ms".into()],
    ];
    measure::print("10,000 services", &["figure", "measured", "goal"], &rows);
    drop(probed);
    two_checks(plan, resident)
}

/// The same services, each with a second check of another URL.
fn two_checks(plan: Plan, with_one: f64) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let targets = Server::role(&["targets"])?;
    let server = Server::portolan(&folder.path().join("s.db"), &Probed::SETTINGS)?;
    let bodies = (0..plan.services).map(|i| {
        json!({
            "name": format!("service-{i:05}"),
            "version": "1.4.2",
            "base_url": "http://127.0.0.1:9",
            "health_url": target(&targets.url, i),
            "checks": [{"name": "ready", "url": target(&targets.url, i + plan.services), "http": {}}],
            "metadata": {"team": "core"},
        })
    });
    now(register_all(&server.url, bodies))?;
    std::thread::sleep(Duration::from_secs(plan.seconds * 5));
    let resident = server.resident_mb()?;
    let rows = [
        vec!["one check each".into(), format!("{with_one:.0} MB")],
        vec!["two checks each".into(), format!("{resident:.0} MB")],
        vec![
            "a second check".into(),
            format!("{:.1} KB", (resident - with_one) * 1e3 / f64::from(u32::try_from(plan.services)?)),
        ],
    ];
    measure::print("Resident memory while 10,000 instances are probed every 10 s", &["instances", "measured"], &rows);
    Ok(())
}

fn list_ms(server: &Server) -> Result<f64> {
    let out = std::process::Command::new("curl")
        .args(["-sS", "-o", "/dev/null", "-w", "%{time_total} %{size_download}"])
        .arg(format!("{}/api/v1/services", server.url))
        .output()?;
    let text = String::from_utf8(out.stdout)?;
    let (time, size) = text.split_once(' ').context("curl's two numbers")?;
    anyhow::ensure!(size.parse::<u64>()? > 1_000_000, "the list is too short: {text}");
    Ok(time.parse::<f64>()? * 1e3)
}

/// Ends the server and starts another one on its file.
fn start_ms(probed: &mut Probed) -> Result<f64> {
    probed.server.stop()?;
    let started = Instant::now();
    probed.server = Server::portolan(&probed.db, &Probed::SETTINGS)?;
    loop {
        let out = std::process::Command::new("curl")
            .args(["-sS", "-o", "/dev/null", "-w", "%{http_code}"])
            .arg(format!("{}/readyz", probed.server.url))
            .output()?;
        if out.stdout == b"200" {
            return Ok(started.elapsed().as_secs_f64() * 1e3);
        }
    }
}
