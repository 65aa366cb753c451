//! How a command ends: its exit code, and for a failure the message on stderr.

use std::fmt::Write;
use std::process::ExitCode;

/// The exit codes, stable for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// What was asked about is unhealthy, a condition was not met, or time ran out.
    Unmet = 1,
    /// The command line, a setting or the request's content is wrong.
    Usage = 2,
    /// The server could not be reached, or failed (5xx), or the output could not be written: the state of what was
    /// asked about is unknown.
    Unreachable = 3,
    /// What was asked about does not exist.
    NotFound = 4,
    /// The server refused: the token, a conflict or the rate limit.
    Refused = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, in a sentence; harmless on a terminal.
    pub message: String,
    /// Lines that say what to do next.
    pub hints: Vec<String>,
    /// The reader of the output is gone: nothing is wrong, and nothing is printed.
    pub closed_pipe: bool,
}

impl Failure {
    /// A failure with that code and sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new(), closed_pipe: false }
    }

    /// The command line or an input file is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds a line that says what to do.
    #[must_use]
    pub fn hint(mut self, line: impl Into<String>) -> Self {
        self.hints.push(line.into());
        self
    }

    /// The lines for stderr, with their line breaks.
    pub fn to_lines(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        for hint in &self.hints {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {hint}");
        }
        text
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let closed_pipe = error.kind() == std::io::ErrorKind::BrokenPipe;
        let exit = if closed_pipe { Exit::Ok } else { Exit::Unreachable };
        Self { closed_pipe, ..Self::new(exit, format!("the output could not be written: {error}")) }
    }
}
