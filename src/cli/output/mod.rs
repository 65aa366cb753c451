//! Output: data to stdout, messages to stderr, colours only to a terminal.
//!
//! In: services, tables, JSON and text. Out: lines. In order: this file (the two streams), [`paint`] (glyphs and colours), [`table`], [`time`],
//! [`service`] (services and instances as rows), [`json`], [`progress`] (of long work).

pub(in crate::cli) mod json;
pub(in crate::cli) mod paint;
pub(in crate::cli) mod progress;
pub(in crate::cli) mod service;
pub(in crate::cli) mod table;
pub(in crate::cli) mod time;

use std::io::{self, IsTerminal, Write};

use super::exit::Failure;
use crate::model::text::escape;
use paint::Paint;
use table::Table;

/// The two streams of a command.
pub(in crate::cli) struct Streams {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    terminal: bool,
    screen: bool,
    paint: Paint,
}

impl Streams {
    /// The streams of this process.
    pub(in crate::cli) fn process() -> Self {
        let terminal = io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        let paint = match (terminal, plain || dumb) {
            (false, _) => Paint::Words,
            (true, true) => Paint::Glyphs,
            (true, false) => Paint::Colours,
        };
        let out = Box::new(io::BufWriter::new(io::stdout()));
        Self { out, err: Box::new(io::stderr()), terminal, screen: terminal && !dumb, paint }
    }

    /// Whether stdout is a terminal that can be drawn on.
    pub(in crate::cli) fn screen(&self) -> bool {
        self.screen
    }

    /// How health is shown.
    pub(in crate::cli) fn paint(&self) -> Paint {
        self.paint
    }

    /// Writes one line of data.
    pub(in crate::cli) fn line(&mut self, text: &str) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{text}")?)
    }

    /// Writes text with its own line breaks.
    pub(in crate::cli) fn text(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.out.write_all(text.as_bytes())?)
    }

    /// Writes a table.
    pub(in crate::cli) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        table.lines(self.paint).iter().try_for_each(|line| self.line(line))
    }

    /// Writes JSON: unchanged for a program, indented and escaped for a terminal.
    pub(in crate::cli) fn json(&mut self, raw: &str) -> Result<(), Failure> {
        if self.terminal { self.line(&json::pretty(raw)) } else { self.line(raw) }
    }

    /// Writes a note to stderr, escaped. Errors of stderr are ignored.
    pub(in crate::cli) fn note(&mut self, text: &str) {
        let _ = writeln!(self.err, "{}", escape(text, 2000));
    }

    /// Shows the server's warnings on stderr.
    pub(in crate::cli) fn warnings(&mut self, warnings: &[String]) {
        for warning in warnings {
            self.note(&format!("warning: {warning}"));
        }
    }

    /// Says why a command failed.
    pub(in crate::cli) fn failure(&mut self, failure: &Failure) {
        let _ = self.err.write_all(failure.to_lines().as_bytes());
    }

    /// Flushes stdout.
    pub(in crate::cli) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}
