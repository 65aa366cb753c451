//! How far long work is: one line on a terminal, rewritten, and nothing elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Work that ends sooner shows nothing.
const QUIET: Duration = Duration::from_millis(300);
/// Time between two updates.
const INTERVAL: Duration = Duration::from_millis(100);

/// The line. It disappears with this value.
#[derive(Debug)]
pub(in crate::cli) struct Progress {
    terminal: bool,
    next: Instant,
    shown: bool,
}

impl Progress {
    /// For work that begins now.
    pub(in crate::cli) fn begin() -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { terminal: io::stderr().is_terminal() && !dumb, next: Instant::now() + QUIET, shown: false }
    }

    /// Shows `text`, if it is time for it.
    pub(in crate::cli) fn show(&mut self, text: impl FnOnce() -> String) {
        if !self.terminal || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + INTERVAL;
        self.shown = true;
        // A terminal that is gone needs no progress.
        let _ = write!(io::stderr(), "\r\x1b[K{}", text());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// A count for people: `1,234,567`.
pub(in crate::cli) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun: `1 row`, `2,000 rows`.
pub(in crate::cli) fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        for (count, text) in
            [(0, "0 rows"), (1, "1 row"), (999, "999 rows"), (1000, "1,000 rows"), (1_234_567, "1,234,567 rows")]
        {
            assert_eq!(counted(count, "row"), text);
        }
    }
}
