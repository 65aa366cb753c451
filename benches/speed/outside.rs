//! Figures from the kernel and from curl.

use std::path::Path;
use std::process::Command;

/// Sockets in TIME_WAIT on the side of a server's clients: those that the clients closed first.
pub(crate) fn time_wait(url: &str) -> usize {
    let port: u16 = url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
    let remote = format!(":{port:04X}");
    let tcp = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let waits = |line: &&str| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next().is_some_and(|address| address.ends_with(&remote)) && fields.next() == Some("06")
    };
    tcp.lines().filter(waits).count()
}

/// The answer's head and body as files, for the constant servers.
pub(crate) fn capture(folder: &Path, method: &str, url: &str) -> anyhow::Result<(String, String)> {
    let (head, body) = exchange(method, url)?;
    let (head_path, body_path) = (folder.join("head"), folder.join("body"));
    std::fs::write(&head_path, head)?;
    std::fs::write(&body_path, body)?;
    Ok((head_path.display().to_string(), body_path.display().to_string()))
}

/// Fetches a path from a server with curl: headers and body.
pub(crate) fn fetch(url: &str) -> anyhow::Result<(String, Vec<u8>)> {
    exchange("GET", url)
}

/// The same with another method.
pub(crate) fn exchange(method: &str, url: &str) -> anyhow::Result<(String, Vec<u8>)> {
    let folder = tempfile::tempdir()?;
    let head: &Path = &folder.path().join("head");
    let out = Command::new("curl").args(["-sS", "-X", method, "-D"]).arg(head).arg(url).output()?;
    anyhow::ensure!(out.status.success(), "curl {url}: {}", String::from_utf8_lossy(&out.stderr));
    Ok((std::fs::read_to_string(head)?, out.stdout))
}
