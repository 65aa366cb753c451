//! One line for each answered request, written off the request's path.
//!
//! A request pays for a copy into a bounded page. A thread of its own takes the page every few milliseconds, leaves an empty one,
//! and formats what it took in batches, which in a server go to the log's queue. When it cannot keep up, lines are dropped and counted,
//! and the log says so.

use std::io::Write;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

use line::Lines;
use page::Page;
use super::log::ACCESS_TARGET;
use super::metrics::{Metrics, ReasonLabel};

/// Lines that may wait: 160 ms at 100,000 requests/s, in at most 5 MB.
const QUEUE: usize = 16_384;
/// How long lines may gather before they are written.
const GATHER: Duration = Duration::from_millis(10);
/// How long an idle thread sleeps at most: bounds the delay of a missed wake-up.
const IDLE: Duration = Duration::from_secs(1);
/// Bytes that are handed to the system at once.
const BATCH: usize = 32 * 1024;
/// How often dropped lines are reported at most.
const REPORT: Duration = Duration::from_secs(10);

/// One answered request. Borrowed texts are copied, bounded: 160 bytes of target, 48 of user agent.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// When the request's head was there.
    pub started: Instant,
    /// The client's address: behind a trusted proxy the one that it forwards, else the connection's other end.
    pub peer: IpAddr,
    /// The method, from a closed set ([`method_label`](super::metrics::method_label)).
    pub method: &'static str,
    /// Path and query as they came; values of unknown query fields are left out of the line.
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

/// The requests' end of the log. Cloning shares it.
#[derive(Debug, Clone)]
pub struct AccessLog(Option<Arc<Shared>>);

/// The thread's end of the log: run it, or the queue fills and stays full.
pub struct AccessLogWriter {
    shared: Arc<Shared>,
    json: bool,
    out: Box<dyn Write + Send>,
    /// The page in hand.
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

    /// A log that keeps nothing.
    pub fn off() -> Self {
        Self(None)
    }

    /// Queues a line; drops and counts it when the queue is full. Never blocks.
    pub fn record(&self, record: &Record<'_>) {
        let Some(shared) = &self.0 else { return };
        if !shared.push(record) {
            shared.rejected.inc();
            shared.log_dropped.inc();
            shared.dropped.fetch_add(1, Relaxed);
        }
        // A wake-up that this races past costs at most IDLE, so no fence is paid for here.
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

    /// Whether there was room.
    fn push(&self, record: &Record<'_>) -> bool {
        let mut page = self.page();
        let room = page.len() < QUEUE;
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
    /// Writes lines until `shutdown`, then what is still queued. Cancel it after the last request has ended.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub async fn run(self, shutdown: CancellationToken) -> std::io::Result<()> {
        let stopper = Stopper(Arc::clone(&self.shared));
        let (ended, end) = tokio::sync::oneshot::channel();
        // Not a runtime thread: formatting a batch takes milliseconds, which requests of that thread would wait for.
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            self.write_all();
            // The other side is gone when nobody waits for the end.
            let _ = ended.send(());
        })?;
        shutdown.cancelled().await;
        drop(stopper);
        // An error here means that the thread panicked: it has ended all the same.
        let _ = end.await;
        Ok(())
    }

    fn write_all(mut self) {
        let shared = Arc::clone(&self.shared);
        // Set once: the writer is consumed by its only run.
        let _ = shared.thread.set(std::thread::current());
        let mut lines = Lines::new(self.json);
        let mut reported = Instant::now();
        while !shared.stop.load(Relaxed) {
            shared.asleep.store(true, Relaxed);
            if shared.waiting() == 0 {
                std::thread::park_timeout(IDLE);
            }
            shared.asleep.store(false, Relaxed);
            if !shared.stop.load(Relaxed) && shared.waiting() < QUEUE / 2 {
                std::thread::park_timeout(GATHER);
            }
            self.drain(&mut lines);
            if reported.elapsed() >= REPORT {
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
        // A reader that went away is no reason to stop serving.
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
    async fn what_was_recorded_is_written_before_the_run_ends() {
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
    fn a_full_queue_drops_and_counts() {
        let metrics = Metrics::default();
        let (log, _writer) = AccessLog::new(false, Box::new(std::io::sink()), &metrics);
        for _ in 0..QUEUE + 3 {
            log.record(&record("/"));
        }
        let text = metrics.render().expect("renders");
        assert!(text.contains("portolan_rejected_total{reason=\"access_log_full\"} 3"), "{text}");
        assert!(text.contains("portolan_log_dropped_total 3"), "{text}");
    }
}
