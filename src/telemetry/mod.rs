//! Logs, metrics, and what the process tells of itself.

mod access_line;
pub mod access_log;
mod access_page;
pub mod cluster_metrics;
mod log_line;
pub mod log_queue;
pub mod logs;
pub mod metrics;
mod panics;
pub mod process_metrics;
pub mod server_events;
pub mod service_metrics;
pub mod staleness;
pub mod text_format;
