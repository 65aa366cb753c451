//! What to request from the source over time: only what is visible.

use std::time::Duration;

use uuid::Uuid;

use super::Effect;
use crate::console::columns::Column;
use crate::console::layout::list_height;
use crate::console::source::Request;
use crate::console::state::State;
use crate::console::state::screen::View;

/// Age after which probing data of listed services is requested again.
const LISTED_MAX_AGE: Duration = Duration::from_secs(5);
/// The same for the service of the visible view.
const VIEWED_MAX_AGE: Duration = Duration::from_millis(900);
/// Age after which a visible history is requested again even if nothing changed.
const HISTORY_MAX_AGE: Duration = Duration::from_secs(30);
/// Time after which a request without an answer is repeated.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// Most services of one request.
const MAX_SERVICES: usize = 256;

/// Requests what is missing or outdated.
pub(super) fn due(state: &mut State, effects: &mut Vec<Effect>) {
    if !state.loaded || state.frozen.is_some() {
        return;
    }
    let one = state.screen().service();
    let (ids, age) = match one {
        Some(id) => (vec![id], VIEWED_MAX_AGE),
        None => (in_sight(state), LISTED_MAX_AGE),
    };
    let now = state.now;
    let known = |id: &Uuid, age| state.probing.get(id).is_some_and(|known| now.since(known.at) < age);
    let mut old: Vec<Uuid> = ids.into_iter().filter(|id| !known(id, age)).collect();
    old.extend(next_for_latency(state).into_iter().filter(|id| !known(id, LISTED_MAX_AGE)));
    state.requested.retain(|_, at| now.since(*at) < REQUEST_TIMEOUT);
    old.retain(|id| !state.requested.contains_key(id));
    old.truncate(MAX_SERVICES);
    if !old.is_empty() {
        state.requested.extend(old.iter().map(|id| (*id, now)));
        effects.push(Effect::Request(Request::Probing(old)));
    }
    if let Some(id) = one.filter(|_| wants_history(&state.screen().view)) {
        let known = state.history.entry(id).or_default();
        if now.since(known.requested) >= HISTORY_MAX_AGE {
            known.requested = now;
            effects.push(Effect::Request(Request::History(id, None)));
        }
    }
}

fn wants_history(view: &View) -> bool {
    matches!(view, View::Timeline(_) | View::Instance(..) | View::Explain(..))
}

fn in_sight(state: &State) -> Vec<Uuid> {
    if !matches!(state.screen().view, View::Overview | View::Services) {
        return Vec::new();
    }
    state.listing().shown().iter().skip(state.screen().top).take(list_height(state)).copied().collect()
}

/// A filter or an order by latency needs the latency of every service, so a few are asked for at each tick.
fn next_for_latency(state: &State) -> Vec<Uuid> {
    let query = state.listing().query();
    if !query.filter.uses_latency() && query.sort != Column::P50 {
        return Vec::new();
    }
    let all = state.index.totals().services().max(1);
    let tick = usize::try_from(state.now.0 / 250).unwrap_or(0);
    state.index.some(tick.wrapping_mul(MAX_SERVICES) % all, MAX_SERVICES)
}

/// Requests older entries when the end of the known ones is near.
pub(super) fn older(state: &mut State, effects: &mut Vec<Effect>) {
    let View::Timeline(id) = state.screen().view else { return };
    let Some(known) = state.history.get_mut(&id) else { return };
    if let Some(more) = known.more
        && state.now.since(known.older_requested) >= REQUEST_TIMEOUT
    {
        known.older_requested = state.now;
        effects.push(Effect::Request(Request::History(id, Some(more))));
    }
}
