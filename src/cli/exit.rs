//! How a command ends: its exit code, and for a failure the message on stderr.

use std::fmt::Write;
use std::process::ExitCode;

/// The exit codes, stable for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Ok,
    /// 1: what was asked about is unhealthy, or a condition was not met.
    Unmet,
    /// 2: the command line, a setting or the request's content is wrong.
    Usage,
    /// 3: the server could not be reached, or failed (5xx), or the output could not be written: the state of what was
    /// asked about is unknown.
    Unreachable,
    /// 4: what was asked about does not exist.
    NotFound,
    /// 5: the server refused: the token, a conflict or the rate limit.
    Refused,
    /// 6: what was waited for did not come about in time.
    TimedOut,
    /// The code of a command that Portolan runs, or 126 or 127 when it cannot run it.
    Command(u8),
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Unmet => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotFound => 4,
            Self::Refused => 5,
            Self::TimedOut => 6,
            Self::Command(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command failed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, in a sentence; safe to print on a terminal.
    pub message: String,
    /// Lines that say what to do next.
    pub hints: Vec<String>,
    /// The HTTP status that a server answered with, if one did.
    pub status: Option<u16>,
    /// No connection to a server was made, so nothing of the request can have been carried out.
    pub unsent: bool,
    /// The reader of the output is gone: nothing is wrong, and nothing is printed.
    pub closed_pipe: bool,
}

impl Failure {
    /// A failure with that code and sentence.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new(), status: None, unsent: false, closed_pipe: false }
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
