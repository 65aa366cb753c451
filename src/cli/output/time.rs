//! Times as a person reads them.

use std::time::Duration;

use crate::model::time::UnixMs;

/// `4s`, `3m12s`, `2h5m`, `3d4h`: the two largest units.
pub(in crate::cli) fn age(of: Duration) -> String {
    let s = of.as_secs();
    let two = |big: u64, b: &str, small: u64, l: &str| {
        if small == 0 { format!("{big}{b}") } else { format!("{big}{b}{small}{l}") }
    };
    match s {
        0..60 => format!("{s}s"),
        60..3600 => two(s / 60, "m", s % 60, "s"),
        3600..86_400 => two(s / 3600, "h", s % 3600 / 60, "m"),
        _ => two(s / 86_400, "d", s % 86_400 / 3600, "h"),
    }
}

/// The age of a moment as the server wrote it; a dash when there is none.
pub(in crate::cli) fn since(at: Option<UnixMs>, now: UnixMs) -> String {
    at.map_or_else(|| "-".to_owned(), |at| age(now.since(at)))
}

/// Microseconds as milliseconds with one decimal, or two below one.
pub(in crate::cli) fn millis(us: u64) -> String {
    let ms = Duration::from_micros(us).as_secs_f64() * 1000.0;
    if us < 1000 { format!("{ms:.2} ms") } else { format!("{ms:.1} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_keep_their_two_largest_units() {
        let shown = [0, 59, 60, 192, 3600, 7500, 86_400, 273_600].map(|s| age(Duration::from_secs(s)));
        assert_eq!(shown, ["0s", "59s", "1m", "3m12s", "1h", "2h5m", "1d", "3d4h"]);
    }
}
