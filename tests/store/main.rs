//! The store through its public surface: one real file each, in a folder of its own.

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
