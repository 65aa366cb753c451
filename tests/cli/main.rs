//! The command line: the real binary against real servers.

mod acknowledging;
mod auditing;
mod availability;
mod backing_up;
mod clients;
mod common;
mod completing;
mod demo;
mod draining;
mod exporting;
mod hangup;
mod hostile;
mod importing;
mod logging;
mod metrics_port;
mod moving;
mod offline;
mod online;
mod plugin;
mod programs;
mod refused;
mod running;
mod serving;
mod shop;
mod waiting;
mod watching;
