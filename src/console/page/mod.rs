//! Views that are text: lines of words, each with its meaning. How a meaning looks is the view's affair.

mod events;
mod explain;
mod help;
mod instance;
mod notice;
mod raw;
mod wrap;

use std::time::Duration;

use crate::console::app::State;
use crate::console::app::screen::View;
use crate::console::harmless::escape;
use crate::console::index::Grade;
use crate::model::outcome::Health;
use crate::model::time::UnixMs;
pub use notice::notice;

/// Longest foreign text of one word.
const LONGEST: usize = 512;

/// What a word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing special.
    Plain,
    /// Less than the rest.
    Faint,
    /// A heading or a key.
    Strong,
    /// It passed.
    Good,
    /// It failed.
    Bad,
    /// In between.
    Warn,
}

/// A word of a line. Its text is harmless already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What is shown.
    pub text: String,
    /// What it means.
    pub meaning: Meaning,
}

/// A line.
pub type Line = Vec<Word>;

/// The lines of the shown view; none where the view is no text.
pub fn lines(state: &State) -> Vec<Line> {
    let lines = match &state.screen().view {
        View::Instance(id, name) => instance::lines(state, *id, name),
        View::Explain(id, name) => explain::lines(state, *id, name),
        View::Raw(id, format) => raw::lines(state, *id, *format),
        View::Events => events::lines(state),
        View::Help => help::lines(),
        View::Overview | View::Services | View::Instances(_) | View::Timeline(_) => Vec::new(),
    };
    lines.into_iter().flat_map(|line| wrap::wrap(line, usize::from(state.size.0))).collect()
}

/// A word of our own.
pub(super) fn word(text: impl Into<String>, meaning: Meaning) -> Word {
    Word { text: text.into(), meaning }
}

/// A word of our own that means nothing special.
pub(super) fn plain(text: impl Into<String>) -> Word {
    word(text, Meaning::Plain)
}

/// A foreign word.
pub(super) fn foreign(text: &str) -> Word {
    plain(escape(text, LONGEST))
}

/// `key  value`.
pub(super) fn field(key: &str, value: Word) -> Line {
    vec![word(format!("  {key:<12}"), Meaning::Faint), value]
}

/// A heading with an empty line above.
pub(super) fn heading(text: &str) -> [Line; 2] {
    [Vec::new(), vec![word(text, Meaning::Strong)]]
}

/// Glyph and word of a health.
pub fn health(health: Health, ascii: bool) -> Word {
    match health {
        Health::Healthy => word(if ascii { "+ healthy" } else { "● healthy" }, Meaning::Good),
        Health::Unhealthy => word(if ascii { "x unhealthy" } else { "✖ unhealthy" }, Meaning::Bad),
        Health::Unknown => word(if ascii { "? unknown" } else { "○ unknown" }, Meaning::Warn),
    }
}

/// Glyph and word of a grade.
pub fn grade(grade: Grade, ascii: bool) -> Word {
    match grade {
        Grade::Down => word(if ascii { "x down" } else { "✖ down" }, Meaning::Bad),
        Grade::Degraded => word(if ascii { "! degraded" } else { "▲ degraded" }, Meaning::Warn),
        Grade::Unknown => word(if ascii { "? unknown" } else { "○ unknown" }, Meaning::Faint),
        Grade::NotChecked => word(if ascii { "- no check" } else { "– no check" }, Meaning::Faint),
        Grade::Healthy => word(if ascii { "+ healthy" } else { "● healthy" }, Meaning::Good),
    }
}

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

/// Microseconds as milliseconds with two digits.
pub fn millis(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}

/// Since when, in words: `14:02:11Z (3 m 12 s)`.
pub(super) fn since(at: Option<UnixMs>, now: UnixMs) -> String {
    at.map_or_else(|| "-".to_owned(), |at| format!("{} ({})", clock(at, now), duration(now.since(at))))
}

/// What is said where the service is gone.
pub(super) fn gone(name: &str) -> Vec<Line> {
    vec![Vec::new(), vec![word(format!("  {name} is gone: deregistered since. Esc goes back."), Meaning::Warn)]]
}
