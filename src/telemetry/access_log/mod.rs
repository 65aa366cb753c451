//! The access log: one line for each answered request, formatted off the request's path.
//!
//! In: a [`Record`] per request. Out: lines, which in a server go to the log's queue.
//!
//! A request only copies its record into a bounded page ([`page`]). A thread swaps the page for an empty one every few milliseconds and
//! formats the records in batches ([`mod@line`]). If it cannot keep up, lines are dropped and counted, and the log says so.
//!
//! Read the files in this order: this one (the log's handle and its thread), [`page`], [`mod@line`].

mod line;
mod page;

use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

use super::log::ACCESS_TARGET;
use super::metrics::{Metrics, ReasonLabel};
use line::Lines;
use page::Page;

/// Most records that wait: 160 ms at 100,000 requests/s, in at most 5 MB.
const CAPACITY: usize = 16_384;
/// How long records gather before they are formatted.
const GATHER: Duration = Duration::from_millis(10);
/// Longest sleep of an idle thread; bounds the delay of a missed wake-up.
const IDLE: Duration = Duration::from_secs(1);
/// Most bytes of one write.
const BATCH: usize = 32 * 1024;
/// Shortest time between two reports of dropped lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// One answered request. Of borrowed texts a bounded part is copied: 160 bytes of the target, 48 of the user agent.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// When the request's head was complete.
    pub started: Instant,
    /// The client's address: the one that a trusted proxy forwards, otherwise the connection's peer.
    pub peer: IpAddr,
    /// The method, from a closed set ([`method_label`](super::metrics::method_label)).
    pub method: &'static str,
    /// Path and query as received; the line hides the values of unknown query fields.
    pub target: &'a str,
    /// The answer's status.
    pub status: u16,
    /// From the request's head to the answer's head.
    pub took: Duration,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// The `User-Agent` header.
    pub user_agent: Option<&'a [u8]>,
}

/// The requests' end of the log. Clones share it.
#[derive(Debug, Clone)]
pub struct AccessLog(Option<Arc<Shared>>);

/// The thread's end of the log. Run it, or the page fills and stays full.
pub struct AccessLogWriter {
    shared: Arc<Shared>,
    json: bool,
    out: Box<dyn Write + Send>,
    /// The page that is being formatted.
    page: Page,
}

#[derive(Debug)]
struct Shared {
    page: Mutex<Page>,
    asleep: AtomicBool,
    stop: AtomicBool,
    thread: OnceLock<Thread>,
    dropped: AtomicU64,
    rejected: Counter,
    log_dropped: Counter,
}

impl AccessLog {
    /// A log that writes to `out`, as JSON or text.
    pub fn new(json: bool, out: Box<dyn Write + Send>, metrics: &Metrics) -> (Self, AccessLogWriter) {
        let shared = Arc::new(Shared {
            page: Mutex::default(),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            thread: OnceLock::new(),
            dropped: AtomicU64::new(0),
            rejected: metrics.rejected.get_or_create(&ReasonLabel { reason: "access_log_full" }).clone(),
            log_dropped: metrics.log_dropped.clone(),
        });
        (Self(Some(Arc::clone(&shared))), AccessLogWriter { shared, json, out, page: Page::default() })
    }

    /// A log that discards every record.
    pub fn off() -> Self {
        Self(None)
    }

    /// Queues a record; drops and counts it if the page is full. Never blocks.
    pub fn record(&self, record: &Record<'_>) {
        let Some(shared) = &self.0 else { return };
        if !shared.push(record) {
            shared.rejected.inc();
            shared.log_dropped.inc();
            shared.dropped.fetch_add(1, Relaxed);
        }
        // A wake-up missed in this race delays lines by at most IDLE, so no fence is needed.
        if shared.asleep.load(Relaxed) && shared.asleep.swap(false, Relaxed) {
            shared.wake();
        }
    }
}

impl Shared {
    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> usize {
        self.page().len()
    }

    /// False if there was no room.
    fn push(&self, record: &Record<'_>) -> bool {
        let mut page = self.page();
        let room = page.len() < CAPACITY;
        if room {
            page.push(record);
        }
        room
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn stop(&self) {
        self.stop.store(true, Relaxed);
        self.wake();
    }
}

impl AccessLogWriter {
    /// Writes lines until `shutdown`, then everything still queued. Cancel it after the last request has ended.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub async fn run(self, shutdown: CancellationToken) -> std::io::Result<()> {
        let stopper = Stopper(Arc::clone(&self.shared));
        let (ended, end) = tokio::sync::oneshot::channel();
        // Not a runtime thread: formatting a batch takes milliseconds, for which that thread's requests would wait.
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            self.write_all();
            // Fails if nobody waits for the end any more.
            let _ = ended.send(());
        })?;
        shutdown.cancelled().await;
        drop(stopper);
        // An error means that the thread panicked: it has ended all the same.
        let _ = end.await;
        Ok(())
    }

    fn write_all(mut self) {
        let shared = Arc::clone(&self.shared);
        // Cannot be set already: the only run consumes the writer.
        let _ = shared.thread.set(std::thread::current());
        let mut lines = Lines::new(self.json);
        let mut reported = Instant::now();
        while !shared.stop.load(Relaxed) {
            shared.asleep.store(true, Relaxed);
            if shared.waiting() == 0 {
                std::thread::park_timeout(IDLE);
            }
            shared.asleep.store(false, Relaxed);
            if !shared.stop.load(Relaxed) && shared.waiting() < CAPACITY / 2 {
                std::thread::park_timeout(GATHER);
            }
            self.drain(&mut lines);
            if reported.elapsed() >= REPORT_INTERVAL {
                reported = Instant::now();
                shared.report();
            }
        }
        self.drain(&mut lines);
        shared.report();
    }

    fn drain(&mut self, lines: &mut Lines) {
        lines.anchor();
        let mut page = std::mem::take(&mut self.page);
        std::mem::swap(&mut *self.shared.page(), &mut page);
        for entry in page.entries() {
            lines.push(&entry);
            if lines.bytes().len() >= BATCH {
                self.flush(lines);
            }
        }
        self.flush(lines);
        page.clear();
        self.page = page;
    }

    fn flush(&mut self, lines: &mut Lines) {
        // If the reader is gone, the server goes on.
        let _ = self.out.write_all(lines.bytes()).and_then(|()| self.out.flush());
        lines.clear();
    }
}

impl Shared {
    fn report(&self) {
        let dropped = self.dropped.swap(0, Relaxed);
        if dropped > 0 {
            tracing::warn!(target: ACCESS_TARGET, dropped, "access lines were dropped: requests came faster than lines could be formatted");
        }
    }
}

struct Stopper(Arc<Shared>);

impl Drop for Stopper {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn record(target: &str) -> Record<'_> {
        Record {
            started: Instant::now(),
            peer: IpAddr::from([127, 0, 0, 1]),
            method: "GET",
            target,
            status: 200,
            took: Duration::from_micros(52),
            bytes: 183,
            user_agent: Some(b"curl/8.0"),
        }
    }

    #[tokio::test]
    async fn every_record_is_written_before_the_run_ends() {
        let sink = Sink::default();
        let (log, writer) = AccessLog::new(false, Box::new(sink.clone()), &Metrics::default());
        let shutdown = CancellationToken::new();
        let run = tokio::spawn(writer.run(shutdown.clone()));
        for n in 0..1000 {
            log.record(&record(&format!("/{n}")));
        }
        shutdown.cancel();
        run.await.expect("no panic").expect("a thread starts");
        let text = String::from_utf8(sink.0.lock().expect("not poisoned").clone()).expect("UTF-8");
        assert_eq!(text.lines().count(), 1000);
        assert!(text.lines().last().is_some_and(|l| l.ends_with(" 127.0.0.1 GET /999 200 183B 52us \"curl/8.0\"")));
    }

    #[tokio::test]
    async fn a_line_appears_without_a_shutdown() {
        let sink = Sink::default();
        let (log, writer) = AccessLog::new(true, Box::new(sink.clone()), &Metrics::default());
        let shutdown = CancellationToken::new();
        let run = tokio::spawn(writer.run(shutdown.clone()));
        log.record(&record("/"));
        let seen = async {
            while sink.0.lock().expect("not poisoned").is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(2), seen).await.expect("the line appears");
        shutdown.cancel();
        run.await.expect("no panic").expect("a thread starts");
    }

    #[test]
    fn a_full_page_drops_records_and_counts_them() {
        let metrics = Metrics::default();
        let (log, _writer) = AccessLog::new(false, Box::new(std::io::sink()), &metrics);
        for _ in 0..CAPACITY + 3 {
            log.record(&record("/"));
        }
        let text = metrics.render().expect("renders");
        assert!(text.contains("portolan_rejected_total{reason=\"access_log_full\"} 3"), "{text}");
        assert!(text.contains("portolan_log_dropped_total 3"), "{text}");
    }
}
