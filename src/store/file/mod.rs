//! The database file: found, locked, checked and read, so that nothing is lost or overwritten.
//!
//! In: a path. Out: an [`open::Loaded`], with the lock, the first state, and a connection or the reason why nothing can be
//! written yet. Nothing that is not Portolan's own is changed, and nothing is deleted.
//!
//! 1. [`open`]: the whole order. [`inspect`]: what lies at the path. [`lock`]: one server per file, and the proof of its last
//!    revision.
//! 2. [`connect`]: connections. [`log_base`]: whether the write-ahead log belongs to the file. [`integrity`]: SQLite's checks.
//! 3. [`load`]: from the rows to the first state. [`begin`]: the run's first write.
//! 4. [`create`]: a new file. [`salvage`]: what can be read of a damaged one. [`damage`]: telling damage from a failing system.
//! 5. [`identity`]: whether the open files are still those at their paths. [`peek`]: what a mirror's file says of itself.

pub(in crate::store) mod begin;
pub(in crate::store) mod connect;
mod create;
pub(in crate::store) mod damage;
pub(in crate::store) mod identity;
mod inspect;
mod integrity;
mod load;
pub(in crate::store) mod lock;
mod log_base;
pub(in crate::store) mod open;
pub(in crate::store) mod paths;
pub(in crate::store) mod peek;
mod salvage;
