//! `docs/register-your-service.md` shows the files of `examples/`, and they are short enough to copy.

use crate::generated::{between, check_or_update};
use crate::root;

const PAGE: &str = "docs/register-your-service.md";
/// The files that the page shows, with the name of their language for highlighting.
const SHOWN: &[(&str, &str)] = &[
    ("examples/clients/register.py", "python"),
    ("examples/clients/discover.py", "python"),
    ("examples/clients/service.py", "python"),
    ("examples/clients/go/portolan/call.go", "go"),
    ("examples/clients/go/portolan/register.go", "go"),
    ("examples/clients/go/portolan/discover.go", "go"),
    ("examples/compose/Dockerfile", "dockerfile"),
    ("examples/compose/compose.yaml", "yaml"),
];
/// Most lines of code that somebody should have to copy and read at once.
const MAX_LINES: usize = 40;

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_generated_page_shows_the_files_that_are_tested() {
    let page = SHOWN.iter().fold(read(PAGE), |page, (path, language)| {
        between(&page, path, &format!("```{language}\n{}\n```", read(path).trim_end()))
    });
    check_or_update(PAGE, &page);
}

/// Without blank lines, comments on their own, and Go's imports, which editors write.
fn lines_of_code(text: &str) -> usize {
    let mut importing = false;
    let counts = |line: &&str| {
        importing = (importing && *line != ")") || *line == "import (";
        let line = line.trim();
        !importing && !line.is_empty() && !line.starts_with("//") && !line.starts_with('#')
    };
    text.lines().filter(counts).count()
}

#[test]
fn each_file_of_the_client_code_is_short_enough_to_copy() {
    for (path, _) in SHOWN.iter().filter(|(path, _)| path.starts_with("examples/clients/")) {
        let lines = lines_of_code(&read(path));
        assert!((5..=MAX_LINES).contains(&lines), "{path} has {lines} lines of code");
    }
}
