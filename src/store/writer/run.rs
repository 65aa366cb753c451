//! The two threads' lives: opened, run, stopped in order.

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

use super::trim::Bounds;
use super::upkeep::Postponed;
use super::wall_clock::WallClock;
use super::{Engine, Kept, TRIM};
use crate::store::error::{OpenError, StoreError};
use crate::store::file::connect::{Gate, connect_reader};
use crate::store::file::damage::fault;
use crate::store::file::identity::Place;
use crate::store::file::open;
use crate::store::file::open::{Wanted, Writing};
use crate::store::history::thread::{self, Question, Reader, Reading};
use crate::store::queue::job::Job;
use crate::store::queue::pending::Pending;
use crate::store::rules::state::Limits;
use crate::store::schema::codec::int;
use crate::store::schema::quarantine::Quarantine;
use crate::store::{Consent, Inner, Opened, Store, StoreSettings};

/// Time between two looks for what is to be done in quiet times.
const REST: Duration = Duration::from_secs(1);

/// The store's work: a thread that writes and one that reads history, from [`Writer::run`] on.
pub struct Writer {
    pub(in crate::store) engine: Engine,
    pub(in crate::store) reader: Reader,
    pub(in crate::store) jobs: mpsc::Sender<Job>,
    pub(in crate::store) questions: mpsc::Sender<Question>,
}

/// Opens the file and lays out the parts.
pub(in crate::store) fn open(
    settings: StoreSettings,
    consent: Consent,
    clock: Clock,
    metrics: Metrics,
) -> Result<Opened, OpenError> {
    let now = clock.now();
    let wanted = Wanted { epoch: settings.epoch, durable: settings.durable, now: now.wall, consent };
    let open::Loaded { path, lock, contents } = open::open(&settings.path, &wanted)?;
    let open::Contents { meta, registered, remembered, quarantined, writing } = contents;
    let Threads { db, based, postponed, reading, place, why } = threads(&path, writing)?;
    let quarantine = Arc::new(Quarantine::new(quarantined, metrics.clone()));
    let catalog = Arc::new(Catalog::new(registered.state.snapshot.clone()));
    metrics.revision.set(int(meta.revision));
    let (jobs, job_queue) = mpsc::channel(super::QUEUE);
    let (questions, question_queue) = mpsc::channel(thread::QUEUE);
    let failure = Arc::new(ArcSwapOption::from(why.map(Arc::new)));
    let complete = Arc::new(AtomicBool::new(registered.state.is_complete()));
    let engine = Engine {
        db,
        postponed,
        lock,
        path,
        place,
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
        kept: Kept { floor: meta.floor, remembered },
        wall: WallClock::new(now),
        trimmed: UnixMs(i64::MIN),
        clock,
        catalog: Arc::clone(&catalog),
        metrics: metrics.clone(),
        jobs: job_queue,
        failure: Arc::clone(&failure),
        complete: Arc::clone(&complete),
        unproved: false,
        based,
        unsettled: !based,
        written: Instant::now(),
        quarantine: Arc::clone(&quarantine),
    };
    let reader = Reader { file: reading, questions: question_queue, jobs: jobs.clone() };
    let inner = Inner {
        failure,
        complete,
        began: wanted.epoch.map(|_| meta.began),
        quarantine,
        jobs: jobs.clone(),
        questions: questions.clone(),
        catalog: Arc::clone(&catalog),
        pending: Pending::new(),
        metrics,
    };
    let writer = Writer { engine, reader, jobs, questions };
    Ok(Opened { store: Store(Arc::new(inner)), writer, catalog, probes: registered.probes })
}

/// How the two threads reach the file.
struct Threads {
    db: Option<Connection>,
    based: bool,
    postponed: Option<Postponed>,
    reading: Reading,
    place: Place,
    /// Why nothing is written yet.
    why: Option<WriteError>,
}

fn threads(path: &Path, writing: Writing) -> Result<Threads, OpenError> {
    let unreadable = |source| OpenError::Unreadable { path: path.to_owned(), source };
    let later = match writing {
        Writing::Begun(db, based) => {
            let reading = Reading::Open(reader(path)?);
            let place = Place::of(path).map_err(unreadable)?;
            return Ok(Threads { db: Some(db), based, postponed: None, reading, place, why: None });
        }
        Writing::Waiting(later) => later,
    };
    let why = later.why.clone();
    tracing::error!("{}: {why}", path.display());
    let gate: Gate = Arc::default();
    // A connection that stays open shares its index of the log with those that come later: one that may only be read would keep the writer
    // from writing for good.
    let stays = !later.aside && later.why != WriteError::ReadOnly;
    let usual = if stays { reader(path).ok() } else { None };
    let reading = usual.map_or_else(|| Reading::Aside(path.to_owned(), Arc::clone(&gate)), Reading::Open);
    let place = Place::without_log(path).map_err(unreadable)?;
    let postponed = Some(Postponed { waiting: later, gate, tried: Instant::now() });
    Ok(Threads { db: None, based: false, postponed, reading, place, why: Some(why) })
}

/// SQLite opens the write-ahead log at the first read: it is made now, so that history can be told though the file be taken away.
fn reader(path: &Path) -> Result<Connection, OpenError> {
    let open = || {
        let db = connect_reader(path)?;
        db.query_row("SELECT count(*) FROM meta", [], |_| Ok(()))?;
        Ok(db)
    };
    open().map_err(|error| fault(path, error).in_new_file(path))
}

impl Writer {
    /// Works until `shutdown`; then answers what is queued, moves the write-ahead log into the file and lets go of the
    /// lock. Requests that come later hear that the server stops.
    ///
    /// # Errors
    /// [`StoreError`] when a thread cannot start or ends by itself.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let Self { engine, reader, jobs, questions } = self;
        let mut writing = spawn("writer", move || engine.serve())?;
        let mut reading = spawn("reader", move || reader.serve())?;
        let (mut trim, mut rest) = (tokio::time::interval(TRIM), tokio::time::interval(REST));
        let died = loop {
            tokio::select! {
                () = shutdown.cancelled() => break None,
                // A full queue is no harm: the next tick comes.
                _ = trim.tick() => drop(jobs.try_send(Job::Trim)),
                _ = rest.tick() => drop(jobs.try_send(Job::Rest)),
                _ = &mut writing => break Some("writer"),
                _ = &mut reading => break Some("reader"),
            }
        };
        // The reader goes first, so that the writer closes the last connection. A closed queue means that the thread is gone.
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
    // Nobody listens any more only when the process is on its way out.
    let thread = move || {
        work();
        let _ = done.send(());
    };
    std::thread::Builder::new().name(format!("store-{name}")).spawn(thread)?;
    Ok(ended)
}
