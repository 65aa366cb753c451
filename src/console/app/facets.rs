//! What the failing services share, and the pivot: computed at intervals, never for a key that only moves the cursor.

use std::time::Duration;

use super::navigate;
use crate::console::facet::{self, Dimension, Shared};
use crate::console::filter::Filter;
use crate::console::state::screen::{Screen, Selection, View};
use crate::console::state::{Pivot, PivotSource, State, Tone};

/// Shortest time between two passes over all services.
const INTERVAL: Duration = Duration::from_secs(1);

/// Makes again what depends on services that changed. Called when time passes.
pub(super) fn follow(state: &mut State) {
    if !state.loaded || state.frozen.is_some() {
        return;
    }
    let (now, faults) = (state.now, state.index.faults());
    let due = |made: Option<(u64, crate::model::time::UnixMs)>| {
        made.is_none_or(|(of, at)| of != faults && now.since(at) >= INTERVAL)
    };
    if due(state.shared_of) {
        state.shared = facet::shared(state.index.services());
        state.shared_of = Some((faults, now));
    }
    if let View::Pivot(dimension) = &state.screen().view {
        let (version, dimension) = (state.listing().version(), dimension.clone());
        let is_old = |of: &PivotSource| of.version != version && now.since(of.at) >= INTERVAL;
        if state.pivot.made_of.as_ref().is_none_or(is_old) {
            pivot(state, dimension);
        }
    }
}

/// Makes the pivot again where the view is about another dimension or namespace.
pub(super) fn settle(state: &mut State) {
    let View::Pivot(dimension) = &state.screen().view else { return };
    let namespace = &state.listing().query().namespace;
    let is_shown = |of: &PivotSource| of.dimension == *dimension && of.namespace == *namespace;
    if state.loaded && !state.pivot.made_of.as_ref().is_some_and(is_shown) {
        let dimension = dimension.clone();
        pivot(state, dimension);
    }
}

fn pivot(state: &mut State, dimension: Dimension) {
    let listing = state.listing();
    let (version, namespace) = (listing.version(), listing.query().namespace.clone());
    let here = listing.services().filter(|s| namespace.as_ref().is_none_or(|wanted| *wanted == s.namespace));
    let (dimensions, groups) = (facet::dimensions(here.clone()), facet::groups(&dimension, here));
    let made_of = Some(PivotSource { version, dimension, namespace, at: state.now });
    state.pivot = Pivot { dimensions, groups, made_of };
}

/// Opens the pivot by a dimension, or with another one.
pub(super) fn open(state: &mut State, dimension: Dimension) {
    if matches!(state.screen().view, View::Pivot(_)) {
        *state.screen_mut() = Screen::of(View::Pivot(dimension.clone()));
    } else {
        navigate::open(state, View::Pivot(dimension.clone()));
    }
    pivot(state, dimension);
}

/// The dimension so many steps further.
pub(super) fn step(state: &mut State, by: isize) {
    let View::Pivot(shown) = &state.screen().view else { return };
    let all = &state.pivot.dimensions;
    let at = all.iter().position(|of| of == shown).unwrap_or_default();
    let len = isize::try_from(all.len()).unwrap_or(1).max(1);
    let next = (isize::try_from(at).unwrap_or_default() + by).rem_euclid(len);
    if let Some(next) = all.get(usize::try_from(next).unwrap_or_default()).cloned() {
        open(state, next);
    }
}

/// Lists the services of the selected group.
pub(super) fn list_group(state: &mut State) {
    let (View::Pivot(dimension), at) = (state.screen().view.clone(), navigate::place(state)) else { return };
    let Some(group) = state.pivot.groups.get(at) else { return };
    let value = group.value.clone();
    if value.is_empty() {
        state.note(Tone::Plain, format!("these have no {}", dimension.name()));
        return;
    }
    list(state, &dimension, &value, "");
}

/// Lists the failing services that share what most of them share.
pub(super) fn list_shared(state: &mut State) {
    match state.shared.clone() {
        Some(Shared { dimension, value, .. }) => list(state, &dimension, &value, "status=faulty "),
        None => state.note(Tone::Plain, "the failing services share nothing in particular"),
    }
}

fn list(state: &mut State, dimension: &Dimension, value: &str, before: &str) {
    let text = dimension.filter(value).map(|text| format!("{before}{text}"));
    let filter = text.as_ref().and_then(|text| Filter::parse(text).ok());
    let (Some(text), Some(filter)) = (text, filter) else {
        state.note(Tone::Bad, "this value cannot be written in a filter");
        return;
    };
    state.filter = text.into();
    navigate::change(state, |query| query.filter = filter.clone());
    if !matches!(state.screen().view, View::Services | View::Overview) {
        navigate::open(state, View::Services);
    }
    state.screen_mut().selection = Selection::First;
}
