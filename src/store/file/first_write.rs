//! A run's first write: the run's name, and the rows that go into quarantine.

use rusqlite::{Connection, TransactionBehavior, params};

use crate::model::time::UnixMs;
use crate::store::schema;
use crate::store::schema::codec::int;
use crate::store::schema::meta::Meta;
use crate::store::schema::quarantine::{self, BadRow, Table};
use crate::store::schema::spans;

/// What a start writes before anything else.
pub(crate) struct FirstWrite {
    pub(crate) meta: Meta,
    /// Rows to move into quarantine, an instance's before its service's.
    pub(crate) bad: Vec<BadRow>,
    /// Whether an index no longer matches its table.
    pub(crate) reindex: bool,
    /// Whether a commit outlasts a power cut.
    pub(crate) durable: bool,
    /// The wall clock when it is written.
    pub(crate) now: UnixMs,
}

impl FirstWrite {
    /// Sets up the connection, migrates the file to the newest schema, and begins the run.
    pub(crate) fn write(&self, db: &mut Connection) -> rusqlite::Result<()> {
        tune(db, self.durable)?;
        schema::read_as_it_is(db)?;
        self.put_away_before_migrating(db)?;
        schema::migrate(db)?;
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for bad in &self.bad {
            quarantine::put_away(&step, bad, self.now)?;
        }
        if self.reindex {
            step.execute_batch("REINDEX")?;
        }
        quarantine::trim(&step)?;
        self.meta(&step)?;
        spans::begin_run(&step, self.now)?;
        step.commit()
    }

    /// A migration copies the rows of `probe`, and leaves out what it cannot copy. What readers see does not depend on these rows, so they
    /// need not wait for the run's name.
    fn put_away_before_migrating(&self, db: &mut Connection) -> rusqlite::Result<()> {
        let mut bad = self.bad.iter().filter(|bad| bad.table == Table::Probe).peekable();
        let has_quarantine = schema::version(db)? >= quarantine::SINCE;
        if bad.peek().is_none() || !has_quarantine || schema::version(db)? == schema::NEWEST {
            return Ok(());
        }
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        bad.try_for_each(|bad| quarantine::put_away(&step, bad, self.now))?;
        step.commit()
    }

    /// Revisions up to the floor belong to another line or are forgotten, and none is beyond the newest.
    fn meta(&self, db: &Connection) -> rusqlite::Result<()> {
        let meta = &self.meta;
        let [revision, serial, floor] = [meta.revision, meta.serial, meta.floor].map(int);
        db.execute("DELETE FROM change WHERE revision <= ?1 OR revision > ?2", [floor, revision])?;
        let sql = "REPLACE INTO meta (one, epoch, run, revision, serial, floor, mirror, began, served)
            VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, 1)";
        let (kind, began) = (meta.kind.number(), meta.began.0);
        db.execute(sql, params![meta.epoch.as_str(), meta.run, revision, serial, floor, kind, began]).map(drop)
    }
}

/// The writer's settings.
fn tune(db: &Connection, durable: bool) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(64);
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", if durable { "full" } else { "off" })?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)?;
    db.pragma_update(None, "cache_size", -8_192)
}

/// Moves the write-ahead log into the database file, as far as readers allow, without waiting for them. Returns whether that was all.
pub(crate) fn checkpoint(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let (log, moved): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(log == moved)
    })
}
