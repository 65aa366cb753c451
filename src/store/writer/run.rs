//! Opens the store, and runs its two threads until they are stopped in order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::model::ports::WriteError;
use crate::model::time::{Clock, UnixMs};
use crate::telemetry::metrics::Metrics;

use super::recording::Recording;
use super::repair::Repair;
use super::trim::Bounds;
use super::upkeep::StartRetry;
use super::wall_clock::WallClock;
use super::{Engine, Retained, TRIM};
use crate::store::error::{OpenError, StoreError};
use crate::store::file::connect::{Gate, connect_reader};
use crate::store::file::damage::load_error;
use crate::store::file::identity::FileIdentity;
use crate::store::file::open;
use crate::store::file::open::{OpenRequest, RunStart};
use crate::store::history::thread::{self, Question, Reader, Reading};
use crate::store::queue::job::Job;
use crate::store::queue::pending::Pending;
use crate::store::rules::state::Limits;
use crate::store::schema::codec::int;
use crate::store::schema::quarantine::Quarantine;
use crate::store::{Consent, Inner, Opened, Store, StoreSettings};

/// Time between two idle jobs.
const IDLE: Duration = Duration::from_secs(1);

/// The store's work: a thread that writes and one that reads history, from [`Writer::run`] on.
pub struct Writer {
    pub(crate) engine: Engine,
    pub(crate) reader: Reader,
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) questions: mpsc::Sender<Question>,
}

/// Opens the file and builds the parts.
pub(crate) fn open(
    settings: StoreSettings,
    consent: Consent,
    clock: Clock,
    metrics: Metrics,
) -> Result<Opened, OpenError> {
    let now = clock.now();
    let request = OpenRequest { epoch: settings.epoch, durable: settings.durable, now: now.wall, consent };
    let open::Loaded { path, lock, contents } = open::open(&settings.path, &request)?;
    let open::Contents { meta, registered, remembered, quarantined, start } = contents;
    let Threads { db, in_main_file, start_retry, reading, files, why } = threads(&path, start)?;
    let quarantine = Arc::new(Quarantine::new(quarantined, metrics.clone()));
    let catalog = Arc::new(Catalog::new(registered.state.snapshot.clone()));
    metrics.revision.set(int(meta.revision));
    let (jobs, job_queue) = mpsc::channel(super::QUEUE);
    let (questions, question_queue) = mpsc::channel(thread::QUEUE);
    let failure = Arc::new(ArcSwapOption::from(why.map(Arc::new)));
    let complete = Arc::new(AtomicBool::new(registered.state.is_complete()));
    let engine = Engine {
        db,
        start_retry,
        lock,
        path,
        files,
        run: meta.run,
        state: registered.state,
        index: registered.index,
        limits: Limits {
            services: settings.max_services,
            instances: settings.max_instances,
            interval: settings.default_interval,
        },
        bounds: Bounds {
            rows: u64::try_from(settings.history_rows).unwrap_or(u64::MAX),
            age: Duration::from_hours(24) * settings.history_days,
        },
        retained: Retained { floor: meta.floor, remembered },
        wall: WallClock::new(now),
        recording: Recording::new(now),
        repair: Repair::Possible,
        trimmed: UnixMs(i64::MIN),
        clock: clock.clone(),
        catalog: Arc::clone(&catalog),
        metrics: metrics.clone(),
        jobs: job_queue,
        failure: Arc::clone(&failure),
        complete: Arc::clone(&complete),
        unproved: false,
        in_main_file,
        log_pending: !in_main_file,
        written: Instant::now(),
        quarantine: Arc::clone(&quarantine),
        watch: None,
    };
    let reader = Reader { file: reading, questions: question_queue, jobs: jobs.clone() };
    let inner = Inner {
        failure,
        complete,
        began: request.epoch.map(|_| meta.began),
        quarantine,
        jobs: jobs.clone(),
        questions: questions.clone(),
        catalog: Arc::clone(&catalog),
        pending: Pending::new(),
        metrics,
        clock,
    };
    let writer = Writer { engine, reader, jobs, questions };
    Ok(Opened { store: Store(Arc::new(inner)), writer, catalog, probes: registered.probes })
}

/// How the two threads reach the file.
struct Threads {
    db: Option<Connection>,
    in_main_file: bool,
    start_retry: Option<StartRetry>,
    reading: Reading,
    files: FileIdentity,
    /// Why nothing is written yet.
    why: Option<WriteError>,
}

fn threads(path: &Path, start: RunStart) -> Result<Threads, OpenError> {
    let unreadable = |source| OpenError::Unreadable { path: path.to_owned(), source };
    let later = match start {
        RunStart::Begun(db, in_main_file) => {
            let reading = reader(path)?;
            let files = FileIdentity::of(path).map_err(unreadable)?;
            return Ok(Threads { db: Some(db), in_main_file, start_retry: None, reading, files, why: None });
        }
        RunStart::Postponed(later) => later,
    };
    let why = later.why.clone();
    tracing::error!("{}: {why}", path.display());
    let gate: Gate = Arc::default();
    // An open connection shares its index of the log with later ones, so a read-only one would keep the writer from writing for good.
    let stays = !later.read_only && later.why != WriteError::ReadOnly;
    let usual = if stays { reader(path).ok() } else { None };
    let reading = usual.unwrap_or_else(|| Reading::Aside(path.to_owned(), Arc::clone(&gate)));
    let files = FileIdentity::without_log(path).map_err(unreadable)?;
    let start_retry = Some(StartRetry { start: later, gate, tried: Instant::now() });
    Ok(Threads { db: None, in_main_file: false, start_retry, reading, files, why: Some(why) })
}

/// SQLite opens the write-ahead log at the first read. That happens here, so that history stays readable even if the file is removed.
fn reader(path: &Path) -> Result<Reading, OpenError> {
    let open = || {
        let db = connect_reader(path)?;
        db.query_row("SELECT count(*) FROM meta", [], |_| Ok(()))?;
        Reading::through(db)
    };
    open().map_err(|error| load_error(path, error).in_new_file(path))
}

impl Writer {
    /// Works until `shutdown`; then answers what is queued, checkpoints the write-ahead log and releases the lock. Later calls get
    /// [`WriteError::Closed`].
    ///
    /// # Errors
    /// [`StoreError`] when a thread cannot start or ends unexpectedly.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let Self { engine, reader, jobs, questions } = self;
        let mut writing = spawn("writer", move || engine.serve())?;
        let mut reading = spawn("reader", move || reader.serve())?;
        let (mut trim, mut idle) = (tokio::time::interval(TRIM), tokio::time::interval(IDLE));
        let died = loop {
            tokio::select! {
                () = shutdown.cancelled() => break None,
                // A full queue does no harm: the next tick comes.
                _ = trim.tick() => drop(jobs.try_send(Job::Trim)),
                _ = idle.tick() => drop(jobs.try_send(Job::Idle)),
                _ = &mut writing => break Some("writer"),
                _ = &mut reading => break Some("reader"),
            }
        };
        // The reader stops first, so that the writer closes the last connection. A closed queue means that its thread has ended.
        drop(questions.send(Question::Stop).await);
        let reader_died = died == Some("reader") || reading.await.is_err();
        drop(jobs.send(Job::Stop).await);
        let writer_died = died == Some("writer") || writing.await.is_err();
        match (writer_died, reader_died) {
            (true, _) => Err(StoreError::ThreadDied("writer")),
            (_, true) => Err(StoreError::ThreadDied("reader")),
            _ => Ok(()),
        }
    }
}

/// A thread whose end can be awaited. A panic in it drops the sender.
fn spawn(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<oneshot::Receiver<()>, StoreError> {
    let (done, ended) = oneshot::channel();
    // Nobody listens only if the process is on its way out.
    let thread = move || {
        work();
        let _ = done.send(());
    };
    std::thread::Builder::new().name(format!("store-{name}")).spawn(thread)?;
    Ok(ended)
}
