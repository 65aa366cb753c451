//! The outages of all services: window, order, and what is listed.

use super::navigate;
use crate::console::keys::Action;
use crate::console::outage::OutageOrder;
use crate::console::state::modal::{Modal, Picker};
use crate::console::state::screen::{Screen, Selection, View};
use crate::console::state::{State, Tone};
use crate::console::window::Window;

/// Opens the outages of a window, or shows another window of them.
pub(super) fn open(state: &mut State, window: Window) {
    state.outages.show(window);
    if state.screen().view == View::Outages {
        *state.screen_mut() = Screen::of(View::Outages);
    } else {
        navigate::open(state, View::Outages);
    }
}

/// The window so many steps further.
pub(super) fn step(state: &mut State, by: isize) {
    open(state, state.outages.window.after(by));
}

/// What the keys that order do.
pub(super) fn sort(state: &mut State, action: Action) {
    match action {
        Action::Sort => state.modal = Some(Modal::Pick(Picker::outage_orders())),
        Action::SortNext => order_by(state, state.outages.order.after(1)),
        Action::SortPrevious => order_by(state, state.outages.order.after(-1)),
        _ => {
            state.outages.inverted = !state.outages.inverted;
            settle(state);
        }
    }
}

/// Lists them in an order, from the first one on.
pub(super) fn order_by(state: &mut State, order: OutageOrder) {
    state.outages.order = order;
    state.screen_mut().selection = Selection::First;
    settle(state);
}

/// Says why the selected outage opens no service.
pub(super) fn gone(state: &mut State) {
    if state.screen().view == View::Outages && state.outages.rows().len() > 0 {
        state.note(Tone::Plain, "this service is not registered any more");
    }
}

/// Brings the list up to date while it is visible.
pub(super) fn settle(state: &mut State) {
    if state.screen().view == View::Outages {
        let listing = state.frozen.as_ref().map_or(&state.index, |frozen| &frozen.1);
        state.outages.refresh(listing, state.now);
    }
}
