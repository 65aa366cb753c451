//! The program: its start, the signals that it gets, and its end.
//!
//! This process waits for its children itself rather than through the runtime: as process 1 of a container it inherits every orphan, and one
//! that nobody waits for would stay as a zombie.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Stage;
use super::notes::Notes;
use super::signals::Signals;
use crate::cli::exit::{Exit, Failure};
use crate::model::text::escape;

/// Exit code when a command cannot be executed, as in a shell
/// ([POSIX](https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_08_02)).
const NOT_EXECUTABLE: u8 = 126;
/// Exit code when a command is not found, as in a shell.
const NOT_FOUND: u8 = 127;
/// Added to the number of the signal that ended a program, as in a shell.
const BY_SIGNAL: u8 = 128;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It returned this code.
    Code(u8),
    /// A signal of this number ended it.
    Signal(u8),
    /// Another part of this process, or the system, took its exit code away.
    Unknown,
}

impl Ended {
    /// The exit code that says the same.
    pub(super) fn exit(self) -> Exit {
        match self {
            Self::Code(code) => Exit::Command(code),
            Self::Signal(number) => Exit::Command(BY_SIGNAL.saturating_add(number)),
            Self::Unknown => Exit::Unmet,
        }
    }
}

/// A program that was started.
#[derive(Debug)]
pub(super) struct Program {
    pid: Pid,
}

impl Program {
    /// Starts a program with this process's environment, folder, streams and process group, unchanged.
    ///
    /// # Errors
    /// It is not found or cannot be executed.
    pub(super) fn start(command: &[OsString]) -> Result<Self, Failure> {
        let (program, arguments) = command.split_first().ok_or_else(|| Failure::usage("give a program after --"))?;
        let started = Command::new(program).args(arguments).spawn();
        let child = started.map_err(|error| {
            let found = error.kind() != std::io::ErrorKind::NotFound;
            let exit = Exit::Command(if found { NOT_EXECUTABLE } else { NOT_FOUND });
            Failure::new(exit, format!("{} cannot be started: {error}", escape(&program.to_string_lossy(), 300)))
        })?;
        Ok(Self { pid: Pid::from_child(&child) })
    }

    /// Passes signals on until the program ends. Reports the first one that asks to stop.
    pub(super) async fn supervise(
        &self,
        signals: &mut Signals,
        stage: &watch::Sender<Stage>,
        kill_after: Option<Duration>,
        notes: &Notes,
    ) -> Ended {
        let mut kill_at = None;
        loop {
            let received = tokio::select! {
                received = signals.next() => received,
                () = until(kill_at) => {
                    notes.say("it was asked to stop and still runs: killing it, as --kill-after says");
                    self.send(Signal::KILL);
                    kill_at = None;
                    continue;
                }
            };
            if received.signal == Signal::CHILD {
                if let Some(ended) = self.reap() {
                    return ended;
                }
                continue;
            }
            if !received.from_terminal {
                self.send(received.signal);
            }
            if received.stops() && *stage.borrow() == Stage::Running {
                kill_at = kill_after.map(|time| Instant::now() + time);
                stage.send_replace(Stage::Stopping);
            }
        }
    }

    fn send(&self, signal: Signal) {
        // It may have ended a moment ago; nobody else can have its number before it was waited for.
        let _ = kill_process(self.pid, signal);
    }

    /// Waits for every child that has ended; how the program did, if it is one of them.
    fn reap(&self) -> Option<Ended> {
        let mut ended = None;
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid => {
                    let number = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
                    let code = status.exit_status().map(|code| Ended::Code(number(code)));
                    ended = code.or_else(|| status.terminating_signal().map(|signal| Ended::Signal(number(signal))));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return ended,
                // There are no children left.
                Err(_) => return ended.or(Some(Ended::Unknown)),
            }
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
