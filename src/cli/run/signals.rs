//! The signals of this process, with their origin.
//!
//! A terminal sends the signals of its keys to every process of its foreground group, so the program has received them already. Only what
//! another process sent is passed on, as `sudo` does, and the SIGHUP of a terminal that closes, which only the session's leader gets.

use std::thread::JoinHandle;

use rustix::process::Signal;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::iterator::exfiltrator::origin::Origin;
use signal_hook::iterator::{Handle, SignalsInfo};
use signal_hook::low_level::siginfo::Cause;
use tokio::sync::mpsc;

use crate::cli::exit::{Exit, Failure};

/// Signals that may wait; the handlers keep more.
const QUEUE: usize = 64;
/// What is passed on, and the end of children.
const HANDLED: [Signal; 7] =
    [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::CHILD];

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    /// Which.
    pub(super) signal: Signal,
    /// Whether the terminal sent it, to the program as well.
    pub(super) from_terminal: bool,
}

impl Received {
    /// Whether it asks to stop. SIGQUIT makes many programs print their threads, and SIGHUP read their files again.
    pub(super) fn stops(self) -> bool {
        matches!(self.signal, Signal::TERM | Signal::INT)
    }

    fn new(origin: &Origin) -> Option<Self> {
        let signal = Signal::from_named_raw(origin.signal)?;
        let alone = signal == Signal::CHILD || (signal == Signal::HUP && leads_session());
        Some(Self { signal, from_terminal: matches!(origin.cause, Cause::Kernel) && !alone })
    }
}

/// Receives signals until it is dropped.
pub(super) struct Signals {
    received: mpsc::Receiver<Received>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// Handles signals from now on, but for those that this process ignores, as under `nohup`: the program inherits that it ignores them.
    ///
    /// # Errors
    /// No handler can be installed or no thread started.
    pub(super) fn handle() -> Result<Self, Failure> {
        let none = |error: std::io::Error| Failure::new(Exit::Unmet, format!("signals cannot be handled: {error}"));
        let ignored = ignored();
        let handled = HANDLED.iter().filter(|signal| **signal == Signal::CHILD || ignored & bit(**signal) == 0);
        let mut signals = SignalsInfo::<WithOrigin>::new(handled.map(|signal| signal.as_raw())).map_err(none)?;
        let handle = signals.handle();
        let (sender, received) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("signals".to_owned());
        let thread = thread.spawn(move || {
            for origin in &mut signals {
                if Received::new(&origin).is_some_and(|received| sender.blocking_send(received).is_err()) {
                    return;
                }
            }
        });
        Ok(Self { received, handle, thread: Some(thread.map_err(none)?) })
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> Received {
        match self.received.recv().await {
            Some(received) => received,
            // The thread ends only with this value.
            None => std::future::pending().await,
        }
    }

    /// Waits for a signal that asks to stop.
    pub(super) async fn stop(&mut self) {
        while !self.next().await.stops() {}
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.received.close();
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Whether this process leads its session: then the kernel sends it a SIGHUP that no other process gets
/// ([setsid(2)](https://man7.org/linux/man-pages/man2/setsid.2.html)). Not by `getsid`, which rustix takes for a process id although it is 0
/// where the leader is outside of this process's namespace, as under `docker exec`.
fn leads_session() -> bool {
    status().is_some_and(|status| is_leader(&status, std::process::id()))
}

/// What `/proc/self/status` says ([proc(5)](https://man7.org/linux/man-pages/man5/proc_pid_status.5.html)); none where the system does not tell.
fn status() -> Option<String> {
    std::fs::read_to_string("/proc/self/status").ok()
}

/// Whether a process is the leader of its session: of the numbers of both, one for each namespace, the last is that in the process's own.
fn is_leader(status: &str, process: u32) -> bool {
    let leader = status.lines().find_map(|line| line.strip_prefix("NSsid:"));
    leader.and_then(|numbers| numbers.split_whitespace().next_back()?.parse().ok()) == Some(process)
}

fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

/// The signals that this process ignores, as bits.
fn ignored() -> u64 {
    status().and_then(|status| mask(&status)).unwrap_or(0)
}

fn mask(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        let status = "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        let ignored = mask(status).expect("a mask");
        assert_ne!(ignored & bit(Signal::HUP), 0);
        assert_ne!(ignored & bit(Signal::PIPE), 0);
        assert_eq!(ignored & bit(Signal::TERM), 0);
        assert_eq!(mask("Name:\tx\n"), None);
    }

    #[test]
    fn a_leader_is_known_by_its_number_in_its_own_namespace() {
        let status = |sessions: &str| format!("Name:\tx\nNSpid:\t4711\t7\nNSsid:\t{sessions}\n");
        assert!(is_leader(&status("4711\t7"), 7));
        assert!(!is_leader(&status("4711\t3"), 7));
        assert!(!is_leader(&status("7\t3"), 7));
        // Its leader is outside of the namespace.
        assert!(!is_leader(&status("0"), 7));
        assert!(!is_leader("Name:\tx\n", 7));
    }

    #[test]
    fn only_term_and_int_ask_to_stop() {
        let stops = |signal| Received { signal, from_terminal: false }.stops();
        assert!(HANDLED.iter().all(|signal| stops(*signal) == matches!(*signal, Signal::TERM | Signal::INT)));
    }
}
