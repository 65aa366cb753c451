//! Moving between views and rows. Rows are selected by identity, so no change moves the selection to something else.

use uuid::Uuid;

use crate::console::layout::list_height;
use crate::console::page;
use crate::console::state::State;
use crate::console::state::screen::{Screen, Selection, View};

/// Rows of the visible view.
pub(super) fn rows(state: &State) -> usize {
    match &state.screen().view {
        View::Overview | View::Services => state.listing().shown().len(),
        View::Instances(id) => state.listing().get(id).map_or(0, |service| service.instances.len()),
        View::Timeline(id) => state.history.get(id).map_or(0, |known| known.entries.len()),
        View::Instance(..) | View::Explain(..) | View::Raw(..) | View::Events | View::Help => {
            page::lines(state).len().saturating_sub(list_height(state)) + 1
        }
    }
}

/// Position of the selected row, or of its neighbour when it disappeared.
pub(super) fn place(state: &State) -> usize {
    let screen = state.screen();
    let found = match (&screen.view, &screen.selection) {
        (View::Overview | View::Services, Selection::Service(id)) => {
            let shown = state.listing().shown();
            // It is usually where it was.
            if shown.get(screen.position) == Some(id) { Some(screen.position) } else { state.listing().position(id) }
        }
        (View::Instances(id), Selection::Instance(name)) => {
            state.listing().get(id).and_then(|s| s.instances.iter().position(|i| i.name == *name))
        }
        (View::Timeline(id), Selection::Entry(number)) => {
            state.history.get(id).and_then(|known| known.entries.iter().position(|e| e.id == *number))
        }
        (_, Selection::Line(line)) => Some(*line),
        (_, Selection::First) => Some(0),
        _ => None,
    };
    found.unwrap_or(screen.position).min(rows(state).saturating_sub(1))
}

/// Selects the row at a position.
pub(super) fn choose(state: &mut State, place: usize) {
    let place = place.min(rows(state).saturating_sub(1));
    let chosen = match &state.screen().view {
        View::Overview | View::Services => state.listing().shown().get(place).map(|id| Selection::Service(*id)),
        View::Instances(id) => {
            let service = state.listing().get(id);
            service.and_then(|s| s.instances.get(place)).map(|i| Selection::Instance(i.name.clone()))
        }
        View::Timeline(id) => {
            let known = state.history.get(id);
            known.and_then(|known| known.entries.get(place)).map(|e| Selection::Entry(e.id))
        }
        _ => Some(Selection::Line(place)),
    };
    let screen = state.screen_mut();
    screen.selection = chosen.unwrap_or_default();
    screen.position = place;
}

/// Moves the selection by some rows.
pub(super) fn step(state: &mut State, by: isize) {
    let at = place(state);
    choose(state, at.saturating_add_signed(by));
}

/// After every message: the selection stays on its row, and visible.
pub(super) fn keep_in_sight(state: &mut State) {
    let at = place(state);
    let (height, rows) = (list_height(state), rows(state));
    if state.screen().selection == Selection::First {
        state.screen_mut().position = 0;
    } else if at != state.screen().position || is_gone(state) {
        choose(state, at);
    }
    let is_page = matches!(state.screen().selection, Selection::Line(_));
    let screen = state.screen_mut();
    screen.top = if is_page {
        at
    } else {
        screen.top.clamp((at + 1).saturating_sub(height), at).min(rows.saturating_sub(height))
    };
}

fn is_gone(state: &State) -> bool {
    match state.screen().selection {
        Selection::Service(id) => state.listing().shown().get(state.screen().position) != Some(&id),
        _ => false,
    }
}

/// The service that the view is about, or that of the selected row.
pub(super) fn service(state: &State) -> Option<Uuid> {
    state.screen().service().or_else(|| match state.screen().selection {
        Selection::Service(id) => Some(id),
        _ => state.listing().shown().get(place(state)).copied(),
    })
}

/// The instance that the view is about, that of the selected row, else the one in the worst health.
pub(super) fn instance(state: &State, id: Uuid) -> Option<Box<str>> {
    match (&state.screen().view, &state.screen().selection) {
        (View::Instance(_, name) | View::Explain(_, name), _) | (View::Instances(_), Selection::Instance(name)) => {
            Some(name.clone())
        }
        (View::Instances(_), _) => {
            let service = state.listing().get(&id)?;
            service.instances.get(place(state)).map(|i| i.name.clone())
        }
        _ => {
            use crate::model::outcome::Health;
            let worst = |health: Health| match health {
                Health::Unhealthy => 0,
                Health::Unknown => 1,
                Health::Healthy => 2,
            };
            let service = state.listing().get(&id)?;
            service.instances.iter().min_by_key(|i| worst(i.health)).map(|i| i.name.clone())
        }
    }
}

/// Opens a view; the same view again only goes to its start.
pub(super) fn open(state: &mut State, view: View) {
    if state.screen().view == view {
        *state.screen_mut() = Screen::of(view);
        return;
    }
    // Beyond this depth a view replaces the last one.
    if state.screens.len() >= 16 {
        state.screens.pop();
    }
    state.screens.push(Screen::of(view));
}

/// One view back; whether there was one.
pub(super) fn back(state: &mut State) -> bool {
    let more = state.screens.len() > 1;
    if more {
        state.screens.pop();
    }
    more
}
