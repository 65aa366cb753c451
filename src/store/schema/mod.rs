//! The file's schema: numbered `.sql` files, applied in order and counted by `user_version`; and the types in its rows.
//!
//! In: rows. Out: the model's types, and back.
//!
//! 1. [`codec`]: the encoding of columns. [`instance`]: rows of instances. [`rows`]: rows of services and probes. [`joined`]: every service with its
//!    instances.
//! 2. [`meta`]: a file's metadata.
//! 3. [`mod@write`]: what is to be written. [`persist`]: the SQL for it.
//! 4. [`spans`]: the rows behind availability.
//! 5. [`quarantine`]: rows that cannot be read.

pub(crate) mod codec;
mod instance;
pub(crate) mod joined;
pub(crate) mod meta;
pub(crate) mod persist;
pub(crate) mod quarantine;
pub(crate) mod rows;
pub(crate) mod spans;
pub(crate) mod write;

use rusqlite::{Connection, TransactionBehavior};

/// `application_id` of a Portolan store: "Prtl" ([SQLite's file format](https://www.sqlite.org/fileformat2.html#application_id)).
pub(crate) const APPLICATION_ID: u32 = 0x5072_746c;

/// Every step from an empty file to the newest schema. Never edit a step that was released.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
];

/// The newest schema that this version knows.
pub(crate) const NEWEST: u32 = 7;
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

/// A column that a step added: since which schema, and an expression for its value in older rows. Those that are read before a file is
/// migrated.
struct Added {
    since: u32,
    table: &'static str,
    column: &'static str,
    default: &'static str,
}

const ADDED: &[Added] = &[
    Added { since: 2, table: "meta", column: "mirror", default: "0" },
    Added { since: 2, table: "meta", column: "began", default: "0" },
    Added { since: 2, table: "service", column: "unreported", default: "0" },
    Added { since: 2, table: "instance", column: "fence", default: "NULL" },
    Added { since: 4, table: "instance", column: "tags", default: "NULL" },
    Added { since: 4, table: "instance", column: "external_id", default: "NULL" },
    Added { since: 4, table: "instance", column: "checks", default: "NULL" },
    Added { since: 4, table: "instance", column: "deregister_after", default: "NULL" },
    Added { since: 4, table: "instance", column: "drain", default: "NULL" },
    Added { since: 4, table: "instance", column: "warning", default: "NULL" },
    Added { since: 4, table: "instance", column: "observed_version", default: "NULL" },
    Added { since: 4, table: "instance", column: "decided_by", default: "NULL" },
    Added { since: 6, table: "instance", column: "acknowledged", default: "NULL" },
    Added { since: 7, table: "instance", column: "also_failing", default: "NULL" },
    Added { since: 4, table: "probe", column: "row", default: "instance" },
    Added { since: 4, table: "probe", column: "check_name", default: "'default'" },
    Added { since: 4, table: "transition", column: "event", default: "NULL" },
    Added { since: 4, table: "transition", column: "check_name", default: "NULL" },
];

/// The tables of [`ADDED`] and [`ADDED_TABLES`].
const VIEWED: &[&str] = &["meta", "service", "instance", "probe", "transition", "recorded", "gap", "span"];

/// A table that a step added, which is read as empty before: since which schema, and its columns.
const ADDED_TABLES: &[(u32, &str, &str)] = &[
    (5, "recorded", "one, since, alive"),
    (5, "gap", "started, ended"),
    (5, "span", "id, service, key, instance, kind, started, ended, reason, check_name"),
];

/// Ends [`read_as_newest`].
pub(crate) fn read_as_it_is(db: &Connection) -> rusqlite::Result<()> {
    VIEWED.iter().try_for_each(|table| db.execute_batch(&format!("DROP VIEW IF EXISTS temp.{table}")))
}

/// Lets a file that cannot be migrated now, on a full or read-only disk, be read as if it had the newest schema.
pub(crate) fn read_as_newest(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "temp_store", "memory")?;
    let found = version(db)?;
    for table in VIEWED {
        let missing = ADDED.iter().filter(|added| added.since > found && added.table == *table);
        let missing: Vec<String> = missing.map(|added| format!(", {} AS {}", added.default, added.column)).collect();
        if !missing.is_empty() {
            let missing = missing.concat();
            db.execute_batch(&format!("CREATE TEMP VIEW {table} AS SELECT *{missing} FROM main.{table}"))?;
        }
    }
    for (_, table, columns) in ADDED_TABLES.iter().filter(|(since, _, _)| *since > found) {
        let nothing = vec!["NULL"; columns.split(',').count()].join(", ");
        db.execute_batch(&format!("CREATE TEMP VIEW {table} ({columns}) AS SELECT {nothing} WHERE 0"))?;
    }
    Ok(())
}
