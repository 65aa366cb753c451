//! How the screen is divided: what drawing and navigation both depend on.

use super::page;
use super::state::State;
use super::state::screen::View;

/// Columns and rows of a terminal that does not say how large it is.
pub const UNKNOWN_SIZE: (u16, u16) = (80, 24);

/// The size to draw at: some terminals, such as a serial line, say that they are 0 by 0.
pub fn usable_size((columns, rows): (u16, u16)) -> (u16, u16) {
    if columns == 0 || rows == 0 { UNKNOWN_SIZE } else { (columns, rows) }
}

/// Rows of the overview's strip of recent changes: fewer on a small terminal, none on a very small one.
pub fn strip_height(state: &State) -> usize {
    match state.size.1 {
        0..=15 => 0,
        16..=23 => 3,
        24..=39 => 5,
        _ => 10,
    }
}

/// Columns from which the list may have an explanation beside it.
pub const PANE_MIN_WIDTH: u16 = 120;

/// Columns of the explanation beside the list; none where there is none.
pub fn pane_width(state: &State) -> Option<u16> {
    let lists = matches!(state.screen().view, View::Overview | View::Services);
    let fits = state.pane && state.size.0 >= PANE_MIN_WIDTH;
    (lists && fits && state.loaded).then(|| (state.size.0 * 2 / 5).clamp(60, 90))
}

/// Rows of a list: the terminal's without the header, the table's head, the notices and the hints.
pub fn list_height(state: &State) -> usize {
    let strip = strip_height(state);
    let taken = match state.screen().view {
        View::Overview => 5 + strip + usize::from(strip > 0),
        View::Services | View::Heat | View::Changes => 5,
        View::Instances(_) | View::Timeline(_) => 5 + availability_height(state),
        View::Outages | View::Pivot(_) => 6,
        _ => 4,
    };
    let more = page::notice(state).len() - 1 + header_height(state) - 2;
    usize::from(state.size.1).saturating_sub(taken + more).max(1)
}

/// Rows of a service's strips below its instances and its timeline; none on a small terminal.
pub fn availability_height(state: &State) -> usize {
    if state.size.1 >= 24 { page::AVAILABILITY_LINES + 1 } else { 0 }
}

/// Rows of the header: one more where the failing services share something, unless the terminal is very small.
pub fn header_height(state: &State) -> usize {
    let lists = matches!(state.screen().view, View::Overview | View::Services | View::Pivot(_) | View::Changes);
    2 + usize::from(lists && state.shared.is_some() && state.size.1 >= 12)
}

/// Rows of the visible view; of text, those that can be the topmost plus the screen's.
pub fn rows(state: &State) -> usize {
    match &state.screen().view {
        View::Overview | View::Services | View::Heat => state.listing().shown().len(),
        View::Instances(id) => state.listing().get(id).map_or(0, |service| service.instances.len()),
        View::Changes => state.listing().recent().count(),
        View::Outages => state.outages.rows().len(),
        View::Pivot(_) => state.pivot.groups.len(),
        View::Timeline(id) => state.history.get(id).map_or(0, |known| known.entries.len()),
        View::Instance(..) | View::Explain(..) | View::Raw(..) | View::Events | View::Help => page::lines(state).len(),
    }
}
