//! Upkeep of the record behind availability: marks that the server runs, keeps the record true to the services, and deletes old rows.

use std::time::Duration;

use rusqlite::Connection;

use super::Engine;
use crate::model::time::{Now, UnixMs};
use crate::store::rules::spans::reconcile;
use crate::store::schema::spans;
use crate::store::schema::write::Write;

/// Time between two marks: a run that ends without closing the file is unknown for as long before.
const MARK: Duration = Duration::from_mins(1);
/// How far the wall clock may depart from the steady one, in milliseconds, before it counts as set, or the machine as having slept.
const SLEPT: i64 = 60_000;

/// What the writer knows of the record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recording {
    /// When the run began.
    began: UnixMs,
    /// The last mark.
    marked: Now,
    /// How far the clock was last set ahead, in milliseconds.
    ahead: i64,
    /// The next mark, for the next transaction.
    due: Option<Mark>,
    /// Whether the record was compared with the services.
    reconciled: bool,
    /// At least how many spans there are; none before they were counted.
    spans: Option<u64>,
}

/// The server runs.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Now,
    /// How far the wall clock was set, in milliseconds; 0 if it runs evenly.
    jump: i64,
}

impl Recording {
    /// That of a run that begins.
    pub(crate) fn new(now: Now) -> Self {
        Self { began: now.wall, marked: now, ahead: 0, due: None, reconciled: false, spans: None }
    }

    /// Whether the next transaction has to mark that the server runs.
    pub(crate) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// Makes a mark due, if the last one is old enough or the clock was set since.
    pub(crate) fn tick(&mut self, now: Now) {
        let mark = self.mark_at(now);
        if mark.jump != 0 || now.steady.since(self.marked.steady) >= MARK {
            self.due = Some(mark);
        }
    }

    fn mark_at(&self, now: Now) -> Mark {
        let passed = now.wall.0.saturating_sub(self.marked.wall.0);
        let jump = passed.saturating_sub(now.steady.0.saturating_sub(self.marked.steady.0));
        Mark { at: now, jump: if jump.saturating_abs() > SLEPT { jump } else { 0 } }
    }

    /// Writes the mark that is due, inside a transaction, and returns what is true once that is committed.
    pub(crate) fn write(self, db: &Connection) -> rusqlite::Result<Self> {
        self.due.map_or(Ok(self), |mark| self.write_mark(db, mark))
    }

    /// As [`Self::write`], at the end of the run.
    pub(crate) fn finish(self, db: &Connection, now: Now) -> rusqlite::Result<()> {
        self.write_mark(db, self.mark_at(now)).map(drop)
    }

    fn write_mark(self, db: &Connection, Mark { at, jump }: Mark) -> rusqlite::Result<Self> {
        let mut next = Self { marked: at, due: None, ..self };
        let Some((since, alive)) = spans::extent(db)? else { return Ok(next) };
        // What was recorded before a clock that was set back is set right again stays.
        let from = self.marked.wall.max(alive);
        if jump > 0 && from < at.wall {
            spans::gap(db, (from, at.wall))?;
            next.ahead = jump.min(at.wall.0.saturating_sub(from.0));
        } else if jump < 0 && at.wall < alive {
            let is_right_again = jump.saturating_neg() <= self.ahead.saturating_add(SLEPT);
            let is_all_ahead = at.wall < since && since.0.abs_diff(self.began.0) <= SLEPT.unsigned_abs();
            if is_right_again || is_all_ahead || spans::is_in_gap(db, at.wall)? {
                spans::cut(db, at.wall)?;
                next.ahead = self.ahead.saturating_add(jump).max(0);
            }
        }
        spans::mark(db, at.wall)?;
        Ok(next)
    }

    /// If the clock is behind the record: the earliest moment that a change may have, so that it changes nothing of what was recorded.
    pub(crate) fn earliest(db: &Connection, now: UnixMs) -> rusqlite::Result<Option<UnixMs>> {
        let alive = spans::extent(db)?.map(|(_, alive)| alive);
        Ok(alive.filter(|alive| now.0 < alive.0.saturating_sub(SLEPT)))
    }

    /// Bounds the record, inside the transaction that adds at most `added` spans, and returns what is true once that is committed.
    pub(crate) fn bound(self, db: &Connection, added: u64) -> rusqlite::Result<Self> {
        let mut next = self;
        if added > 0 {
            let known = self.spans.map_or_else(|| spans::count(db), |known| Ok(known + added))?;
            next.spans = Some(spans::surplus(db, known)?);
        }
        Ok(next)
    }
}

impl Engine {
    /// What the first transaction of a run has to write, so that the record matches the services; none if nothing was compared.
    pub(super) fn reconciling(&self, now: UnixMs) -> Option<Vec<Write>> {
        let db = self.db.as_ref().filter(|_| !self.recording.reconciled)?;
        match spans::open(db) {
            Ok(open) => {
                let services = self.state.snapshot.newest_first(None).map(|entry| &**entry.service());
                Some(reconcile(services, open, now))
            }
            Err(error) => {
                tracing::debug!("{}: the record of availability could not be read: {error}", self.path.display());
                None
            }
        }
    }

    /// After a commit: whether it compared the record.
    pub(super) fn reconciled(&mut self, compared: bool) {
        self.recording.reconciled |= compared;
    }
}
