//! Text on the screen: lines of segments, each with its meaning, and how values are written. Uses no other part of the console.
//!
//! In come values and foreign text; out come lines that are safe to draw. In order:
//!
//! - this file: segments and lines
//! - [`mod@sanitize`]: foreign text without control characters
//! - [`mod@format`], [`mod@reason`]: times, durations, reasons and codes
//! - [`wrap`], [`fit`]: text in a given width
//! - [`sparkline`]: latencies as a line of blocks
//! - [`strip`]: states over time as a line of columns

pub mod fit;
pub mod format;
pub mod reason;
pub mod sanitize;
pub mod sparkline;
pub mod strip;
pub mod wrap;

use crate::model::outcome::Health;
use sanitize::sanitize;

/// Longest foreign text of one segment, in characters.
pub const MAX_FOREIGN: usize = 512;

/// What a segment means; the view decides how a meaning looks.
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
    /// It passed, but slowly.
    Slow,
}

/// A part of a line. Its text is sanitized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What is shown.
    pub text: String,
    /// What it means.
    pub meaning: Meaning,
}

/// A line.
pub type Line = Vec<Segment>;

/// Our own text.
pub fn segment(text: impl Into<String>, meaning: Meaning) -> Segment {
    Segment { text: text.into(), meaning }
}

/// Our own text without a special meaning.
pub fn plain(text: impl Into<String>) -> Segment {
    segment(text, Meaning::Plain)
}

/// Foreign text, sanitized.
pub fn foreign(text: &str) -> Segment {
    plain(sanitize(text, MAX_FOREIGN))
}

/// `key  value`.
pub fn field(key: &str, value: Segment) -> Line {
    vec![segment(format!("  {key:<12}"), Meaning::Faint), value]
}

/// A heading with an empty line above.
pub fn heading(text: &str) -> [Line; 2] {
    [Vec::new(), vec![segment(text, Meaning::Strong)]]
}

/// Glyph and name of a health.
pub fn health(health: Health, ascii: bool) -> Segment {
    match health {
        Health::Healthy => segment(if ascii { "+ healthy" } else { "● healthy" }, Meaning::Good),
        Health::Unhealthy => segment(if ascii { "x unhealthy" } else { "✖ unhealthy" }, Meaning::Bad),
        Health::Unknown => segment(if ascii { "? unknown" } else { "○ unknown" }, Meaning::Warn),
    }
}
