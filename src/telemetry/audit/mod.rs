//! The audit log: one line for each write, with who asked for it, from where, and what came of it.
//!
//! In: a [`Record`] for each write. Out: an event with the target [`AUDIT_TARGET`] in the process's log, and where a file is named
//! (`PORTOLAN_AUDIT_FILE`) a line of JSON in it.
//!
//! Nobody waits for the file: a line is copied into a bounded queue, which a thread of its own empties. If the disk is full or the reader of a pipe
//! has stopped, the write goes on, the line is dropped, and `portolan_audit_dropped_total` counts it; the log and `/readyz?verbose` say so.
//!
//! Read in this order: this file, [`record`] (what a line says), `file` (the file, which may be renamed at any time).

mod file;
pub mod record;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use crate::telemetry::log::queue::{LogQueue, QueueSettings};
use file::AuditFile;
use record::Line;
pub use record::{Kind, Record, Who};

/// The target of audit lines: `LOG_LEVEL=info,portolan::audit=off` leaves them out of the log. The file gets them all the same.
pub const AUDIT_TARGET: &str = "portolan::audit";

/// How long the process waits at its end for the file.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Why the audit file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// It cannot be opened, and no waiting will change that.
    #[error(
        "PORTOLAN_AUDIT_FILE: {path} cannot be opened: {why}; name a file in a folder that the server may write to"
    )]
    Open {
        /// The path.
        path: String,
        /// The system's error.
        why: std::io::Error,
    },
    /// It holds something else.
    #[error("PORTOLAN_AUDIT_FILE: {0} exists and is not an audit log; name a new file")]
    Other(String),
    /// The system refuses a thread.
    #[error("the audit log cannot start: {0}")]
    System(std::io::Error),
}

/// Takes in what was done. Clones share it.
#[derive(Debug, Clone)]
pub struct AuditLog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Option<ToFile>,
    /// Distinguishes the requests of this process from those of others.
    process: u32,
    requests: AtomicU32,
}

#[derive(Debug)]
struct ToFile {
    queue: LogQueue,
    /// Set to have the file opened again.
    again: Arc<AtomicBool>,
}

impl AuditLog {
    /// Lines go to the process's log alone.
    pub fn without_file() -> Self {
        Self::new(None)
    }

    /// Lines go to the file at `path`, too; `dropped` counts those that do not get there.
    ///
    /// # Errors
    /// [`AuditError`] if the file cannot be used. A full disk, or a pipe that nobody reads, is not an error: that may change.
    pub fn with_file(path: PathBuf, dropped: Counter) -> Result<Self, AuditError> {
        file::try_open(&path)?;
        let again = Arc::new(AtomicBool::new(false));
        let out = Box::new(AuditFile::new(path, Arc::clone(&again)));
        let settings = QueueSettings { name: "audit log", target: AUDIT_TARGET, json: true, dropped };
        let queue = LogQueue::with(out, settings).map_err(AuditError::System)?;
        Ok(Self::new(Some(ToFile { queue, again })))
    }

    fn new(file: Option<ToFile>) -> Self {
        Self(Arc::new(Inner { file, process: rand::random(), requests: AtomicU32::new(0) }))
    }

    /// Whether a line would go anywhere.
    pub fn is_on(&self) -> bool {
        self.0.file.is_some() || tracing::enabled!(target: AUDIT_TARGET, tracing::Level::INFO)
    }

    /// A new id for a request: 16 hex digits, unique in this process, and unlikely to be another one's.
    pub fn request_id(&self) -> String {
        format!("{:08x}{:08x}", self.0.process, self.0.requests.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes a line. Never blocks.
    pub fn record(&self, record: &Record<'_>) {
        let line = Line::of(record);
        line.log();
        if let Some(file) = &self.0.file {
            file.queue.push(line.json(), false);
        }
    }

    /// Opens the file again before the next line. False where there is no file.
    pub fn reopen(&self) -> bool {
        self.0.file.as_ref().is_some_and(|file| {
            file.again.store(true, Ordering::Relaxed);
            true
        })
    }

    /// Whether lines get lost now; none where there is no file.
    pub fn is_losing(&self) -> Option<bool> {
        self.0.file.as_ref().map(|file| file.queue.is_stuck())
    }

    /// At the process's end: waits until the file has every line, for at most one second.
    pub fn finish(&self) {
        if let Some(file) = &self.0.file {
            file.queue.flush(LAST_WAIT);
        }
    }
}

/// Appends one line to the file at `path`, for a command that writes without a server.
///
/// # Errors
/// The file cannot be opened or written.
pub fn append(path: &Path, record: &Record<'_>) -> std::io::Result<()> {
    let line = Line::of(record).json();
    std::io::Write::write_all(&mut AuditFile::new(path.to_owned(), Arc::default()), &line)
}
