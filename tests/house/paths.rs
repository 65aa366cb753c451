//! Every path and every link in the documents leads somewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::root;

/// The documents that tell a contributor where things are.
const GUIDES: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"];
/// What a path in a guide may start with; other words in backticks are not paths.
const TOP: &[&str] =
    &["src/", "tests/", "benches/", "examples/", "deploy/", "docs/", "crds/", "fuzz/", ".ci/", ".github/"];

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_path_that_a_guide_names_exists() {
    let mut paths = BTreeSet::new();
    for guide in GUIDES {
        let text = read(&root().join(guide));
        let named = quoted(&text).filter(|word| TOP.iter().any(|top| word.starts_with(top)) && !word.contains(' '));
        paths.extend(named.map(|path| (*guide, path.trim_end_matches('/').to_owned())));
    }
    assert!(paths.len() > 50, "the paths were not found: {paths:?}");
    let missing = paths.iter().filter(|(_, path)| !root().join(path).exists());
    let missing: Vec<String> = missing.map(|(guide, path)| format!("{guide}: {path}")).collect();
    assert!(missing.is_empty(), "no such files:\n{}", missing.join("\n"));
}

/// Such as `LEASE` in `src/operator/replicas/lease/decide.rs`.
#[test]
fn every_name_that_a_guide_places_in_a_file_is_there() {
    let (mut named, mut missing) = (0, Vec::new());
    for guide in GUIDES {
        let text = read(&root().join(guide));
        let parts: Vec<&str> = text.split('`').collect();
        for (name, file) in
            parts.windows(3).skip(1).step_by(2).filter(|part| part[1].trim() == "in").map(|p| (p[0], p[2]))
        {
            let path = root().join(file);
            if !path.is_file() {
                continue;
            }
            named += 1;
            if !read(&path).contains(name.trim_start_matches("Self::").trim_end_matches("()")) {
                missing.push(format!("{guide}: {name} in {file}"));
            }
        }
    }
    assert!(named > 5, "the names were not found: {named}");
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn documents() -> Vec<PathBuf> {
    let folders = [root(), root().join("docs")];
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
    let files = files.map(|entry| entry.expect("an entry").path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

#[test]
fn every_link_in_a_document_leads_somewhere() {
    let (mut links, mut broken) = (0, Vec::new());
    for document in documents() {
        let text = read(&document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (file, section) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { document.clone() } else { document.with_file_name(file) };
            let found = target.exists()
                && (section.is_empty()
                    || read(&target)
                        .lines()
                        .any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == section));
            if !found {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(links > 30, "the links were not found: {links}");
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}
