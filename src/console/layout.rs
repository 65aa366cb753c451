//! How the screen is divided: what drawing and navigation both depend on.

use super::page;
use super::state::State;
use super::state::screen::View;

/// Rows of the overview's strip of recent changes: fewer on a small terminal, none on a very small one.
pub fn strip_height(state: &State) -> usize {
    match state.size.1 {
        0..=15 => 0,
        16..=23 => 3,
        24..=39 => 5,
        _ => 10,
    }
}

/// Rows of a list: the terminal's without the header, the table's head, the notices and the hints.
pub fn list_height(state: &State) -> usize {
    let strip = strip_height(state);
    let taken = match state.screen().view {
        View::Overview => 5 + strip + usize::from(strip > 0),
        View::Services | View::Instances(_) => 5,
        _ => 4,
    };
    let more = page::notice(state).len() - 1;
    usize::from(state.size.1).saturating_sub(taken + more).max(1)
}
