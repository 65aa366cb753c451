//! `docs/files.md`: what each source file is about, and its constants, which hold the times and limits.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::generated::check_or_update;
use crate::imports::rust_files;
use crate::root;

const HEAD: &str = "# The source files

Generated from the first sentence of each file and the names of its constants; `make generate` updates it. Times, limits and sizes are constants:
search this page for a word, such as `TIMEOUT`, `PAUSE` or `MAX`. [ARCHITECTURE.md](../ARCHITECTURE.md) explains how the parts work together.
";

/// The first sentence of a file's documentation; links to code become plain text, links to the web stay.
fn summary(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let first = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let end = first.find(". ").map_or(first.len(), |at| at + 1);
    without_code_links(&first[..end]).replace('|', "\\|")
}

fn without_code_links(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('[') {
        let (label, after) = after.split_once(']').unwrap_or_else(|| panic!("a link without an end: {text}"));
        out.push_str(before);
        let (target, after) = after.strip_prefix('(').and_then(|rest| rest.split_once(')')).unwrap_or(("", after));
        let link = if target.starts_with("https:") { format!("[{label}]({target})") } else { label.to_owned() };
        out.push_str(&link);
        rest = after;
    }
    out + rest
}

/// The constants at the outer level, in the file's order.
fn constants(text: &str) -> Vec<&str> {
    let shipped = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let declares = ["const ", "pub const ", "pub(crate) const ", "pub(super) const ", "pub(in "];
    shipped
        .lines()
        .filter(|line| declares.iter().any(|start| line.starts_with(start)))
        .filter_map(|line| line.split("const ").nth(1)?.split(':').next())
        .filter(|name| name.len() > 1 && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'))
        .collect()
}

#[test]
fn the_generated_list_of_source_files_says_what_they_say() {
    let src = root().join("src");
    let mut folders: BTreeMap<String, String> = BTreeMap::new();
    for file in rust_files(&src) {
        let path = file.strip_prefix(root()).expect("below the root");
        if path.iter().any(|part| part == "tests" || part == "tests.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let folder = path.parent().expect("a folder").display().to_string();
        let name = path.file_name().expect("a name").to_string_lossy();
        let mut row = format!("| `{name}` | {}", summary(&text));
        let constants = constants(&text);
        if !constants.is_empty() {
            write!(row, " `{}`", constants.join("` `")).expect("memory");
        }
        let table = folders.entry(folder).or_default();
        writeln!(table, "{row} |").expect("memory");
    }
    let mut page = HEAD.to_owned();
    for (folder, table) in folders {
        write!(page, "\n## {folder}\n\n| File | About |\n|---|---|\n{table}").expect("memory");
    }
    check_or_update("docs/files.md", &page);
}
