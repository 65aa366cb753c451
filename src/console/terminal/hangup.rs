//! A terminal that hung up. crossterm does not notice that: it can spin in one read of it, on the thread of whoever asks for a key, and
//! nothing but the end of the process stops it ([crossterm#793](https://github.com/crossterm-rs/crossterm/issues/793)).

use std::io;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// How long the console may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// Whether the terminal hung up.
pub(in crate::console) fn hung_up() -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::empty())];
    let polled = poll(&mut fds, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_ok() && fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
}

/// Looks at the terminal until it is dropped.
pub(in crate::console) struct Watched {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Ends the process when its terminal hung up and the console did not end. On a thread of its own, since the console's may be the one
/// that spins.
///
/// # Errors
/// When the system gives no thread.
pub(in crate::console) fn watch() -> io::Result<Watched> {
    let (stop, stopped) = channel();
    let waits = move |time| matches!(stopped.recv_timeout(time), Err(RecvTimeoutError::Timeout));
    let thread = thread::Builder::new().name("terminal".to_owned()).spawn(move || {
        while waits(LOOK) {
            if hung_up() && waits(GRACE) {
                std::process::exit(0);
            }
        }
    })?;
    Ok(Watched { stop: Some(stop), thread: Some(thread) })
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
