//! Moving between views and rows. Rows are selected by identity, so no change moves the selection to something else.

use uuid::Uuid;

use crate::console::index::Query;
use crate::console::layout::{self, list_height};
use crate::console::state::State;
use crate::console::state::screen::{Screen, Selection, View};

/// Places that a selection can be at: the rows of a list; of text, the lines that can be the topmost.
pub(super) fn places(state: &State) -> usize {
    let rows = layout::rows(state);
    match state.screen().view {
        View::Overview
        | View::Services
        | View::Heat
        | View::Instances(_)
        | View::Changes
        | View::Outages
        | View::Pivot(_)
        | View::Timeline(_) => rows,
        View::Instance(..) | View::Explain(..) | View::Raw(..) | View::Events | View::Help => {
            rows.saturating_sub(list_height(state)) + 1
        }
    }
}

/// Position of the selected row, or of its neighbour when it disappeared.
pub(super) fn place(state: &State) -> usize {
    let screen = state.screen();
    let found = match (&screen.view, &screen.selection) {
        (View::Overview | View::Services | View::Heat, Selection::Service(id)) => {
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
        (View::Changes, Selection::Change(number)) => {
            state.listing().recent().position(|change| change.number == *number)
        }
        (View::Outages, Selection::Outage(of, from)) => state.outages.position(*of, *from),
        (View::Pivot(_), Selection::Group(value)) => state.pivot.groups.iter().position(|g| g.value == *value),
        (_, Selection::Line(line)) => Some(*line),
        (_, Selection::First) => Some(0),
        _ => None,
    };
    found.unwrap_or(screen.position).min(places(state).saturating_sub(1))
}

/// Selects the row at a position.
pub(super) fn choose(state: &mut State, place: usize) {
    let place = place.min(places(state).saturating_sub(1));
    let chosen = match &state.screen().view {
        View::Overview | View::Services | View::Heat => {
            state.listing().shown().get(place).map(|id| Selection::Service(*id))
        }
        View::Instances(id) => {
            let service = state.listing().get(id);
            service.and_then(|s| s.instances.get(place)).map(|i| Selection::Instance(i.name.clone()))
        }
        View::Timeline(id) => {
            let known = state.history.get(id);
            known.and_then(|known| known.entries.get(place)).map(|e| Selection::Entry(e.id))
        }
        View::Changes => state.listing().recent().nth(place).map(|change| Selection::Change(change.number)),
        View::Outages => state.outages.row(place).map(|outage| Selection::Outage(outage.service, outage.from)),
        View::Pivot(_) => state.pivot.groups.get(place).map(|group| Selection::Group(group.value.clone())),
        _ => Some(Selection::Line(place)),
    };
    let screen = state.screen_mut();
    screen.selection = chosen.unwrap_or_default();
    screen.position = place;
}

/// While a filter is typed over a list of services: selects the first one whose name begins with its last word, else one whose name has it
/// in it. So a name is found without the arrow keys.
pub(super) fn follow_typing(state: &mut State) {
    let now = state.now;
    state.listing_mut().refresh(now);
    if !matches!(state.screen().view, View::Overview | View::Services | View::Heat) {
        return;
    }
    let word = state.filter.rsplit(' ').next().unwrap_or_default().to_lowercase();
    if word.is_empty() || !word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return;
    }
    let listing = state.listing();
    let names = || listing.shown().iter().map(|id| listing.get(id).map_or("", |service| &service.name));
    let begins = |name: &str| name.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(&word));
    let found = names().position(begins).or_else(|| names().position(|name| name.to_lowercase().contains(&word)));
    if let Some(found) = found {
        choose(state, found);
    }
}

/// Moves the selection by some rows.
pub(super) fn step(state: &mut State, by: isize) {
    let at = place(state);
    choose(state, at.saturating_add_signed(by));
}

/// After every message: the selection stays on its row, and visible.
pub(super) fn keep_in_sight(state: &mut State) {
    let at = place(state);
    let (height, rows) = (list_height(state), places(state));
    if state.screen().selection == Selection::First {
        state.screen_mut().position = 0;
        // The worst service stays selected until a key selects another; an instance is meant from the start.
        match state.screen().view {
            View::Instances(_) | View::Changes | View::Outages | View::Pivot(_) => choose(state, 0),
            _ => state.screen_mut().drawn = state.listing().shown().first().copied(),
        }
    } else if at != state.screen().position || is_gone(state) {
        choose(state, at);
    }
    // The map shows rows of cells.
    let (at, rows) =
        if state.screen().view == View::Heat { (state.heat.find(at).0, state.heat.rows.len()) } else { (at, rows) };
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

/// The service that the view is about, or that of the selected row as it was drawn.
pub(super) fn service(state: &State) -> Option<Uuid> {
    let screen = state.screen();
    let drawn = || screen.drawn.filter(|id| state.listing().get(id).is_some());
    let listed = || state.listing().shown().get(place(state)).copied();
    match (&screen.view, &screen.selection) {
        (View::Overview | View::Services | View::Heat, Selection::Service(id)) => Some(*id),
        (View::Overview | View::Services | View::Heat, Selection::First) => drawn().or_else(listed),
        (View::Overview | View::Services | View::Heat, _) => listed(),
        (View::Changes, _) => {
            let chosen = state.listing().recent().nth(place(state)).map(|change| change.id);
            chosen.filter(|id| state.listing().get(id).is_some())
        }
        (View::Outages, _) => {
            let chosen = state.outages.row(place(state)).map(|outage| outage.service);
            chosen.filter(|id| state.listing().get(id).is_some())
        }
        _ => screen.service(),
    }
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
        (View::Changes, _) => {
            let change = state.listing().recent().nth(place(state)).filter(|change| change.id == id)?;
            let service = state.listing().get(&id)?;
            let named = service.instances.iter().find(|i| Some(&i.name) == change.instance.as_ref());
            named.or(service.worst()).map(|i| i.name.clone())
        }
        (View::Outages, _) => {
            let outage = state.outages.row(place(state)).filter(|outage| outage.service == id)?;
            let service = state.listing().get(&id)?;
            let named = service.instances.iter().find(|i| outage.instances.contains(&i.name));
            named.or(service.worst()).map(|i| i.name.clone())
        }
        _ => state.listing().get(&id)?.worst().map(|i| i.name.clone()),
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

/// Changes what is listed.
pub(super) fn change(state: &mut State, how: impl Fn(&mut Query)) {
    let mut query = state.listing().query().clone();
    how(&mut query);
    // Both, so that the list does not change back when the screen thaws.
    state.index.set_query(query.clone());
    state.listing_mut().set_query(query);
}
