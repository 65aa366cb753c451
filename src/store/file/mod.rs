//! The database file: found, locked, checked and read, so that nothing is lost or overwritten.
//!
//! In: a path. Out: an [`open::Loaded`], with the lock, the first state, and a connection or the reason why nothing can be
//! written yet. Nothing that is not Portolan's own is changed, and nothing is deleted.
//!
//! 1. [`open`]: the whole order. [`paths`]: the file's companions. [`inspect`]: what lies at the path. [`lock`]: one server per file, and the proof of its last
//!    revision.
//! 2. [`connect`]: connections. [`log_base`]: whether the write-ahead log belongs to the file. [`integrity`]: SQLite's checks.
//! 3. [`load`]: from the rows to the first state. [`first_write`]: the run's first write.
//! 4. [`create`]: a new file. [`salvage`]: what can be read of a damaged one. [`damage`]: telling damage from a failing system.
//! 5. [`identity`]: whether the open files are still those at their paths. [`peek`]: the metadata of a mirror's file.

pub(crate) mod connect;
mod create;
pub(crate) mod damage;
pub(crate) mod first_write;
pub(crate) mod identity;
mod inspect;
mod integrity;
pub(crate) mod load;
pub(crate) mod lock;
mod log_base;
pub(crate) mod open;
pub(crate) mod paths;
pub(crate) mod peek;
mod salvage;
