//! What Linux reports about a process in `/proc`.

use std::time::Duration;

use anyhow::{Context, Result};

/// CPU time that the process has used so far, user and system, in steps of 10 ms.
///
/// # Errors
/// If there is no such process.
pub fn cpu(pid: u32) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit_once(')').context("a stat line")?.1;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    // Linux counts in units of USER_HZ, which is 100 on every supported architecture.
    Ok(Duration::from_millis(ticks * 10))
}

/// The process's resident memory, in MB of 10^6 bytes.
///
/// # Errors
/// If there is no such process.
pub fn resident_mb(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("a VmRSS line")?;
    let kib: f64 = line.split_whitespace().nth(1).context("its number")?.parse()?;
    Ok(kib * 1024.0 / 1e6)
}
