//! The store through its public API, each test with a real file in its own folder.

mod alias;
mod child;
mod common;
mod crash;
mod disk_full;
mod files;
mod foreign_lock;
mod health;
mod history;
mod idle;
mod log_lost;
mod lost;
mod mirror;
mod mirror_files;
mod mirror_order;
mod quarantine;
mod queue;
mod register;
mod remove;
mod restart;
mod salvage;
mod sequences;
