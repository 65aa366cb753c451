//! What a file is, by its first bytes: SQLite or JSON lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::rows::{Candidate, refuse_more, shown};
use super::{gateway, lines};
use crate::cli::exit::Failure;
use crate::cli::output::progress::{Progress, counted};
use crate::cli::plugin::program;

/// How an SQLite file begins ([file format](https://www.sqlite.org/fileformat2.html#magic_header_string)).
const SQLITE: &[u8] = b"SQLite format 3\0";

/// What was read.
pub(super) struct Source {
    /// What the file is, for people and programs.
    pub(super) kind: Kind,
    /// Its rows, in their order.
    pub(super) rows: Vec<Candidate>,
    /// What else there is to say about the file.
    pub(super) note: Option<String>,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// The legacy gateway's database.
    Gateway,
    /// JSON lines.
    Lines,
}

/// What messages call the file.
pub(super) fn called(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { shown(&path.to_string_lossy()) }
}

/// Reads a file; `-` reads lines from stdin.
///
/// # Errors
/// The file's, with the remedy.
pub(super) fn read(path: &Path) -> Result<Source, Failure> {
    let name = called(path);
    if path == Path::new("-") {
        let rows = of_lines(&mut io::stdin().lock(), &name)?;
        return Ok(Source { kind: Kind::Lines, rows, note: None });
    }
    let unreadable = |error: io::Error| Failure::usage(format!("{name} cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_dir() {
        let mut file = BufReader::new(file);
        if file.fill_buf().map_err(unreadable)?.starts_with(SQLITE) {
            // Closed first: closing a descriptor drops this process's locks on the file.
            drop(file);
            let (rows, note) = gateway::read(path, &name)?;
            return Ok(Source { kind: Kind::Gateway, rows, note });
        }
        return Ok(Source { kind: Kind::Lines, rows: of_lines(&mut file, &name)?, note: None });
    }
    Err(Failure::usage(format!("{name} is a folder; name the file")))
}

fn of_lines(from: &mut dyn BufRead, name: &str) -> Result<Vec<Candidate>, Failure> {
    let mut progress = Progress::begin();
    let mut rows = Vec::new();
    let mut number = 0;
    while let Some(line) = next_line(from).map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))? {
        number += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if number == 1 && !is_json_object(&line) {
            return Err(foreign(name));
        }
        rows.push(lines::read(number, &line));
        refuse_more(rows.len(), name)?;
        progress.show(|| format!("reading {name}: {}", counted(rows.len(), "row")));
    }
    Ok(rows)
}

fn is_json_object(line: &[u8]) -> bool {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii_start().starts_with(b"{")
}

/// Neither of the two.
pub(super) fn foreign(name: &str) -> Failure {
    Failure::usage(format!("{name} is neither the legacy gateway's SQLite file nor JSON lines"))
        .hint(format!("the gateway's DB_PATH names its file; `{} export > services.jsonl` writes lines", program()))
}

/// The next line without its end; none at the end. A line that is longer than a registration may be is cut off.
fn next_line(from: &mut dyn BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let limit = lines::MAX_LINE as u64 + 1;
    if Read::take(&mut *from, limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_none() && line.len() > lines::MAX_LINE {
        skip_line(from)?;
    }
    Ok(Some(line))
}

fn skip_line(from: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let buffer = from.fill_buf()?;
        let end = memchr::memchr(b'\n', buffer).map(|at| at + 1);
        let (passed, done) = (end.unwrap_or(buffer.len()), end.is_some() || buffer.is_empty());
        from.consume(passed);
        if done {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_line_is_cut_and_the_next_one_is_read() {
        let text = format!("{{\"a\":\"{}\"}}\nb\n\nc", "x".repeat(lines::MAX_LINE));
        let mut from = BufReader::with_capacity(7, text.as_bytes());
        let mut next = || next_line(&mut from).expect("reads");
        assert_eq!(next().expect("a line").len(), lines::MAX_LINE + 1);
        assert_eq!(next().as_deref(), Some(&b"b"[..]));
        assert_eq!(next().as_deref(), Some(&b""[..]));
        assert_eq!(next().as_deref(), Some(&b"c"[..]));
        assert_eq!(next(), None);
    }
}
