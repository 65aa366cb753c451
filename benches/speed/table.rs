//! Medians, and one table that reads in a terminal and in Markdown.

use std::path::Path;
use std::process::Command;

/// The middle value.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Prints a Markdown table with aligned columns.
pub(crate) fn print(title: &str, head: &[&str], rows: &[Vec<String>]) {
    let width = |col: usize| rows.iter().map(|r| r[col].chars().count()).chain([head[col].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
        println!("| {} |", padded.join(" | "));
    };
    println!("\n### {title}\n");
    line(head.to_vec());
    println!("|{}|", widths.iter().map(|w| "-".repeat(w + 2)).collect::<Vec<_>>().join("|"));
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
}

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
