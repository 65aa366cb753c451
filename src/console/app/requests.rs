//! What to request from the source over time: only what is visible.

use std::collections::HashSet;
use std::time::Duration;

use uuid::Uuid;

use super::{Effect, events, navigate};
use crate::console::availability::Subject;
use crate::console::columns::Added;
use crate::console::layout::{availability_height, list_height, pane_width};
use crate::console::source::{Link, Request};
use crate::console::state::screen::View;
use crate::console::state::{KEPT_HISTORIES, State};

/// Age after which probing data of listed services is requested again.
const LISTED_MAX_AGE: Duration = Duration::from_secs(5);
/// The same for services that are out of sight, whose latencies only tell slow services from others: their samples span several minutes
/// anyway. Each is requested once in this time, which is 34 a second of ten thousand.
const UNLISTED_MAX_AGE: Duration = Duration::from_mins(5);
/// Time between two ticks, in milliseconds.
const TICK_MS: i64 = 250;
/// The same for the service of the visible view.
const VIEWED_MAX_AGE: Duration = Duration::from_millis(900);
/// Age after which a visible history is requested again even if nothing changed.
const HISTORY_MAX_AGE: Duration = Duration::from_secs(30);
/// Age after which visible outages are requested again even if no fault came or went.
const OUTAGES_MAX_AGE: Duration = Duration::from_secs(30);
/// Time after which a request for outages without an answer is repeated: it may need several pages.
const OUTAGES_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which another request without an answer is repeated.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// How many services are asked for what changed before the console started.
const SEEDS: usize = 16;
/// Most services of one request.
const MAX_SERVICES: usize = 256;

/// Requests what is missing or outdated.
pub(super) fn due(state: &mut State, effects: &mut Vec<Effect>) {
    if !state.loaded || state.frozen.is_some() {
        return;
    }
    seed(state, effects);
    let (viewed, beside) = (state.screen().service(), beside(state));
    let wanted = match viewed {
        Some(id) => vec![(id, VIEWED_MAX_AGE)],
        None => in_sight(state)
            .into_iter()
            .map(|id| (id, if Some(id) == beside { VIEWED_MAX_AGE } else { LISTED_MAX_AGE }))
            .chain(next_for_list(state))
            .collect(),
    };
    probing(state, effects, &wanted);
    availability(state, effects);
    if let Some(id) = viewed.filter(|_| state.screen().view.shows_history()).or(beside) {
        history(state, effects, id);
    }
}

/// Requests the probing that is missing or older than it may be.
fn probing(state: &mut State, effects: &mut Vec<Effect>, wanted: &[(Uuid, Duration)]) {
    let now = state.now;
    state.requested.retain(|_, at| now.since(*at) < REQUEST_TIMEOUT);
    let known = |id: &Uuid, age| state.probing.get(id).is_some_and(|known| now.since(known.at) < age);
    let is_old = |(id, age): &&(Uuid, Duration)| !known(id, *age) && !state.requested.contains_key(id);
    let mut once = HashSet::new();
    let old = wanted.iter().filter(is_old).map(|(id, _)| *id).filter(|id| once.insert(*id));
    let old: Vec<Uuid> = old.take(MAX_SERVICES).collect();
    if !old.is_empty() {
        state.requested.extend(old.iter().map(|id| (*id, now)));
        effects.push(Effect::Request(Request::Probing(old)));
    }
}

fn history(state: &mut State, effects: &mut Vec<Effect>, id: Uuid) {
    let now = state.now;
    if state.history.len() >= KEPT_HISTORIES && !state.history.contains_key(&id) {
        events::drop_oldest(&mut state.history, |known| known.requested);
    }
    let known = state.history.entry(id).or_default();
    let age = if known.awaited { REQUEST_TIMEOUT } else { HISTORY_MAX_AGE };
    if now.since(known.requested) >= age {
        (known.requested, known.awaited) = (now, true);
        effects.push(Effect::Request(Request::History(id, None)));
    }
}

/// Requests what the visible view shows of availability and outages.
fn availability(state: &mut State, effects: &mut Vec<Effect>) {
    let now = state.now;
    match state.screen().view.clone() {
        View::Outages => outages(state, effects),
        View::Overview | View::Services if state.columns.contains(&Added::Availability) => {
            let visible = in_sight(state);
            let wanted = state.availability.wanted_shares(&visible, now);
            if !wanted.is_empty() {
                effects.push(Effect::Request(Request::Shares(wanted)));
            }
        }
        View::Instances(id) | View::Timeline(id) if availability_height(state) > 0 => {
            strips(state, effects, (id, None));
        }
        View::Instance(id, name) => strips(state, effects, (id, Some(name))),
        _ => {}
    }
}

fn strips(state: &mut State, effects: &mut Vec<Effect>, subject: Subject) {
    if state.index.get(&subject.0).is_some() && state.availability.wants_strips(&subject, state.now) {
        effects.push(Effect::Request(Request::Strips(subject)));
    }
}

/// Requests the outages: again when a fault came or went, and from time to time.
fn outages(state: &mut State, effects: &mut Vec<Effect>) {
    let (faults, now) = (state.index.faults(), state.now);
    let age = if state.outages.awaited {
        OUTAGES_TIMEOUT
    } else if faults == state.outages.faults {
        OUTAGES_MAX_AGE
    } else {
        REQUEST_TIMEOUT
    };
    if now.since(state.outages.requested) >= age {
        (state.outages.requested, state.outages.faults, state.outages.awaited) = (now, faults, true);
        effects.push(Effect::Request(Request::Outages(state.outages.window)));
    }
}

/// The service that is explained beside the list.
fn beside(state: &State) -> Option<Uuid> {
    pane_width(state).and_then(|_| navigate::service(state))
}

/// What changed before the console started: the histories of the services that changed last, once.
fn seed(state: &mut State, effects: &mut Vec<Effect>) {
    if state.seeding.is_some() || state.link != Link::Live {
        return;
    }
    let ids = state.index.changed_last(SEEDS);
    effects.extend(ids.iter().map(|id| Effect::Request(Request::History(*id, None))));
    state.seeding = Some(ids.into_iter().collect());
}

fn in_sight(state: &State) -> Vec<Uuid> {
    if !matches!(state.screen().view, View::Overview | View::Services) {
        return Vec::new();
    }
    state.listing().shown().iter().skip(state.screen().top).take(list_height(state)).copied().collect()
}

/// A filter or an order by what probes measure needs it of every service, so some are asked for at each tick; to tell which are slow, a few
/// each second do.
fn next_for_list(state: &State) -> Vec<(Uuid, Duration)> {
    let second = state.now.0.div_euclid(1000) != state.now.0.saturating_sub(TICK_MS).div_euclid(1000);
    let all = state.index.totals().services().max(1);
    let (step, age, many) = if state.listing().query().uses_probing() {
        (TICK_MS, LISTED_MAX_AGE, MAX_SERVICES)
    } else if state.index.measured().slow.is_some() && second {
        (1000, UNLISTED_MAX_AGE, all.div_ceil(usize::try_from(UNLISTED_MAX_AGE.as_secs()).unwrap_or(1)))
    } else {
        return Vec::new();
    };
    let many = many.clamp(1, MAX_SERVICES);
    let tick = usize::try_from(state.now.0 / step).unwrap_or(0);
    let from = if all > many { tick.wrapping_mul(many) % all } else { 0 };
    let next = state.index.some(from, many);
    next.into_iter().map(|id| (id, age)).collect()
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
