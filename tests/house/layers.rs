//! The house rules that no compiler checks: which module may use which others, how long a file may be, and no `allow`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::imports::{Module, module_path, named, rust_files, target, without_comments};
use crate::root;

/// Longest file, in lines.
const MAX_LINES: usize = 500;
/// Modules that may use all others.
const WIRING: &[&str] = &["lib", "main", "app", "cli"];

/// What a module may use besides itself; `None` if the module has no rule yet. ARCHITECTURE.md shows the same as a table.
fn allowed(module: &str, file: &Path) -> Option<&'static [&'static str]> {
    Some(match module {
        "model" | "crypto" => &[],
        // The metrics that are read from the catalog at the scrape.
        "telemetry" if file.ends_with("metrics/services.rs") => &["model", "catalog"],
        "wire" | "config" | "catalog" | "telemetry" => &["model"],
        "store" => &["model", "catalog", "telemetry"],
        "api" => &["model", "wire", "catalog", "store", "telemetry", "crypto"],
        "prober" | "operator" => &["model", "catalog", "store", "telemetry", "crypto"],
        "console" => &["model", "wire", "catalog", "store", "telemetry"],
        _ => return None,
    })
}

/// The other top modules that `code`, written in `module`, names.
fn used(modules: &BTreeSet<Module>, module: &Module, code: &str) -> BTreeSet<String> {
    let targets = named(&without_comments(code)).into_iter().filter_map(|path| target(modules, module, &path));
    targets.filter_map(|to| to.into_iter().next()).filter(|top| Some(top) != module.first()).collect()
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let src = root().join("src");
    let files: Vec<PathBuf> = rust_files(&src);
    let relative: Vec<&Path> = files.iter().map(|f| f.strip_prefix(&src).expect("below src")).collect();
    let modules: BTreeSet<Module> = relative.iter().map(|f| module_path(f)).collect();
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
        let code = std::fs::read_to_string(file).expect("a readable file");
        let bad = used(&modules, &path, &code).into_iter().filter(|used| !allowed.contains(&used.as_str()));
        wrong.extend(bad.map(|used| format!("{}: `{module}` may not use `{used}`", relative.display())));
    }
    assert!(modules.len() > 100, "the sources were not found: {modules:?}");
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
    let top = ["api", "cli", "model", "prober", "store"].map(|name| vec![name.to_owned()]);
    let found = |code: &str, depth| {
        used(&BTreeSet::from(top.clone()), &vec!["m".to_owned(); depth], code).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(found("use crate::store::Store;", 1), ["store"]);
    assert_eq!(found("use crate::{model::{a, b}, api, store::*};", 1), ["api", "model", "store"]);
    assert_eq!(found("fn f() { crate::prober::probe(); } // crate::api", 1), ["prober"]);
    assert_eq!(found("use super::super::api::x; use super::sibling;", 2), ["api"]);
    assert_eq!(found("macro_rules! m { () => { $crate::cli::run() } }", 1), ["cli"]);
    assert_eq!(found("fn f() { use crate::{store::Store, model}; }", 1), ["model", "store"]);
    assert_eq!(found("use my_crate::store;", 1), Vec::<String>::new());
}
