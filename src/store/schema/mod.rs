//! The file's schema: numbered `.sql` files, applied in order and counted by `user_version`; and the types in its rows.
//!
//! In: rows. Out: the model's types, and back.
//!
//! 1. [`codec`]: columns. [`instance`]: rows of instances. [`rows`]: rows of services and probes. [`joined`]: every service with its
//!    instances.
//! 2. [`meta`]: what a file says of itself.
//! 3. [`write`]: what is to be written. [`persist`]: the SQL for it.
//! 4. [`quarantine`]: rows that cannot be read.

pub(crate) mod codec;
mod instance;
pub(crate) mod joined;
pub(crate) mod meta;
pub(crate) mod persist;
pub(crate) mod quarantine;
pub(crate) mod rows;
pub(crate) mod write;

use rusqlite::{Connection, TransactionBehavior};

/// `application_id` of a Portolan store: "Prtl" ([SQLite's file format](https://www.sqlite.org/fileformat2.html#application_id)).
pub(crate) const APPLICATION_ID: u32 = 0x5072_746c;

/// Every step from an empty file to the newest schema. Never edit a step that was released.
const MIGRATIONS: &[&str] =
    &[include_str!("migrations/0001.sql"), include_str!("migrations/0002.sql"), include_str!("migrations/0003.sql")];

/// The newest schema that this version knows.
pub(crate) const NEWEST: u32 = 3;
const _: () = assert!(MIGRATIONS.len() == NEWEST as usize);

/// The file's schema, 0 for an empty file.
pub(crate) fn version(db: &Connection) -> rusqlite::Result<u32> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Migrates the file to the newest schema, one transaction for each step.
pub(crate) fn migrate(db: &mut Connection) -> rusqlite::Result<()> {
    let from = version(db)?;
    for (number, sql) in (1_u32..).zip(MIGRATIONS).filter(|(number, _)| *number > from) {
        let step = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step.execute_batch(sql)?;
        step.pragma_update(None, "user_version", number)?;
        step.commit()?;
    }
    Ok(())
}

/// Ends [`read_as_newest`].
pub(crate) fn read_as_it_is(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(
        "DROP VIEW IF EXISTS temp.meta; DROP VIEW IF EXISTS temp.service; DROP VIEW IF EXISTS temp.instance",
    )
}

/// Lets a file that cannot be migrated now, on a full or read-only disk, be read as if it had the newest schema.
pub(crate) fn read_as_newest(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "temp_store", "memory")?;
    if version(db)? < 2 {
        db.execute_batch(
            "CREATE TEMP VIEW meta AS SELECT *, 0 AS mirror, 0 AS began FROM main.meta;
             CREATE TEMP VIEW service AS SELECT *, 0 AS unreported FROM main.service;
             CREATE TEMP VIEW instance AS SELECT *, NULL AS fence FROM main.instance;",
        )?;
    }
    Ok(())
}
