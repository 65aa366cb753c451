//! The views that are text: lines of segments.
//!
//! In: the state. Out: lines, wrapped to the width. In order: [`lines`], then a file for each view; `broke` finds the break that `explain` shows,
//! and [`mod@notice`] is the message at the bottom.

mod availability;
mod broke;
mod events;
mod explain;
mod help;
mod instance;
mod notice;
mod raw;

use uuid::Uuid;

use crate::console::data::{Instance, known_words};
use crate::console::state::screen::View;
use crate::console::state::{Refused, State};
use crate::console::text::format::{clock, duration, millis, since};
use crate::console::text::{Line, Meaning, Segment, field, foreign, heading, plain, segment, wrap};
pub use availability::{LINES as AVAILABILITY_LINES, lines as availability};
pub use notice::notice;

/// The lines of the shown view; none where the view is not a text.
pub fn lines(state: &State) -> Vec<Line> {
    let lines = match &state.screen().view {
        View::Instance(id, name) => instance::lines(state, *id, name),
        View::Explain(id, name) => explain::lines(state, *id, name),
        View::Raw(id, format) => raw::lines(state, *id, *format),
        View::Events => events::lines(state),
        View::Help => help::lines(),
        View::Overview
        | View::Services
        | View::Heat
        | View::Instances(_)
        | View::Changes
        | View::Outages
        | View::Pivot(_)
        | View::Timeline(_) => Vec::new(),
    };
    lines.into_iter().flat_map(|line| wrap::wrap(line, usize::from(state.size.0))).collect()
}

/// Why an instance has its health, in lines of a width, beside the list.
pub fn explanation(state: &State, id: Uuid, name: &str, width: usize) -> Vec<Line> {
    explain::lines(state, id, name).into_iter().flat_map(|line| wrap::wrap(line, width)).collect()
}

/// Who knows about its failure, what they say, and for how long: `by ops: disk ordered, since 11:55:00Z (5m00s), until 13:00:00Z`.
fn acknowledged(state: &State, instance: &Instance) -> Option<Segment> {
    let known = instance.acknowledged.as_ref()?;
    let until = known.until.map_or_else(String::new, |until| format!(", until {}", clock(until, state.now)));
    Some(foreign(&format!("{}, since {}{until}", known_words(known), since(known.since, state.now))))
}

/// Why something is not known.
fn refused(what: &str, refused: &Refused) -> Segment {
    Segment { meaning: Meaning::Warn, ..foreign(&format!("{what}: {}", refused.why)) }
}

/// In place of a service or instance that was removed.
pub(super) fn gone(name: &str) -> Vec<Line> {
    vec![Vec::new(), vec![segment(format!("  {name} is gone: it was deregistered. Esc goes back."), Meaning::Warn)]]
}
