//! Events of the server itself, newest first.

use super::{Line, Meaning, clock, foreign, segment};
use crate::console::data::ServerEvent;
use crate::console::state::State;
use crate::console::text::format::short;

pub(super) fn lines(state: &State) -> Vec<Line> {
    if state.server.is_empty() {
        return vec![Vec::new(), vec![segment("  no event from the server yet", Meaning::Faint)]];
    }
    let mut lines = Vec::new();
    for (n, event) in state.server.iter().enumerate().rev() {
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
        lines.push(vec![at, segment(sign, meaning), part, foreign(&message(&state.server, n))]);
    }
    lines
}

/// The server's sentence; where the guard stops holding verdicts, for how long it did.
fn message(events: &[ServerEvent], n: usize) -> String {
    let Some(event) = events.get(n) else { return String::new() };
    let before = events.get(..n).unwrap_or_default().iter().rev().find(|before| before.part == event.part);
    match before.filter(|before| &*event.part == "guard" && event.good && !before.good) {
        Some(held) => format!("verdicts no longer held (were for {})", short(event.at.since(held.at))),
        None => event.message.to_string(),
    }
}
