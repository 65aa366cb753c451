//! What the benches have in common: what a process uses, the middle and the tail of many values, and a table that reads in a terminal and
//! in Markdown.

mod process;
mod table;

pub use process::{cpu, resident_mb};
pub use table::{median, percentile, print};
