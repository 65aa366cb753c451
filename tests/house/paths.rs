//! Every path that a document names exists.

use std::collections::BTreeSet;

use crate::root;

/// The documents that tell a contributor where things are.
const DOCUMENTS: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"];
/// What a path may start with; other words in backticks are no paths.
const TOP: &[&str] =
    &["src/", "tests/", "benches/", "examples/", "deploy/", "docs/", "crds/", "fuzz/", ".ci/", ".github/"];

/// The words in backticks, and the targets of links.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('`').skip(1).step_by(2);
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    quoted.chain(linked)
}

#[test]
fn every_path_that_a_document_names_exists() {
    let mut paths = BTreeSet::new();
    for document in DOCUMENTS {
        let text = std::fs::read_to_string(root().join(document)).expect("a document");
        let named = words(&text).filter(|word| TOP.iter().any(|top| word.starts_with(top)) && !word.contains(' '));
        paths.extend(named.map(|path| (*document, path.trim_end_matches('/').to_owned())));
    }
    assert!(paths.len() > 15, "the paths were not found: {paths:?}");
    let missing: Vec<String> = paths
        .iter()
        .filter(|(_, path)| !root().join(path).exists())
        .map(|(document, path)| format!("{document}: {path}"))
        .collect();
    assert!(missing.is_empty(), "no such files:\n{}", missing.join("\n"));
}
