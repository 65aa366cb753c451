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

/// `14:02:11Z` of a moment today, else its date.
pub fn day(at: UnixMs, now: UnixMs) -> String {
    let text = clock(at, now);
    text.split_once(' ').map_or(text.clone(), |(day, _)| day.to_owned())
}

/// `14:02:11Z` of a moment today, `12-31 14:02Z` of another day, without its year.
pub fn short_clock(at: UnixMs, now: UnixMs) -> String {
    let text = clock(at, now);
    let other_day = text.split_once(' ').and_then(|(day, time)| Some((day.get(5..)?, time.get(..5)?)));
    other_day.map_or(text.clone(), |(day, time)| format!("{day} {time}Z"))
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

/// Seconds as [`short`] writes a duration; none of less than 0 or without an end.
pub fn seconds(seconds: f64) -> String {
    short(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
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
