//! The house rules that no compiler checks: which module may use which others, how long a file may be, and no `allow`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::root;

/// Longest file, in lines.
const MAX_LINES: usize = 500;
/// Modules that may use all others.
const WIRING: &[&str] = &["lib", "main", "app", "cli"];

/// What a module may use besides itself; `None` if the module has no rule yet. ARCHITECTURE.md shows the same as a table.
fn allowed(module: &str, file: &Path) -> Option<&'static [&'static str]> {
    Some(match module {
        "model" | "crypto" => &[],
        // The one metric that is read from the catalog at the scrape.
        "telemetry" if file.ends_with("metrics/services.rs") => &["model", "catalog"],
        "wire" | "config" | "catalog" | "telemetry" => &["model"],
        "store" => &["model", "catalog", "telemetry"],
        "api" => &["model", "wire", "catalog", "store", "telemetry", "crypto"],
        "prober" | "operator" => &["model", "catalog", "store", "telemetry", "crypto"],
        "console" => &["model", "wire", "catalog", "store", "telemetry"],
        _ => return None,
    })
}

pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a folder entry").path())
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .collect();
    files.sort();
    files
}

/// The module path of a file below `src`: `api/auth/mod.rs` is `[api, auth]`.
pub(crate) fn module_path(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> = file.with_extension("").iter().map(|p| p.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// The code without its line comments, which may mention any module.
pub(crate) fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The names that follow `::`: one, or the outer ones of a group.
fn heads(text: &str) -> Vec<String> {
    let text = text.trim_start();
    let Some(group) = text.strip_prefix('{') else { return vec![word(text)] };
    let (mut depth, mut item, mut items) = (1, String::new(), Vec::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && c == ',' {
            items.push(std::mem::take(&mut item));
        } else {
            item.push(c);
        }
    }
    items.push(item);
    items.iter().map(|item| word(item.trim())).filter(|item| !item.is_empty()).collect()
}

/// The top-level modules that `code`, `depth` levels below the crate's root, names through `crate::` or a chain of `super::`.
fn named(code: &str, depth: usize) -> BTreeSet<String> {
    let climb = "super::".repeat(depth);
    let mut found = BTreeSet::new();
    for prefix in ["crate::", &climb] {
        for (at, _) in code.match_indices(prefix) {
            let before = code[..at].chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || (c == ':' && prefix == climb)) {
                found.extend(heads(&code[at + prefix.len()..]));
            }
        }
    }
    found
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let src = root().join("src");
    let files: Vec<PathBuf> = rust_files(&src);
    let relative: Vec<&Path> = files.iter().map(|f| f.strip_prefix(&src).expect("below src")).collect();
    let top: BTreeSet<String> = relative.iter().filter_map(|f| module_path(f).first().cloned()).collect();
    let mut wrong = Vec::new();
    for (file, relative) in files.iter().zip(&relative) {
        let path = module_path(relative);
        let module = path.first().expect("a file has a module");
        if WIRING.contains(&module.as_str()) {
            continue;
        }
        let Some(allowed) = allowed(module, relative) else {
            wrong.push(format!("{}: add what `{module}` may use to tests/house/layers.rs", relative.display()));
            continue;
        };
        let code = without_comments(&std::fs::read_to_string(file).expect("a readable file"));
        let bad = named(&code, path.len())
            .into_iter()
            .filter(|used| used != module && top.contains(used) && !allowed.contains(&used.as_str()));
        wrong.extend(bad.map(|used| format!("{}: `{module}` may not use `{used}`", relative.display())));
    }
    assert!(top.len() > 5, "the sources were not found: {top:?}");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_contain_no_allow() {
    let allow = ["#[allow", "#![allow"].map(|attribute| format!("{attribute}("));
    let mut wrong = Vec::new();
    for file in ["src", "tests", "benches"].iter().flat_map(|folder| rust_files(&root().join(folder))) {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let lines = text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{}: {lines} lines, at most {MAX_LINES}; split it", file.display()));
        }
        if allow.iter().any(|attribute| text.contains(attribute)) {
            wrong.push(format!("{}: write #[expect(…, reason = \"…\")] instead of allow", file.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_scan_finds_every_way_to_name_a_module() {
    let found = |code: &str, depth| named(&without_comments(code), depth).into_iter().collect::<Vec<_>>();
    assert_eq!(found("use crate::store::Store;", 1), ["store"]);
    assert_eq!(found("use crate::{model::{a, b}, api, store::*};", 1), ["api", "model", "store"]);
    assert_eq!(found("fn f() { crate::prober::probe(); } // crate::api", 1), ["prober"]);
    assert_eq!(found("use super::super::api::x; use super::sibling;", 2), ["api"]);
    assert_eq!(found("macro_rules! m { () => { $crate::cli::run() } }", 1), ["cli"]);
    assert_eq!(found("use my_crate::store;", 1), Vec::<String>::new());
}
