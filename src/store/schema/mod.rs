//! The file's schema: numbered `.sql` files, applied in order, counted by `user_version`; and what stands in its rows.
//!
//! In: rows. Out: the model's types, and back.
//!
//! 1. [`codec`]: columns. [`rows`]: a row as a type of the model. [`joined`]: every service with its instances.
//! 2. [`meta`]: what a file says of itself.
//! 3. [`write`]: what is to be written. [`persist`]: the SQL for it.
//! 4. [`quarantine`]: rows that cannot be read.

pub(in crate::store) mod codec;
pub(in crate::store) mod joined;
pub(in crate::store) mod meta;
pub(in crate::store) mod persist;
pub(in crate::store) mod quarantine;
pub(in crate::store) mod rows;
pub(in crate::store) mod write;

use rusqlite::{Connection, TransactionBehavior};

/// `application_id` of a Portolan store: "Prtl" ([SQLite's file format](https://www.sqlite.org/fileformat2.html#application_id)).
pub(in crate::store) const APPLICATION_ID: u32 = 0x5072_746c;

/// Every step from an empty file to the newest schema. A step is never edited once released.
const MIGRATIONS: &[&str] =
    &[include_str!("migrations/0001.sql"), include_str!("migrations/0002.sql"), include_str!("migrations/0003.sql")];

/// The newest schema known here.
pub(in crate::store) const NEWEST: u32 = 3;
const _: () = assert!(MIGRATIONS.len() == NEWEST as usize);

/// The file's schema, 0 for an empty file.
pub(in crate::store) fn version(db: &Connection) -> rusqlite::Result<u32> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings the file to the newest schema, one transaction a step.
pub(in crate::store) fn migrate(db: &mut Connection) -> rusqlite::Result<()> {
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
pub(in crate::store) fn read_as_it_is(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(
        "DROP VIEW IF EXISTS temp.meta; DROP VIEW IF EXISTS temp.service; DROP VIEW IF EXISTS temp.instance",
    )
}

/// Lets a file that cannot be migrated now, on a full or read-only disk, be read as the newest schema.
pub(in crate::store) fn read_as_newest(db: &Connection) -> rusqlite::Result<()> {
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
