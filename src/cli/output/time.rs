//! Times for people.

use std::time::Duration;

use crate::model::time::{UnixMs, age};

/// The age of a moment as the server wrote it; a dash when there is none.
pub(in crate::cli) fn since(at: Option<UnixMs>, now: UnixMs) -> String {
    at.map_or_else(|| "-".to_owned(), |at| age(now.since(at)))
}

/// Microseconds as milliseconds with one decimal, or two below one.
pub(in crate::cli) fn millis(us: u64) -> String {
    let ms = Duration::from_micros(us).as_secs_f64() * 1000.0;
    if us < 1000 { format!("{ms:.2} ms") } else { format!("{ms:.1} ms") }
}
