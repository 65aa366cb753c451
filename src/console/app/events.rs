//! Events of the source.

use std::collections::HashMap;

use uuid::Uuid;

use super::actions;
use crate::console::data::{Availability, HistoryEntry, ProbingOfService, certificate};
use crate::console::latency::Took;
use crate::console::source::{Done, Link, Refusal, Showed, SourceEvent};
use crate::console::state::{
    KEPT_ENTRIES, KEPT_HISTORIES, KEPT_PROBING_BYTES, KEPT_PROBINGS, KnownHistory, KnownProbing, State, Tone,
};
use crate::model::time::UnixMs;

/// Takes in an event.
pub(super) fn take(state: &mut State, event: SourceEvent) {
    match event {
        SourceEvent::Link(link) => {
            match (state.link == Link::Live, link == Link::Live) {
                // Requests that were open when the link broke may have no answer.
                (false, true) => {
                    state.outdate();
                    state.forget_refusals();
                }
                (true, false) => state.fresh_at = state.now,
                _ => {}
            }
            state.link = link;
        }
        SourceEvent::Heard => state.heard_at = Some(state.now),
        SourceEvent::AsOf(at) => state.fresh_at = at,
        SourceEvent::Snapshot(services) => {
            state.index.replace(services, state.now);
            state.loaded = true;
            forget_removed(state);
        }
        SourceEvent::Changes(upserts, removed) => {
            for service in &upserts {
                // A changed service has a new entry of history: request it again where it is visible.
                if let Some(known) = state.history.get_mut(&service.id) {
                    known.requested = UnixMs(0);
                }
                state.availability.changed(service.id);
            }
            state.index.apply(upserts, &removed, state.now);
            if !removed.is_empty() {
                forget_removed(state);
            }
        }
        SourceEvent::Probing(id, probing) => probing_arrived(state, id, probing),
        // The requests count as open, so that they are repeated later and not at once.
        SourceEvent::NoProbing(why) => state.refuse_probing(why),
        SourceEvent::NoHistory(id, why) => state.refuse_history(id, why),
        SourceEvent::History(id, entries, more) => history_arrived(state, id, entries, more),
        SourceEvent::Strips(subject, answer) => state.availability.strips_arrived(subject, answer, state.now),
        SourceEvent::Shares(requested, answer) => shares_arrived(state, &requested, answer),
        SourceEvent::Outages(window, answer) => state.outages.arrived(window, answer, state.now),
        SourceEvent::Server(events) => state.server = events,
        SourceEvent::OperationDone(number, result) => done(state, number, result),
    }
    if state.link == Link::Live {
        state.fresh_at = state.now;
    }
}

fn forget_removed(state: &mut State) {
    let index = &state.index;
    state.marks.retain(|id| index.get(id).is_some());
    state.probing.retain(|id, _| index.get(id).is_some());
    state.requested.retain(|id, _| index.get(id).is_some());
    state.availability.retain(|id| index.get(id).is_some());
}

fn shares_arrived(state: &mut State, requested: &[Uuid], answer: Result<Vec<Availability>, Box<str>>) {
    match answer {
        Ok(all) => state.availability.shares_arrived(requested, &all, state.now),
        Err(why) => {
            if state.availability.shares_refused(state.now) {
                state.note(Tone::Bad, format!("no availability: {why}"));
            }
        }
    }
}

fn probing_arrived(state: &mut State, id: Uuid, probing: Option<Box<ProbingOfService>>) {
    state.requested.remove(&id);
    state.probing_refused = None;
    // An empty answer is kept too, so that it is not requested at each tick.
    let probing = probing.unwrap_or_default();
    if state.index.get(&id).is_none() {
        return;
    }
    if state.probing.len() >= KEPT_PROBINGS && !state.probing.contains_key(&id) {
        drop_oldest(&mut state.probing, |known| known.at);
    }
    let mut kept = probing.memory();
    if kept > KEPT_PROBING_BYTES {
        return;
    }
    let first = probing.instances.iter().filter_map(certificate).min();
    state.index.note_probing(id, Took::of(&probing), first);
    if kept > KEPT_PROBING_BYTES / KEPT_PROBINGS {
        // Only now can all of them together exceed the limit.
        state.probing.remove(&id);
        kept += state.probing.values().map(|known| known.probing.memory()).sum::<usize>();
        while kept > KEPT_PROBING_BYTES {
            let Some(oldest) = drop_oldest(&mut state.probing, |known| known.at) else { break };
            kept -= oldest.probing.memory();
        }
    }
    state.probing.insert(id, KnownProbing { probing: *probing, at: state.now });
}

fn history_arrived(state: &mut State, id: Uuid, entries: Vec<HistoryEntry>, more: Option<i64>) {
    if state.seeding.as_mut().is_some_and(|seeding| seeding.remove(&id)) {
        state.index.seed_recent(&id, &entries);
    }
    if state.history.len() >= KEPT_HISTORIES && !state.history.contains_key(&id) {
        drop_oldest(&mut state.history, |known| known.requested);
    }
    let known = state.history.entry(id).or_default();
    let newest = known.entries.first().map(|e| e.id);
    let older = known.entries.last().is_some_and(|last| entries.first().is_some_and(|first| first.id < last.id));
    known.awaited &= older;
    known.refused = None;
    if older || entries.is_empty() {
        known.entries.extend(entries);
        known.more = more;
    } else {
        take_newer(known, entries, newest, more);
    }
    known.entries.truncate(KEPT_ENTRIES);
    known.loaded = true;
    known.requested = state.now;
    known.older_requested = UnixMs(0);
}

/// Takes in the first page again: new entries go in front; a page that does not reach the known entries replaces them.
fn take_newer(known: &mut KnownHistory, entries: Vec<HistoryEntry>, newest: Option<i64>, more: Option<i64>) {
    let joins = newest.is_some_and(|newest| entries.iter().any(|e| e.id == newest));
    if joins {
        let fresh = entries.into_iter().take_while(|e| Some(e.id) > newest);
        known.entries.splice(0..0, fresh.collect::<Vec<_>>());
    } else {
        known.entries = entries;
        known.more = more;
    }
}

fn done(state: &mut State, number: u64, result: Result<Done, Refusal>) {
    let Some(what) = state.operations.remove(&number) else { return };
    if !actions::batch_done(state, number, &result) {
        match result {
            Ok(Done { how, showed }) => {
                let tone = match showed {
                    Showed::Well => Tone::Good,
                    Showed::Fault => Tone::Bad,
                    Showed::NoCheck => Tone::Plain,
                };
                state.note(tone, format!("{what}: {how}"));
            }
            Err(refusal) => state.note(Tone::Bad, format!("{what}: {refusal}")),
        }
    }
    // Any operation outdates the probing.
    state.outdate();
}

/// Removes the entry that is the oldest by its time.
pub(super) fn drop_oldest<T>(map: &mut HashMap<Uuid, T>, at: impl Fn(&T) -> UnixMs) -> Option<T> {
    let oldest = map.iter().min_by_key(|(_, value)| at(value)).map(|(id, _)| *id)?;
    map.remove(&oldest)
}
