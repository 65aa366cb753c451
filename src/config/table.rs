//! The README's table of settings.

use std::fmt::Write;

use super::settings::{CLIENT, SECRETS, SETTINGS, Setting};

/// Every setting as a Markdown table: first the server's, then the client commands'.
pub fn markdown_table() -> String {
    let mut out = String::from("For `portolan serve`:\n\n");
    write_rows(&mut out, SETTINGS.iter().chain(SECRETS));
    out.push_str("\nFor client commands:\n\n");
    write_rows(&mut out, CLIENT.iter());
    out
}

fn write_rows<'a>(out: &mut String, rows: impl Iterator<Item = &'a Setting>) {
    out.push_str("| Environment | Flag | Default | What it does |\n|---|---|---|---|\n");
    for row in rows {
        let flag = row.flag().map_or_else(|| "no flag: it is secret".to_owned(), |flag| format!("`{flag}`"));
        let default = match row.in_cluster {
            "" => row.default.to_owned(),
            other => format!("{}; in cluster mode: {other}", row.default),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| `{}` | {flag} | {default} | {} |", row.env, row.help);
    }
}
