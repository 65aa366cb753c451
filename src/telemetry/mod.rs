//! Logs and metrics.

mod access_line;
pub mod access_log;
mod access_page;
pub mod cluster_metrics;
pub mod logs;
pub mod metrics;
pub mod service_metrics;
pub mod staleness;
