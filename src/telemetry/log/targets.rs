//! The targets of log lines: names that `LOG_LEVEL` directives and log pipelines may rely on.
//!
//! A target is the first two segments of a module path, so that moving a file within a module changes no name.

/// Every target that a server logs with, and what its lines are about. The README's table is generated from this.
pub const TARGETS: &[(&str, &str)] = &[
    ("portolan::access", "each request; refused tokens"),
    ("portolan::api", "connections, the files of secrets and certificates, errors while answering"),
    ("portolan::app", "start, shutdown, SIGHUP, the replica's identity"),
    ("portolan::audit", "each write: who requested it, from where, and its result"),
    ("portolan::cli", "environment variables that look like settings but are not"),
    ("portolan::log", "lines that the log had to drop"),
    ("portolan::operator", "cluster mode: the watch, the Lease, status writes, the objects that store registrations"),
    ("portolan::panic", "panics, which are bugs"),
    ("portolan::prober", "changes of health, the mass-failure guard, name resolution, the files that checks name"),
    ("portolan::store", "the SQLite file: opening, repair, failing writes"),
];

/// The target that a line shows for an event of `module`: its first two segments.
pub(super) fn shown(module: &str) -> &str {
    let mut ends = module.match_indices("::").map(|(at, _)| at);
    ends.nth(1).map_or(module, |end| &module[..end])
}

/// [`TARGETS`] as a Markdown table.
#[doc(hidden)]
pub fn markdown_table() -> String {
    let mut out = "| Target | Its lines are about |\n|---|---|\n".to_owned();
    for (target, about) in TARGETS {
        out.extend(["| `", target, "` | ", about, " |\n"]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_segments_are_shown() {
        for (module, target) in [
            ("portolan", "portolan"),
            ("portolan::store", "portolan::store"),
            ("portolan::prober::guard::sample", "portolan::prober"),
            ("hyper", "hyper"),
        ] {
            assert_eq!(shown(module), target);
        }
    }
}
