//! Signals to processes, and when they have taken effect.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Time between two looks at a process.
const LOOK: Duration = Duration::from_millis(5);

/// Sends `signal`. A process that has ended is past caring.
pub(crate) fn send(process: Pid, signal: Signal) -> Result<()> {
    match kill_process(process, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("cannot send a signal"),
    }
}

/// SIGSTOP to the process of that id, and waits until it stands still: on a busy machine its other threads run on until one takes the
/// signal.
///
/// # Errors
/// When the signal cannot be sent.
pub fn pause(process: u32) -> Result<()> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw).context("not a process id")?;
    send(pid, Signal::STOP)?;
    while !stands_still(process) {
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// Whether no thread runs, as far as `/proc` tells: it is stopped (T) or has ended (Z, X). See proc_pid_stat(5).
fn stands_still(process: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return true };
    let mut stats = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    stats.all(|stat| {
        // The name before it may have spaces and parentheses.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['T', 'Z', 'X']))
    })
}
