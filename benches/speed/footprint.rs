//! What 10,000 services cost: memory under probing, start to ready, list of all.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::Server;
use crate::table::{self, median};
use crate::{Plan, registrations};

/// Runs it.
pub(crate) fn run(plan: Plan) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let db = folder.path().join("s.db");
    let settings = [("PORTOLAN_RATE_LIMIT_PER_MINUTE", "0"), ("HEALTH_CHECK_INTERVAL", "10")];
    let targets = Server::role(&["targets"])?;
    let server = Server::portolan(&db, &settings)?;
    registrations::fill_now(&server, plan.services, Some(&targets.url))?;
    std::thread::sleep(Duration::from_secs(plan.seconds * 5));
    let resident = server.resident_mb()?;
    let list = (0..plan.rounds).map(|_| list_ms(&server)).collect::<Result<Vec<_>>>()?;
    server.stop()?;
    let starts = (0..plan.rounds).map(|_| start_ms(&db, &settings)).collect::<Result<Vec<_>>>()?;
    let rows = [
        vec!["resident memory under probing".into(), format!("{resident:.0} MB"), "≤ 100 MB".into()],
        vec!["start to ready, median".into(), format!("{:.0} ms", median(starts)), "≤ 1,000 ms".into()],
        vec!["list of all, median, curl included".into(), format!("{:.0} ms", median(list)), "≤ 50 ms".into()],
    ];
    table::print("10,000 services", &["what", "measured", "goal"], &rows);
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

fn start_ms(db: &std::path::Path, settings: &[(&str, &str)]) -> Result<f64> {
    let started = Instant::now();
    let server = Server::portolan(db, settings)?;
    loop {
        let out = std::process::Command::new("curl")
            .args(["-sS", "-o", "/dev/null", "-w", "%{http_code}"])
            .arg(format!("{}/readyz", server.url))
            .output()?;
        if out.stdout == b"200" {
            break;
        }
    }
    let took = started.elapsed().as_secs_f64() * 1e3;
    server.stop()?;
    Ok(took)
}
