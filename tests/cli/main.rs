//! The command line: the real binary against real servers.

mod common;
mod demo;
mod hangup;
mod hostile;
mod logging;
mod offline;
mod online;
mod refused;
mod serving;
mod watching;
