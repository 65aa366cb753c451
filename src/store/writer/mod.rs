//! The one thread that writes: takes the queued jobs, commits them in one transaction, updates catalog and feed, then
//! answers.
//!
//! In: jobs from the queue. Out: a committed transaction, the next snapshot in the catalog, a batch on its feed, and the answers.
//!
//! 1. This file: the [`Engine`], from a batch of jobs to their answers.
//! 2. [`run`]: the main loops of the two threads. [`inline`]: the same work without threads, for simulations.
//! 3. [`upkeep`]: a run that could not begin at the start, and checkpoints while idle.
//! 4. [`recording`]: the record behind availability.
//! 5. [`repair`]: indexes that do not match their tables.
//! 6. [`trim`]: what is forgotten. [`wall_clock`]: whether the wall clock can be trusted to tell its age.

mod inline;
mod recording;
mod repair;
pub(crate) mod run;
mod trim;
mod upkeep;
pub(crate) mod wall_clock;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::catalog::{Batch, Catalog, Entry, Snapshot};
use crate::model::name::ServiceKey;
use crate::model::ports::WriteError;
use crate::model::time::{Clock, Now, UnixMs};
use crate::telemetry::metrics::{Metrics, QueueLabel};

use crate::store::file::damage::write_error;
use crate::store::file::identity::FileIdentity;
use crate::store::file::lock::FileLock;
use crate::store::queue::job::{Job, Reply};
use crate::store::queue::pending::Ticket;
use crate::store::rules::state::{Draft, Index, Limits, State, Work};
use crate::store::schema::codec::int;
use crate::store::schema::persist;
use crate::store::schema::quarantine::{self, BadRow, Quarantine};
use crate::store::schema::spans;
use crate::store::schema::write::Write;
use recording::Recording;
use repair::Repair;
use trim::Bounds;
use upkeep::StartRetry;
use wall_clock::WallClock;

/// Jobs that may wait.
pub(crate) const QUEUE: usize = 4096;
/// Time between two checks for history that is too old, and for the file itself.
const TRIM: Duration = Duration::from_secs(10);
/// Jobs that one transaction takes at most.
pub(crate) const BATCH: usize = 1024;

/// Gives a caller its result, or the failure of the whole batch.
type Answer = Box<dyn FnOnce(Option<&WriteError>)>;

/// Reports how many writes of a transaction are done, and of how many.
pub(crate) type WriteProgress = Box<dyn FnMut(usize, usize) + Send>;

/// What the writer's thread owns.
pub(crate) struct Engine {
    /// None before the run has begun.
    pub(crate) db: Option<Connection>,
    /// The beginning of the run, if it could not begin yet.
    pub(crate) start_retry: Option<StartRetry>,
    pub(crate) lock: FileLock,
    pub(crate) path: PathBuf,
    pub(crate) files: FileIdentity,
    pub(crate) run: String,
    pub(crate) state: State,
    pub(crate) index: Index,
    pub(crate) limits: Limits,
    pub(crate) bounds: Bounds,
    pub(crate) retained: Retained,
    pub(crate) wall: WallClock,
    pub(crate) recording: Recording,
    pub(crate) repair: Repair,
    /// The last check for what to trim, steady clock.
    pub(crate) trimmed: UnixMs,
    pub(crate) clock: Clock,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) metrics: Metrics,
    pub(crate) jobs: mpsc::Receiver<Job>,
    /// Why the last transaction failed: shown in readiness, and logged only when it changes.
    pub(crate) failure: Arc<ArcSwapOption<WriteError>>,
    /// [`State::is_complete`], shared with readers.
    pub(crate) complete: Arc<AtomicBool>,
    /// Whether writing the lock file failed last, so that this is logged once.
    pub(crate) unproved: bool,
    /// Whether the database file itself names this run, and not only its write-ahead log.
    pub(crate) in_main_file: bool,
    /// Whether the write-ahead log holds more than the database file.
    pub(crate) log_pending: bool,
    /// The last commit.
    pub(crate) written: Instant,
    pub(crate) quarantine: Arc<Quarantine>,
    /// Follows long transactions; a server has none.
    pub(crate) watch: Option<WriteProgress>,
}

/// What a transaction forgets besides its own surplus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Nothing,
    /// History beyond its bound.
    Surplus,
    /// History that is too old.
    Aged,
}

/// How much the trimmed tables hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retained {
    /// The newest revision that `change` no longer holds.
    pub(crate) floor: u64,
    /// Rows of history.
    pub(crate) remembered: u64,
}

impl Engine {
    /// Works until it is stopped or no caller is left, then closes the file. A transaction takes what came during the one before. Waiting for
    /// more cost a fifth of the registrations, and gained none whatever a flush takes.
    pub(crate) fn serve(mut self) {
        let mut jobs = Vec::with_capacity(BATCH);
        let depth = self.metrics.queue_depth.get_or_create_owned(&QueueLabel { queue: "store" });
        while self.jobs.blocking_recv_many(&mut jobs, BATCH) > 0 {
            depth.set(i64::try_from(self.jobs.len()).unwrap_or(i64::MAX));
            self.batch(&mut jobs);
        }
        self.close();
    }

    /// Closes the file, so that the next start finds it in order.
    pub(crate) fn close(&mut self) {
        let Some(db) = &self.db else { return };
        let ended = db.unchecked_transaction().and_then(|tx| {
            self.recording.finish(&tx, self.clock.now())?;
            tx.commit()
        });
        let ended = ended.and_then(|()| db.execute("UPDATE meta SET served = 0", []));
        let busy = ended.and_then(|_| db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0)));
        match busy {
            Ok(true) => {}
            Ok(false) => self.settled(),
            // What it cannot move stays in the log, durable; the next start reads it there.
            Err(error) => tracing::warn!("{}: the last checkpoint failed: {error}", self.path.display()),
        }
    }

    pub(crate) fn batch(&mut self, jobs: &mut Vec<Job>) {
        let now = self.clock.now();
        let due = self.due(now);
        let reconciling = self.reconciling(now.wall);
        let (mut idle, mut bad) = (false, Vec::new());
        let mut answers = Vec::with_capacity(jobs.len());
        let mut work = Work::new(self.state.clone(), now.wall, &self.limits, &self.index);
        let compared = reconciling.is_some();
        work.writes.extend(reconciling.into_iter().flatten());
        for job in jobs.drain(..) {
            match job {
                Job::Trim => {}
                Job::Idle => idle = true,
                Job::Quarantine(rows) => bad.extend(rows),
                Job::Stop => self.jobs.close(),
                job => answers.extend(work.apply(job)),
            }
        }
        let draft = work.finish();
        let failure = self.commit(&draft, due).err();
        if failure.is_none() {
            self.reconciled(compared);
            self.publish(draft);
        }
        for answer in answers {
            answer(failure.as_ref());
        }
        if !bad.is_empty() {
            self.quarantine_rows(&bad, now);
        }
        if idle {
            self.idle();
        }
    }

    /// Commits a draft that came by no queue, and makes it visible.
    pub(crate) fn apply(&mut self, draft: Draft) -> Result<(), WriteError> {
        self.commit(&draft, Due::Nothing)?;
        self.publish(draft);
        Ok(())
    }

    /// Moves rows into quarantine, in a transaction of their own: if that fails, it fails for nobody else.
    fn quarantine_rows(&mut self, bad: &[BadRow], now: Now) {
        let mut work = Work::new(self.state.clone(), now.wall, &self.limits, &self.index);
        work.writes.extend(bad.iter().map(|row| Write::Quarantine(row.clone(), now.wall)));
        let draft = work.finish();
        if self.commit(&draft, Due::Nothing).is_ok() {
            quarantine::log(bad);
            self.count_quarantine();
        }
    }

    /// Whether there is anything to forget, checked at intervals: an idle store writes nothing. Checks the file, too.
    fn due(&mut self, now: Now) -> Due {
        if self.state.snapshot.total().total() > 0 {
            self.recording.tick(now);
        }
        if now.steady.since(self.trimmed) < TRIM {
            return Due::Nothing;
        }
        self.trimmed = now.steady;
        if let Err(error) = self.files.check() {
            self.failed(&error);
            return Due::Nothing;
        }
        let Some(db) = &self.db else { return Due::Nothing };
        if self.wall.is_sound(now) && self.is_aged(db, now.wall) {
            return Due::Aged;
        }
        if self.retained.remembered > self.bounds.rows { Due::Surplus } else { Due::Nothing }
    }

    /// Whether anything that is kept for a time is too old. What cannot be read now is read at the next tick.
    fn is_aged(&self, db: &Connection, now: UnixMs) -> bool {
        let aged = trim::is_aged(db, now, &self.bounds).and_then(|aged| Ok(aged || spans::is_aged(db, now)?));
        aged.unwrap_or(false)
    }

    fn commit(&mut self, draft: &Draft, due: Due) -> Result<(), WriteError> {
        let moved = draft.state.snapshot.revision() != self.state.snapshot.revision();
        if draft.writes.is_empty() && !moved && due == Due::Nothing && !self.recording.is_due() {
            return Ok(());
        }
        let started = Instant::now();
        let done = self.write_durably(draft, due);
        match &done {
            Ok(_) => self.succeeded(),
            Err(error) => {
                self.metrics.commit_errors.inc();
                self.failed(error);
            }
        }
        (self.retained, self.recording) = done?;
        (self.log_pending, self.written) = (true, Instant::now());
        self.metrics.commits.inc();
        self.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a count of queued jobs")]
        self.metrics.commit_changes.observe(draft.touched.len() as f64);
        Ok(())
    }

    /// A transaction whose file is still at its path once it is durable.
    fn write_durably(&mut self, draft: &Draft, due: Due) -> Result<(Retained, Recording), WriteError> {
        self.start_run()?;
        self.files.check()?;
        let retained = self.transact_or_repair(draft, due).map_err(|error| write_error(&self.path, &error))?;
        self.files.check()?;
        Ok(retained)
    }

    fn transact(&mut self, draft: &Draft, due: Due) -> rusqlite::Result<(Retained, Recording)> {
        let db = self.db.as_mut().ok_or(rusqlite::Error::InvalidQuery)?;
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Before the spans, since those of a clock that was ahead are cut.
        let recording = self.recording.write(&tx)?;
        let changes = draft.writes.iter().map(|write| u64::from(write.is_span())).sum::<u64>();
        let records = draft.writes.iter().any(Write::changes_spans);
        let earliest = if records { Recording::earliest(&tx, draft.now)? } else { None };
        for (done, write) in draft.writes.iter().enumerate() {
            let later = earliest.and_then(|earliest| write.span_not_before(earliest));
            persist::write(&tx, later.as_ref().unwrap_or(write))?;
            if let Some(watch) = &mut self.watch {
                watch(done + 1, draft.writes.len());
            }
        }
        let revision = draft.state.snapshot.revision();
        let record = draft.state.mirror.is_none();
        let gap = draft.writes.iter().filter_map(Write::forgets).max().unwrap_or(0);
        let floor = if record { trim::changes(&tx, revision, self.retained.floor, gap)? } else { self.retained.floor };
        let mut remembered =
            self.retained.remembered + draft.writes.iter().map(|w| u64::from(w.is_history())).sum::<u64>();
        remembered -= trim::surplus(&tx, remembered, &self.bounds)?.min(remembered);
        if due == Due::Aged {
            remembered -= trim::aged(&tx, draft.now, &self.bounds)?.min(remembered);
            spans::aged(&tx, draft.now)?;
        }
        let recording = recording.bound(&tx, changes * spans::PER_CHANGE)?;
        tx.prepare_cached("UPDATE meta SET revision = ?1, serial = ?2, floor = ?3")?.execute(params![
            int(revision),
            int(draft.state.serial),
            int(floor)
        ])?;
        tx.commit()?;
        Ok((Retained { floor, remembered }, recording))
    }

    /// Makes the committed state visible to readers, then sends the feed.
    fn publish(&mut self, draft: Draft) {
        let revision = draft.state.snapshot.revision();
        let before = std::mem::replace(&mut self.state, draft.state);
        self.complete.store(self.state.is_complete(), Ordering::Release);
        if self.state.snapshot.sequence() == before.snapshot.sequence() {
            return;
        }
        if self.state.mirror.is_none() {
            self.prove(revision);
        }
        self.metrics.revision.set(int(revision));
        let batch = self.collect_batch(&before.snapshot, draft.touched, &draft.added);
        // The catalog counts what others hold of it.
        drop(before);
        self.catalog.publish(self.state.snapshot.clone(), batch);
    }

    /// Repeats the revision in the lock file before it is shown, so that no reader's cursor is ahead of the proof. If that fails, the server
    /// goes on with a warning; the proof is behind until a later commit repairs it.
    pub(crate) fn prove(&mut self, revision: u64) {
        let proof = self.lock.record(&self.run, revision, self.in_main_file);
        if let Err(error) = &proof
            && !self.unproved
        {
            tracing::warn!("{}: the lock file beside it cannot be written: {error}", self.path.display());
        }
        self.unproved = proof.is_err();
    }

    /// What the batch changed, each service once, in order of sequence. Updates the index.
    fn collect_batch(&mut self, before: &Snapshot, mut touched: Vec<ServiceKey>, added: &HashMap<Uuid, i64>) -> Batch {
        touched.sort_unstable();
        touched.dedup();
        let mut batch = self.empty_batch();
        for key in touched {
            let (old, new) = (before.get(key.as_str()), self.state.snapshot.get(key.as_str()));
            let row = old.and_then(|old| self.index.drop(old.service()));
            if let Some(new) = new {
                if let Some(row) = added.get(&new.service().id).copied().or(row) {
                    self.index.add(new.service(), row);
                }
                batch.upserts.push(Arc::clone(new));
            }
            let same = |old: &&Arc<Entry>| new.is_some_and(|new| new.service().id == old.service().id);
            if let Some(old) = old.filter(|old| !same(old)) {
                batch.removed.push((key, old.service().id));
            }
        }
        batch.upserts.sort_unstable_by_key(|entry| entry.service().sequence);
        batch
    }

    fn empty_batch(&self) -> Batch {
        let snapshot = &self.state.snapshot;
        Batch { sequence: snapshot.sequence(), revision: snapshot.revision(), ..Batch::default() }
    }

    pub(crate) fn failed(&self, error: &WriteError) {
        let before = self.failure.load();
        if before.is_none() || before.as_deref() != Some(error) && *error == WriteError::FileLost {
            tracing::error!("{}: {error}", self.path.display());
        }
        self.failure.store(Some(Arc::new(error.clone())));
    }

    pub(crate) fn succeeded(&self) {
        if self.failure.load().is_some() {
            self.failure.store(None);
            tracing::info!("{}: writes succeed again", self.path.display());
        }
    }
}

impl Work<'_> {
    fn apply(&mut self, job: Job) -> Option<Answer> {
        Some(match job {
            Job::Register(call, ticket, reply) => answer_later(reply, self.register(*call), Some(ticket)),
            Job::Remove(call, ticket, reply) => answer_later(reply, self.deregister(&call), ticket),
            Job::Drain(call, ticket, reply) => answer_later(reply, self.drain(&call), ticket),
            Job::Acknowledge(call, ticket, reply) => answer_later(reply, self.acknowledge(&call), ticket),
            Job::Health(verdicts, leadership, reply) => {
                // Asked here: once another replica probes and its verdicts were requested, none of ours may follow.
                let result =
                    if leadership.probes() { Ok(self.apply_verdicts(verdicts)) } else { Err(WriteError::Busy) };
                answer_later(reply, result, None)
            }
            Job::Mirror(changes, verdicts, reply) => answer_later(reply, self.mirror(changes, verdicts), None),
            Job::MirrorAll(list, reply) => answer_later(reply, self.mirror_all(*list), None),
            Job::Probes(rows, reply) => {
                self.put_probes(rows);
                answer_later(reply, Ok(()), None)
            }
            Job::Quarantine(_) | Job::Trim | Job::Idle | Job::Stop => return None,
        })
    }
}

fn answer_later<T: 'static>(reply: Reply<T>, result: Result<T, WriteError>, ticket: Option<Ticket>) -> Answer {
    Box::new(move |failure| {
        // Before the answer, so that a caller that has it and renews bypasses the queue again.
        drop(ticket);
        let result = failure.map_or(result, |error| Err(error.clone()));
        // A caller that went away needs no answer.
        drop(reply.send(result));
    })
}
