//! Each alert links to a section of the runbook that exists.

use crate::root;

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The values of a key that has its own lines.
fn values<'a>(text: &'a str, key: &'a str) -> Vec<&'a str> {
    text.lines()
        .filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix(key))
        .map(str::trim)
        .collect()
}

#[test]
fn alerts_link_to_the_runbook_that_the_settings_name() {
    let (rules, settings, runbook) =
        (read("deploy/monitoring/rules.yaml"), read("deploy/monitoring/settings.yaml"), read("docs/runbook.md"));
    let [base] = values(&settings, "runbook: ")[..] else {
        panic!("the settings name exactly one runbook: {settings}")
    };
    assert!(base.starts_with("https://"), "an absolute link: {base}");
    let sections = values(&runbook, "## ");
    let alerts = values(&rules, "alert: ");
    assert!(alerts.len() > 5, "the alerts were not found: {alerts:?}");
    for alert in &alerts {
        assert!(sections.contains(alert), "the runbook has no section {alert}");
    }
    let links: Vec<String> = alerts.iter().map(|alert| format!("{base}#{}", alert.to_lowercase())).collect();
    assert_eq!(values(&rules, "runbook_url: "), links, "one link for each alert, in their order");
}
