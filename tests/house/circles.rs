//! Inside a folder, files and sub-folders depend on each other in one direction: no circle, but between a parent and its children.

use std::collections::{BTreeMap, BTreeSet};

use crate::layers::{module_path, rust_files, without_comments};
use crate::root;

type Module = Vec<String>;
/// For each folder, which of its children uses which.
type Folders = BTreeMap<Module, BTreeMap<String, BTreeSet<String>>>;

/// The code that ships: what stands in `mod tests { … }` at a file's end may use anything.
fn shipped(text: &str) -> String {
    let code = without_comments(text);
    code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

/// The files below `module` that only tests are built with.
fn test_modules(module: &Module, text: &str) -> Vec<Module> {
    let after = text.split("#[cfg(test)]\nmod ").skip(1);
    let names = after.filter_map(|rest| rest.split_once(';')).map(|(name, _)| name).filter(|name| !name.contains(' '));
    names.map(|name| [&module[..], &[name.to_owned()]].concat()).collect()
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
fn named(code: &str) -> Vec<String> {
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
            let path = code[at..].chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':'));
            found.push(path.collect());
        }
    }
    found
}

/// The module that `path`, written in `module`, leads into; none for what lies outside of this crate.
fn target(modules: &BTreeSet<Module>, module: &Module, path: &str) -> Option<Module> {
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

/// Adds that `from` uses `to`, at the folder in which their ways part.
fn add(folders: &mut Folders, from: &Module, to: &Module) {
    let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    if let (Some(user), Some(used)) = (from.get(common), to.get(common)) {
        let children = folders.entry(from[..common].to_vec()).or_default();
        children.entry(user.clone()).or_default().insert(used.clone());
    }
}

/// Everything that can be reached from `start`.
fn reached<'a>(children: &'a BTreeMap<String, BTreeSet<String>>, start: &'a str) -> BTreeSet<&'a str> {
    let (mut found, mut next) = (BTreeSet::new(), vec![start]);
    while let Some(child) = next.pop() {
        for used in children.get(child).into_iter().flatten() {
            if found.insert(used.as_str()) {
                next.push(used);
            }
        }
    }
    found
}

fn circles(folders: &Folders) -> Vec<String> {
    let mut found = Vec::new();
    for (folder, children) in folders {
        let on_circle: Vec<&str> =
            children.keys().map(String::as_str).filter(|child| reached(children, child).contains(child)).collect();
        if !on_circle.is_empty() {
            found.push(format!("src/{}: {}", folder.join("/"), on_circle.join(", ")));
        }
    }
    found
}

fn scan(sources: &[(Module, String)]) -> Folders {
    let modules: BTreeSet<Module> = sources.iter().map(|(module, _)| module.clone()).collect();
    let mut folders = Folders::new();
    for (module, text) in sources {
        for path in named(&shipped(text)) {
            if let Some(to) = target(&modules, module, &path) {
                add(&mut folders, module, &to);
            }
        }
    }
    folders
}

#[test]
fn files_of_a_folder_depend_on_each_other_in_one_direction() {
    let src = root().join("src");
    let mut sources: Vec<(Module, String)> = rust_files(&src)
        .into_iter()
        .map(|file| {
            let relative = file.strip_prefix(&src).expect("below src");
            (module_path(relative), std::fs::read_to_string(&file).expect("a readable file"))
        })
        .collect();
    let of_tests: Vec<Module> = sources.iter().flat_map(|(module, text)| test_modules(module, text)).collect();
    sources.retain(|(module, _)| !of_tests.iter().any(|test| module.starts_with(test)));
    let folders = scan(&sources);
    assert!(folders.len() > 20, "the sources were not found");
    let found = circles(&folders);
    assert!(found.is_empty(), "these use each other in a circle:\n{}", found.join("\n"));
}

#[test]
fn the_scan_finds_a_circle_however_it_is_written() {
    let circle = |a: &str, b: &str| {
        let module = |path: &str| path.split('/').map(str::to_owned).collect::<Module>();
        let sources = [("m", ""), ("m/a", a), ("m/b", "pub mod c;"), ("m/b/c", b)];
        circles(&scan(&sources.map(|(path, text)| (module(path), text.to_owned()))))
    };
    let both = ["src/m: a, b"];
    assert_eq!(circle("use super::b::c::C;", "use crate::m::a::A;"), both);
    assert_eq!(circle("fn f() { super::b::c::f() }", "use super::super::{x, a::{A, B}};"), both);
    assert_eq!(circle("pub(super) use super::b::C;", "use super::super::a;"), both);
    assert_eq!(circle("use super::b::c::C;", "use crate::m::X;"), [""; 0], "a parent is no circle");
    assert_eq!(circle("use super::b::c::C;", "#[cfg(test)]\nmod tests {\n use crate::m::a::A;\n}"), [""; 0]);
    assert_eq!(circle("use super::b::c::C;", "// use crate::m::a::A;"), [""; 0]);
}
