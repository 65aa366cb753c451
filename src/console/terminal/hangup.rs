//! Terminals that hung up. crossterm does not notice it: it can spin in a read, on the thread that waits for keys, until the process ends ([crossterm#793](https://github.com/crossterm-rs/crossterm/issues/793)).

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

/// How often the terminal is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// How long the console may take to end.
const GRACE: Duration = Duration::from_secs(1);

/// Whether the terminal hung up.
pub(in crate::console) fn hung_up() -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::empty())];
    let polled = poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_ok() && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
}

/// Checks the terminal until it is dropped.
pub(in crate::console) struct HangupWatch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Ends the process when its terminal hung up and the console did not end. It has its own thread, since that of the console may spin.
///
/// # Errors
/// When the system cannot start a thread.
pub(in crate::console) fn watch() -> io::Result<HangupWatch> {
    let (stop, stopped) = channel();
    let waits = move |time| matches!(stopped.recv_timeout(time), Err(RecvTimeoutError::Timeout));
    let thread = thread::Builder::new().name("terminal".to_owned()).spawn(move || {
        while waits(CHECK_INTERVAL) {
            if hung_up() && waits(GRACE) {
                std::process::exit(0);
            }
        }
    })?;
    Ok(HangupWatch { stop: Some(stop), thread: Some(thread) })
}

impl Drop for HangupWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
