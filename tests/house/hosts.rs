//! Package managers know where packages come from: no file here names the host of a package registry.

use std::path::{Path, PathBuf};

use crate::root;

/// Split in two, so that this file names none of them.
const HOSTS: &[(&str, &str)] = &[
    ("index.crates", "io"),
    ("static.crates", "io"),
    ("proxy.golang", "org"),
    ("sum.golang", "org"),
    ("registry.npmjs", "org"),
    ("files.pythonhosted", "org"),
    ("pypi", "org"),
    ("deb.debian", "org"),
    ("repo1.maven", "org"),
    ("repo.maven.apache", "org"),
];
/// Folders that are generated, not written.
const SKIPPED: &[&str] = &["target", ".git"];

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let kept = entries.filter(|entry| !SKIPPED.iter().any(|name| entry.file_name() == *name));
    kept.flat_map(|entry| {
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() { files(&entry.path()) } else { vec![entry.path()] }
    })
    .collect()
}

#[test]
fn no_file_names_the_host_of_a_package_registry() {
    let found: Vec<String> = files(&root())
        .into_iter()
        .filter_map(|file| Some((std::fs::read_to_string(&file).ok()?, file)))
        .flat_map(|(text, file)| {
            let hosts = HOSTS.iter().map(|(name, end)| format!("{name}.{end}"));
            let named = hosts.filter(|host| text.contains(host)).collect::<Vec<_>>();
            named.into_iter().map(move |host| format!("{}: {host}", file.display()))
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
