//! Times and durations.

use std::time::Duration;

use crate::model::time::UnixMs;

/// `850 ms`, `4.2 s`, `3 m 12 s`, `5 h 3 m`, `12 d 4 h`.
pub fn duration(time: Duration) -> String {
    let (ms, s) = (time.as_millis(), time.as_secs());
    match s {
        0 => format!("{ms} ms"),
        1..=9 => format!("{}.{} s", s, ms % 1000 / 100),
        10..=59 => format!("{s} s"),
        60..=3599 => format!("{} m {} s", s / 60, s % 60),
        3600..=86_399 => format!("{} h {} m", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

/// `14:02:11` of a moment, in UTC; with the date when that is not today.
pub fn clock(at: UnixMs, now: UnixMs) -> String {
    let text = at.to_string();
    let (day, time) = text.split_once('T').unwrap_or(("", &text));
    let time = time.get(..8).unwrap_or(time);
    if now.to_string().starts_with(day) { format!("{time}Z") } else { format!("{day} {time}Z") }
}

/// Microseconds as milliseconds with two decimals.
pub fn millis(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}

/// A moment and its age: `14:02:11Z (3 m 12 s)`.
pub fn since(at: Option<UnixMs>, now: UnixMs) -> String {
    at.map_or_else(|| "-".to_owned(), |at| format!("{} ({})", clock(at, now), duration(now.since(at))))
}

/// Microseconds as milliseconds, short: `4.2 ms`, `85 ms`.
pub fn short_millis(us: u32) -> String {
    match us {
        0..=9999 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        _ => format!("{} ms", us / 1000),
    }
}

/// `12s`, `4m05s`, `3h20m`, `9d01h`.
pub fn short(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..=59 => format!("{s}s"),
        s @ 60..=3599 => format!("{}m{:02}s", s / 60, s % 60),
        s @ 3600..=86_399 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        s => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}
