//! Shared by the benches: a process's resources, median and tail of many values, and tables that are readable in a terminal and
//! in Markdown.

mod process;
mod table;

pub use process::{cpu, resident_mb};
pub use table::{median, percentile, print};
