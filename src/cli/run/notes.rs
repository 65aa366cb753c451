//! Lines on stderr. The program writes there too, and a reader that stands still must not stop signals or renewals: one thread writes them,
//! and what it has no room for is dropped.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Duration;

use crate::cli::exit::{Exit, Failure};
use crate::model::text::escape;

/// Lines that may wait.
const QUEUE: usize = 64;
/// Longest line, in characters.
const MAX_LINE: usize = 1000;
/// Longest wait for the last lines.
const FINISH_TIMEOUT: Duration = Duration::from_millis(500);

/// Writes lines, each after `portolan: `.
pub(super) struct Notes {
    lines: SyncSender<String>,
    written: Receiver<()>,
}

impl Notes {
    /// Starts the thread, which ends with this value.
    ///
    /// # Errors
    /// No thread can be started.
    pub(super) fn start() -> Result<Self, Failure> {
        let (lines, queued) = sync_channel::<String>(QUEUE);
        let (done, written) = channel();
        let thread = std::thread::Builder::new().name("notes".to_owned()).spawn(move || {
            for line in queued {
                // A stream that is closed ends the notes and nothing else.
                if std::io::stderr().write_all(line.as_bytes()).is_err() {
                    break;
                }
            }
            let _ = done.send(());
        });
        thread.map_err(|error| Failure::new(Exit::Unmet, format!("no threads can be started: {error}")))?;
        Ok(Self { lines, written })
    }

    /// Writes a line, if there is room.
    pub(super) fn say(&self, text: &str) {
        let _ = self.lines.try_send(format!("portolan: {}\n", escape(text, MAX_LINE)));
    }

    /// Waits a moment for the lines that are not written yet.
    pub(super) fn finish(self) {
        let Self { lines, written } = self;
        drop(lines);
        let _ = written.recv_timeout(FINISH_TIMEOUT);
    }
}
