//! What the process reports about itself: logs, metrics and server events.
//!
//! In: calls from every other module. Out: lines on standard error, the text of `/metrics`, and the events of a watch.
//!
//! Read in this order:
//!
//! - [`log`]: the process's log. Every line goes through its queue, which never blocks.
//! - [`access_log`]: one log line per request, formatted off the request's path.
//! - [`audit`]: one line per write, in the log and in a file.
//! - [`metrics`]: every metric, and the text for scrapers.
//! - [`server_events`]: the last changes in the status of the server's own components.

pub mod access_log;
pub mod audit;
pub mod log;
pub mod metrics;
pub mod server_events;
