//! Readers that stop, fail and recover.

use std::sync::mpsc::{self, Receiver, Sender};

use super::*;

/// Long enough for the slowest machine; reached only if a test fails.
const HANG: Duration = Duration::from_mins(1);

/// What the reader does with the next write: takes at most this many bytes, or fails.
type Grant = io::Result<usize>;

/// A reader that takes only what it is granted.
struct Reader {
    grants: Receiver<Grant>,
    taken: Sender<Vec<u8>>,
}

impl Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The test is over: take everything.
        let most = self.grants.recv().unwrap_or(Ok(usize::MAX))?;
        let taken = bytes.len().min(most);
        let _ = self.taken.send(bytes[..taken].to_vec());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Stuck {
    queue: LogQueue,
    grants: Option<Sender<Grant>>,
    taken: Receiver<Vec<u8>>,
}

impl Stuck {
    fn new() -> Self {
        let ((grants, granted), (taking, taken)) = (mpsc::channel(), mpsc::channel());
        let reader = Reader { grants: granted, taken: taking };
        let queue = LogQueue::start(Box::new(reader), false).expect("a thread");
        Self { queue, grants: Some(grants), taken }
    }

    fn push(&self, line: &str, urgent: bool) {
        self.queue.push(format!("{line}\n").into_bytes(), urgent);
    }

    fn grant(&self, grant: Grant) {
        self.grants.as_ref().expect("not over").send(grant).expect("the writer runs");
    }

    /// Takes everything from now on and returns all that was taken.
    fn flow(mut self) -> String {
        self.grants = None;
        assert!(self.queue.flush(HANG), "it flows");
        let dropped = self.queue.dropped().get();
        let text = self.taken.try_iter().flatten().collect();
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(text.ends_with('\n'), "whole lines");
        assert_eq!(text.matches(" were dropped: ").count(), usize::from(dropped > 0), "{dropped} dropped");
        text
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn a_reader_that_stops_loses_lines_and_is_told_how_many() {
    let stuck = Stuck::new();
    let long = "x".repeat(1000);
    for n in 0..3000 {
        stuck.push(&format!("{n} {long}"), false);
    }
    assert!(stuck.queue.is_stuck());
    assert!(!stuck.queue.flush(Duration::from_millis(10)), "nobody reads");
    let dropped = stuck.queue.dropped().get();
    assert!(dropped > 2000, "1 MiB holds fewer than a thousand of these: {dropped} dropped");
    let text = stuck.flow();
    let shown = lines(&text);
    assert_eq!(shown.len() as u64, 3000 - dropped + 1);
    assert!(shown[0].starts_with("0 "), "the oldest are kept");
    let report = format!("WARN portolan::log: {dropped} lines were dropped");
    assert!(shown.last().is_some_and(|last| last.contains(&report)), "{:?}", shown.last());
}

#[test]
fn errors_are_kept_when_the_rest_is_dropped() {
    let stuck = Stuck::new();
    let long = "x".repeat(1000);
    for n in 0..2000 {
        stuck.push(&long, false);
        stuck.push(&format!("error {n}"), true);
    }
    let text = stuck.flow();
    let errors = text.lines().filter(|line| line.starts_with("error ")).count();
    assert_eq!(errors, 2000);
}

#[test]
fn the_last_urgent_lines_displace_older_ones() {
    let stuck = Stuck::new();
    let long = "x".repeat(1000);
    for n in 0..3000 {
        stuck.push(&format!("{n} {long}"), true);
    }
    stuck.push("the last words", true);
    let text = stuck.flow();
    let shown = lines(&text);
    assert!(shown.contains(&"the last words"), "{:?}", shown.last());
    assert!(shown.iter().any(|line| line.starts_with("2999 ")));
}

#[test]
fn memory_stays_within_the_capacity() {
    let stuck = Stuck::new();
    for n in 0..100_000 {
        stuck.push("short", n % 2 == 0);
        stuck.push(&"x".repeat(n % 5000), n % 3 == 0);
        let state = stuck.queue.0.0.lock();
        assert!(state.bytes <= CAPACITY);
        if n % 10_000 == 0 {
            assert_eq!(state.bytes, state.entries.iter().map(Entry::cost).sum::<usize>());
        }
    }
    stuck.push(&"x".repeat(2 * CAPACITY), true);
    stuck.flow();
}

#[test]
fn a_full_disk_loses_lines_and_splices_none() {
    let stuck = Stuck::new();
    stuck.push("first", false);
    stuck.grant(Ok(3));
    stuck.grant(Err(ErrorKind::StorageFull.into()));
    while stuck.queue.dropped().get() == 0 {
        std::thread::yield_now();
    }
    stuck.push("second", false);
    stuck.grant(Err(ErrorKind::StorageFull.into()));
    while stuck.queue.dropped().get() < 2 {
        std::thread::yield_now();
    }
    stuck.push("third", false);
    let text = stuck.flow();
    let shown = lines(&text);
    assert_eq!(shown[..2], ["fir", "third"], "the torn line ends before the next begins");
    assert!(shown[2].contains("2 lines were dropped"), "{text}");
}

#[test]
fn a_write_that_would_block_is_tried_again() {
    let stuck = Stuck::new();
    stuck.push("whole", false);
    for _ in 0..3 {
        stuck.grant(Err(ErrorKind::WouldBlock.into()));
        stuck.grant(Err(ErrorKind::Interrupted.into()));
    }
    assert_eq!(stuck.flow(), "whole\n");
}

#[test]
fn warnings_and_errors_are_urgent() {
    let stuck = Stuck::new();
    let subscriber = tracing_subscriber::fmt().with_writer(stuck.queue.clone()).with_ansi(false).finish();
    let long = "x".repeat(1000);
    tracing::subscriber::with_default(subscriber, || {
        for _ in 0..2000 {
            tracing::info!("{long}");
        }
        tracing::warn!("a warning");
        tracing::error!("an error");
    });
    let text = stuck.flow();
    assert!(text.contains("WARN") && text.contains("a warning") && text.contains("an error"));
}
