//! Going from fault to fault.

use super::navigate;
use crate::console::state::screen::{Screen, View};
use crate::console::state::{State, Tone};

/// Selects the next or previous faulty service of the list, or shows the same view of it.
pub(super) fn step_fault(state: &mut State, forward: bool) {
    let listing = state.listing();
    let shown = listing.shown();
    let from = match state.screen().service() {
        Some(id) => listing.position(&id),
        None => Some(navigate::place(state)),
    };
    let is_faulty = |at: &usize| shown.get(*at).and_then(|id| listing.get(id)).is_some_and(|s| s.is_faulty());
    let found = match (from, forward) {
        (None, true) => (0..shown.len()).find(is_faulty),
        (Some(from), true) => (from + 1..shown.len()).find(is_faulty),
        (None, false) => (0..shown.len()).rev().find(is_faulty),
        (Some(from), false) => (0..from.min(shown.len())).rev().find(is_faulty),
    };
    let Some(id) = found.and_then(|at| shown.get(at)).copied() else {
        let where_to = if forward { "further down" } else { "further up" };
        return state.note(Tone::Plain, format!("no fault {where_to}"));
    };
    let worst = listing.get(&id).and_then(|service| service.worst()).map(|i| i.name.clone()).unwrap_or_default();
    let view = match &state.screen().view {
        View::Overview | View::Services | View::Heat => return navigate::choose(state, found.unwrap_or_default()),
        View::Instances(_) => View::Instances(id),
        View::Instance(..) => View::Instance(id, worst),
        View::Timeline(_) => View::Timeline(id),
        View::Raw(_, format) => View::Raw(id, *format),
        View::Explain(..) => View::Explain(id, worst),
        View::Changes | View::Outages | View::Pivot(_) | View::Events | View::Help => return,
    };
    *state.screen_mut() = Screen::of(view);
}
