//! What the kernel and curl tell.

use std::path::Path;
use std::process::Command;

/// Sockets in TIME_WAIT on this machine.
pub(crate) fn time_wait() -> usize {
    let tcp = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    tcp.lines().filter(|l| l.split_whitespace().nth(3) == Some("06")).count()
}

/// Fetches a path from a server with curl; headers and body.
pub(crate) fn fetch(url: &str) -> anyhow::Result<(String, Vec<u8>)> {
    let folder = tempfile::tempdir()?;
    let head: &Path = &folder.path().join("head");
    let out = Command::new("curl").args(["-sS", "-D"]).arg(head).arg(url).output()?;
    anyhow::ensure!(out.status.success(), "curl {url}: {}", String::from_utf8_lossy(&out.stderr));
    Ok((std::fs::read_to_string(head)?, out.stdout))
}
