//! The store through its public surface: one real file each, in a folder of its own.

mod child;
mod common;
mod crash;
mod disk_full;
mod files;
mod health;
mod history;
mod lost;
mod mirror;
mod mirror_files;
mod mirror_order;
mod queue;
mod register;
mod remove;
mod restart;
mod sequences;
