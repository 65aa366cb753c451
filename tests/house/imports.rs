//! Which modules a source file names: what the rules on layers and on circles read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A module's path below the crate's root: `api/auth/mod.rs` is `[api, auth]`.
pub(crate) type Module = Vec<String>;

/// All Rust files below a folder, in order of path.
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
pub(crate) fn module_path(file: &Path) -> Module {
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

/// Every path in a `use` tree: `a::{b, c::{d, e}}` is `a::b`, `a::c::d` and `a::c::e`.
fn paths(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, group)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let (mut depth, mut item, mut found) = (0, String::new(), Vec::new());
    for c in group.chars() {
        match c {
            ',' | '}' if depth == 0 => {
                found.extend(paths(&item).into_iter().filter(|p| !p.is_empty()).map(|p| format!("{prefix}{p}")));
                item.clear();
                if c == '}' {
                    break;
                }
                continue;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        item.push(c);
    }
    found
}

/// All paths that a file's code names: its imports, and what it writes out from `crate` or `super`.
pub(crate) fn named(code: &str) -> Vec<String> {
    let imports = code.match_indices("use ").filter_map(|(at, _)| {
        let starts_line = code[..at].rsplit('\n').next().is_some_and(|before| {
            let before = before.trim();
            before.is_empty() || before.starts_with("pub")
        });
        starts_line.then(|| code[at + 4..].split(';').next().unwrap_or_default())
    });
    let mut found: Vec<String> = imports.flat_map(paths).collect();
    for root in ["crate::", "super::"] {
        for (at, _) in code.match_indices(root) {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':')) {
                continue;
            }
            let path: String =
                code[at..].chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
            if code[at + path.len()..].starts_with('{') {
                found.extend(paths(&code[at..]));
            } else {
                found.push(path);
            }
        }
    }
    found
}

/// The module that `path`, written in `module`, leads into; none for what lies outside of this crate.
pub(crate) fn target(modules: &BTreeSet<Module>, module: &Module, path: &str) -> Option<Module> {
    let mut at: Module = module.clone();
    let mut rest = path.split("::").map(str::trim).peekable();
    match rest.peek().copied()? {
        "crate" => {
            at.clear();
            rest.next();
        }
        "self" => {
            rest.next();
        }
        "super" => {
            while rest.next_if_eq(&"super").is_some() {
                at.pop();
            }
        }
        first => {
            let child = [&at[..], &[first.to_owned()]].concat();
            modules.contains(&child).then_some(())?;
        }
    }
    for part in rest {
        let deeper = [&at[..], &[part.to_owned()]].concat();
        if !modules.contains(&deeper) {
            break;
        }
        at = deeper;
    }
    Some(at)
}
