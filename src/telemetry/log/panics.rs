//! Panics as log lines. The default hook writes to standard error itself, and would block on a reader that has stopped.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::time::Duration;

use tracing::Level;

use super::line;
use super::queue::LogQueue;
use crate::model::text::escape;

/// The target of a panic's line.
const TARGET: &str = "portolan::panic";
/// Longest message, in characters.
const MESSAGE: usize = 2000;
/// Longest backtrace, in characters.
const TRACE: usize = 16 * 1024;
/// How long a panicking thread waits for its line, which may be the last one before the process aborts.
const WAIT: Duration = Duration::from_millis(100);

/// Sends panics to `queue` from now on.
pub(super) fn log_to(queue: LogQueue) {
    panic::set_hook(Box::new(move |info| {
        queue.push(line::render(queue.json(), Level::ERROR, TARGET, &sentence(info)), true);
        if !queue.is_stuck() {
            queue.flush(WAIT);
        }
    }));
}

fn sentence(info: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let location = info.location().map_or_else(|| "an unknown location".to_owned(), ToString::to_string);
    let message = escape(info.payload_as_str().unwrap_or("no message"), MESSAGE);
    let mut text = format!("thread {} panicked at {location}: {message}", thread.name().unwrap_or("without a name"));
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        text.push_str("; backtrace: ");
        text.push_str(&escape(&trace.to_string(), TRACE));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("sound").write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_one_line_of_the_log() {
        let kept = Kept::default();
        let queue = LogQueue::start(Box::new(kept.clone()), false).expect("a thread");
        let before = panic::take_hook();
        log_to(queue);
        let ended = panic::catch_unwind(|| panic!("as asked\nERROR forged: line"));
        panic::set_hook(before);
        assert!(ended.is_err());
        let text = String::from_utf8(kept.0.lock().expect("sound").clone()).expect("UTF-8");
        let line =
            text.lines().find(|line| line.contains("as asked")).expect("it was written before the thread went on");
        assert!(
            line.contains(" ERROR portolan::panic: thread ") && line.contains("src/telemetry/log/panics.rs:"),
            "{line}"
        );
        assert!(line.contains("as asked\\u{a}ERROR forged"), "{line}");
    }
}
