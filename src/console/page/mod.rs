//! The views that are text: lines of segments.
//!
//! In: the state. Out: lines, wrapped to the width. In order: [`lines`], then a file for each view; [`mod@notice`] is the message at the bottom.

mod events;
mod explain;
mod help;
mod instance;
mod notice;
mod raw;

use crate::console::state::State;
use crate::console::state::screen::View;
use crate::console::text::format::{clock, duration, millis, since};
use crate::console::text::{Line, Meaning, Segment, field, foreign, heading, health, plain, segment, wrap};
pub use notice::notice;

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

/// In place of a service or instance that was removed.
pub(super) fn gone(name: &str) -> Vec<Line> {
    vec![Vec::new(), vec![segment(format!("  {name} is gone: deregistered since. Esc goes back."), Meaning::Warn)]]
}
