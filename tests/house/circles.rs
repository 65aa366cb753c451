//! Inside a folder, files and sub-folders depend on each other in one direction: no circle, but between a parent and its children.

use std::collections::{BTreeMap, BTreeSet};

use crate::imports::{Module, module_path, named, rust_files, target, without_comments};
use crate::root;

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
    assert_eq!(circle("use super::b::c::C;", "use crate::m::X;"), [""; 0], "a parent is not a circle");
    assert_eq!(circle("use super::b::c::C;", "#[cfg(test)]\nmod tests {\n use crate::m::a::A;\n}"), [""; 0]);
    assert_eq!(circle("use super::b::c::C;", "// use crate::m::a::A;"), [""; 0]);
}
