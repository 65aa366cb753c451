//! The queue between the program and the log's reader: bounded in bytes, emptied by one thread. Nobody waits for it.
//!
//! The reader may stop at any time: a terminal after Ctrl-S, a full pipe, a stuck log driver, a full disk. Serving, probing and storing
//! must go on. So a line is only copied into this queue, and if there is no room, it is dropped and counted.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::line;

/// Capacity in bytes, including the overhead of each entry.
pub const CAPACITY: usize = 1024 * 1024;
/// The part of it that is reserved for warnings and errors.
const RESERVED: usize = CAPACITY / 4;
/// Overhead of an entry, in bytes.
const OVERHEAD: usize = 64;
/// Most bytes of one write.
const BATCH: usize = 64 * 1024;
/// Pause before the next try, if another program has made the shared pipe or terminal non-blocking.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
/// The target of the line that counts dropped ones.
const TARGET: &str = "portolan::log";

/// Takes finished log lines. Clones share the queue; its thread ends with the last clone.
#[derive(Debug, Clone)]
pub struct LogQueue(Arc<Owner>);

#[derive(Debug)]
struct Owner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    more: Condvar,
    /// Something was written or given up.
    done: Condvar,
    settings: QueueSettings,
}

/// What a queue says of itself, and where it counts.
#[derive(Debug)]
pub struct QueueSettings {
    /// Its name, which is also its thread's; at most 15 bytes.
    pub name: &'static str,
    /// The target of its line about dropped ones.
    pub target: &'static str,
    /// The form of that line.
    pub json: bool,
    /// Counts dropped lines.
    pub dropped: Counter,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    /// The size of all entries, with [`OVERHEAD`] added for each.
    bytes: usize,
    /// Lines dropped since the last report.
    lost: u64,
    /// The writer holds a batch that it has taken out.
    writing: bool,
    /// The last batch could not be written.
    failing: bool,
    closed: bool,
}

/// Whole lines that belong together.
#[derive(Debug)]
struct Entry {
    text: Vec<u8>,
    urgent: bool,
}

impl Entry {
    fn cost(&self) -> usize {
        self.text.len() + OVERHEAD
    }
}

impl LogQueue {
    /// Starts the log's thread, which writes to `out`. `json` is the form of the queue's own line about dropped ones.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(out: Box<dyn Write + Send>, json: bool) -> io::Result<Self> {
        Self::with(out, QueueSettings { name: "log", target: TARGET, json, dropped: Counter::default() })
    }

    /// The same for another log.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn with(out: Box<dyn Write + Send>, settings: QueueSettings) -> io::Result<Self> {
        let thread = std::thread::Builder::new().name(settings.name.to_owned());
        let shared = Arc::new(Shared { state: Mutex::default(), more: Condvar::new(), done: Condvar::new(), settings });
        let queue = Self(Arc::new(Owner(Arc::clone(&shared))));
        // Not a runtime thread: one that is stuck in a write would keep the process from ending.
        thread.spawn(move || shared.write_all(out))?;
        Ok(queue)
    }

    /// Lines dropped so far.
    pub fn dropped(&self) -> Counter {
        self.0.0.settings.dropped.clone()
    }

    /// Queues whole lines. Urgent ones have reserved room, and displace other lines if that is full too. Never blocks.
    pub fn push(&self, text: Vec<u8>, urgent: bool) {
        let shared = &self.0.0;
        shared.lock().push(Entry { text, urgent }, &shared.settings.dropped);
        shared.more.notify_one();
    }

    /// Waits until everything is written, for at most `limit`. False if something is still queued.
    pub fn flush(&self, limit: Duration) -> bool {
        let shared = &self.0.0;
        let waited = shared.done.wait_timeout_while(shared.lock(), limit, |state| state.has_work());
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.has_work()
    }

    /// Whether lines are being dropped.
    pub fn is_stuck(&self) -> bool {
        let state = self.0.0.lock();
        state.lost > 0 || state.failing
    }

    pub(super) fn json(&self) -> bool {
        self.0.0.settings.json
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.more.notify_one();
    }
}

impl State {
    fn push(&mut self, entry: Entry, dropped: &Counter) {
        let cost = entry.cost();
        if entry.urgent {
            self.make_room(cost, dropped);
        }
        let room = if entry.urgent { CAPACITY } else { CAPACITY - RESERVED };
        if self.bytes + cost > room {
            return self.lose(&entry.text, dropped);
        }
        self.bytes += cost;
        self.entries.push_back(entry);
    }

    /// Drops ordinary lines first, then the oldest urgent ones: the last lines before an end say most about it.
    fn make_room(&mut self, cost: usize, dropped: &Counter) {
        if self.bytes + cost > CAPACITY {
            let (kept, displaced) = std::mem::take(&mut self.entries).into_iter().partition(|entry| entry.urgent);
            self.entries = kept;
            for entry in Vec::from(displaced as VecDeque<Entry>) {
                self.bytes -= entry.cost();
                self.lose(&entry.text, dropped);
            }
        }
        while self.bytes + cost > CAPACITY
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.cost();
            self.lose(&oldest.text, dropped);
        }
    }

    fn lose(&mut self, text: &[u8], dropped: &Counter) {
        let lines = memchr::memchr_iter(b'\n', text).count() as u64;
        self.lost += lines;
        dropped.inc_by(lines);
    }

    fn has_work(&self) -> bool {
        self.writing || !self.entries.is_empty() || self.owes_report()
    }

    /// Whether the log flows again after lines were dropped.
    fn owes_report(&self) -> bool {
        self.lost > 0 && !self.failing && self.bytes <= CAPACITY / 2
    }

    fn report(&mut self, QueueSettings { name, target, json, .. }: &QueueSettings) {
        let text = format!("{} lines were dropped: the {name}'s reader had stopped or its disk was full", self.lost);
        let entry = Entry { text: line::render(*json, Level::WARN, target, &text), urgent: true };
        self.lost = 0;
        self.bytes += entry.cost();
        self.entries.push_back(entry);
    }

    fn take(&mut self, batch: &mut Vec<u8>) {
        while batch.len() < BATCH
            && let Some(entry) = self.entries.pop_front()
        {
            self.bytes -= entry.cost();
            batch.extend_from_slice(&entry.text);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self, out: Box<dyn Write + Send>) {
        let mut sink = Sink { out, torn: false };
        let mut batch = Vec::new();
        while self.next(&mut batch) {
            let lost = sink.write(&batch).err();
            let mut state = self.lock();
            state.writing = false;
            state.failing = lost.is_some();
            if let Some(from) = lost {
                state.lose(&batch[from..], &self.settings.dropped);
            }
            drop(state);
            self.done.notify_all();
        }
    }

    /// Waits for lines; false once there will be no more.
    fn next(&self, batch: &mut Vec<u8>) -> bool {
        batch.clear();
        let idle = |state: &mut State| state.entries.is_empty() && !state.owes_report() && !state.closed;
        let mut state = self.more.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
        if state.owes_report() {
            state.report(&self.settings);
        }
        state.take(batch);
        state.writing = !batch.is_empty();
        state.writing
    }
}

/// The log's file, terminal or pipe.
struct Sink {
    out: Box<dyn Write + Send>,
    /// The last line was cut off.
    torn: bool,
}

impl Sink {
    /// Writes whole lines.
    ///
    /// # Errors
    /// The number of bytes written before the system refused more: the reader is gone, or the disk is full.
    fn write(&mut self, lines: &[u8]) -> Result<(), usize> {
        if self.torn {
            self.put(b"\n").map_err(|_| 0_usize)?;
            self.torn = false;
        }
        let put = self.put(lines);
        if let Err(written) = put {
            self.torn = written > 0 && lines.get(written - 1) != Some(&b'\n');
        }
        put
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.out.write(&bytes[written..]) {
                Ok(0) => return Err(written),
                Ok(n) => written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY_PAUSE),
                Err(_) => return Err(written),
            }
        }
        Ok(())
    }
}

/// For whole lines of ordinary importance, such as access lines.
impl Write for LogQueue {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.push(lines.to_vec(), false);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes one event's line.
#[derive(Debug)]
pub struct LineWriter<'a> {
    queue: &'a LogQueue,
    urgent: bool,
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push(line.to_vec(), self.urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter { queue: self, urgent: false }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> LineWriter<'a> {
        LineWriter { queue: self, urgent: *event.level() <= Level::WARN }
    }
}

#[cfg(test)]
mod tests;
