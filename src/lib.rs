//! Portolan.

pub mod api;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod model;
pub mod prober;
pub mod store;
pub mod telemetry;
