//! Alerts and the dashboard query metrics that exist.

use std::collections::BTreeSet;
use std::path::Path;

use portolan::telemetry::metrics::Metrics;
use portolan::telemetry::metrics::cluster::ClusterMetrics;

use crate::imports::rust_files;
use crate::root;

/// The suffixes of a sample's name.
const SUFFIXES: &[&str] = &["", "_total", "_bucket", "_sum", "_count", "_info"];

/// The names that the code registers. (The registry itself shows only those that have a value.)
fn existing() -> BTreeSet<String> {
    let defined = Metrics::NAMES.iter().chain(ClusterMetrics::NAMES);
    let mut names: BTreeSet<String> = defined.map(|name| format!("portolan_{name}")).collect();
    for file in rust_files(&root().join("src")) {
        let code = std::fs::read_to_string(file).expect("a readable file");
        // Without line breaks.
        let code: String = code.split_whitespace().collect();
        for call in ["register(\"", "encode_descriptor(\""] {
            for rest in code.split(call).skip(1) {
                let name = rest.split('"').next().expect("a name");
                let in_seconds = rest.split(';').next().is_some_and(|call| call.contains("Unit::Seconds"));
                let unit = if in_seconds { "_seconds" } else { "" };
                // With our prefix, or a name that other programs use too.
                names.extend([format!("portolan_{name}{unit}"), format!("{name}{unit}")]);
            }
        }
    }
    names
}

/// The words of a query that look like metrics: ours, and those of every operator.
fn queried(file: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(file).expect("a readable file");
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = |word: &&str| ["portolan_", "rest_client_", "leader_election_"].iter().any(|p| word.starts_with(p));
    words.filter(ours).map(str::to_owned).collect()
}

#[test]
fn alerts_and_dashboard_query_metrics_that_exist() {
    let existing = existing();
    let monitoring = root().join("deploy/monitoring");
    let queried: BTreeSet<String> =
        ["rules.yaml", "dashboard.json"].iter().flat_map(|file| queried(&monitoring.join(file))).collect();
    assert!(queried.len() > 15, "the queries were not found: {queried:?}");
    let exists = |word: &String| {
        SUFFIXES.iter().any(|suffix| word.strip_suffix(suffix).is_some_and(|name| existing.contains(name)))
    };
    let missing: Vec<&String> = queried.iter().filter(|word| !exists(word)).collect();
    assert!(missing.is_empty(), "no such metrics: {missing:?}");
}
