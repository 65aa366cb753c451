//! Events of the server itself, newest first.

use super::{Line, Meaning, clock, foreign, segment};
use crate::console::state::State;

pub(super) fn lines(state: &State) -> Vec<Line> {
    if state.server.is_empty() {
        return vec![Vec::new(), vec![segment("  no event from the server yet", Meaning::Faint)]];
    }
    let mut lines = Vec::new();
    for event in state.server.iter().rev() {
        let (sign, meaning) = match (event.good, state.options.ascii) {
            (true, false) => ("● ", Meaning::Good),
            (true, true) => ("+ ", Meaning::Good),
            (false, false) => ("▲ ", Meaning::Warn),
            (false, true) => ("! ", Meaning::Warn),
        };
        let mut part = foreign(&event.part);
        part.text = format!("{:<10} ", part.text);
        part.meaning = Meaning::Strong;
        let at = segment(format!("{:<20} ", clock(event.at, state.now)), Meaning::Faint);
        lines.push(vec![at, segment(sign, meaning), part, foreign(&event.message)]);
    }
    lines
}
