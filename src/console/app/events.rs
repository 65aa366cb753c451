//! Taking in what the source tells.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use crate::console::data::{HistoryEntry, ProbingOfService};
use crate::console::source::{Link, Refusal, SourceEvent};
use crate::console::state::{
    KEPT_HISTORIES, KEPT_PASTS, KEPT_PROBING_BYTES, KEPT_PROBINGS, KnownHistory, KnownProbing, State, Tone,
};
use crate::console::text::sparkline;
use crate::model::time::UnixMs;

/// Takes one piece of news in.
pub(super) fn take(state: &mut State, news: SourceEvent) {
    match news {
        SourceEvent::Link(link) => {
            match (state.link == Link::Live, link == Link::Live) {
                // What was asked while it was away may have got no answer.
                (false, true) => state.ask_anew(),
                (true, false) => state.fresh_at = state.now,
                _ => {}
            }
            state.link = link;
        }
        SourceEvent::Snapshot(services) => {
            state.index.replace(services, state.now);
            state.loaded = true;
            forget_gone(state);
        }
        SourceEvent::Changes(upserts, removed) => {
            for service in &upserts {
                // What changed has a new entry of history: ask anew where it is looked at.
                if let Some(known) = state.history.get_mut(&service.id) {
                    known.asked = UnixMs(0);
                }
            }
            state.index.apply(upserts, &removed, state.now);
            if !removed.is_empty() {
                forget_gone(state);
            }
        }
        SourceEvent::Probing(id, probing) => probing_came(state, id, probing),
        SourceEvent::History(id, entries, more) => history_came(state, id, entries, more),
        SourceEvent::Server(events) => state.server = events,
        SourceEvent::Done(number, result) => done(state, number, result),
    }
    if state.link == Link::Live {
        state.fresh_at = state.now;
    }
}

fn forget_gone(state: &mut State) {
    let index = &state.index;
    state.marks.retain(|id| index.get(id).is_some());
    state.probing.retain(|id, _| index.get(id).is_some());
    state.asked.retain(|id, _| index.get(id).is_some());
}

fn probing_came(state: &mut State, id: Uuid, probing: Option<Box<ProbingOfService>>) {
    state.asked.remove(&id);
    // Nothing to tell is kept too, so that it is not asked for at each tick.
    let probing = probing.unwrap_or_default();
    if state.index.get(&id).is_none() {
        return;
    }
    state.index.note_latency(id, median(&probing));
    if state.probing.len() >= KEPT_PROBINGS && !state.probing.contains_key(&id) {
        drop_oldest(&mut state.probing, |known| known.at);
    }
    let mut kept = probing.memory();
    if kept > KEPT_PROBING_BYTES {
        return;
    }
    if kept > KEPT_PROBING_BYTES / KEPT_PROBINGS {
        // Only then may all of them together be too much.
        state.probing.remove(&id);
        kept += state.probing.values().map(|known| known.probing.memory()).sum::<usize>();
        while kept > KEPT_PROBING_BYTES {
            let Some(oldest) = drop_oldest(&mut state.probing, |known| known.at) else { break };
            kept -= oldest.probing.memory();
        }
    }
    state.probing.insert(id, KnownProbing { probing: *probing, at: state.now });
}

fn history_came(state: &mut State, id: Uuid, entries: Vec<HistoryEntry>, more: Option<i64>) {
    if state.history.len() >= KEPT_HISTORIES && !state.history.contains_key(&id) {
        drop_oldest(&mut state.history, |known| known.asked);
    }
    let known = state.history.entry(id).or_default();
    let newest = known.entries.first().map(|e| e.id);
    let older = known.entries.last().is_some_and(|last| entries.first().is_some_and(|first| first.id < last.id));
    if older || entries.is_empty() {
        known.entries.extend(entries);
        known.more = more;
    } else {
        take_newer(known, entries, newest, more);
    }
    known.entries.truncate(KEPT_PASTS);
    known.loaded = true;
    known.asked = state.now;
    known.older_asked = UnixMs(0);
}

/// The first page again: what is new goes in front; when it does not reach what is known, it replaces it.
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

fn done(state: &mut State, number: u64, result: Result<Box<str>, Refusal>) {
    let Some(what) = state.acting.remove(&number) else { return };
    match result {
        Ok(how) => state.note(Tone::Good, format!("{what}: {how}")),
        Err(refusal) => state.note(Tone::Bad, format!("{what}: {refusal}")),
    }
    // Whatever it was, what is known of probing is old now.
    state.ask_anew();
}

fn drop_oldest<T>(map: &mut HashMap<Uuid, T>, at: impl Fn(&T) -> UnixMs) -> Option<T> {
    let oldest = map.iter().min_by_key(|(_, value)| at(value)).map(|(id, _)| *id)?;
    map.remove(&oldest)
}

/// The median latency of the passing probes of all instances.
fn median(probing: &ProbingOfService) -> Option<Duration> {
    let samples = probing.instances.iter().flat_map(|known| &known.samples);
    sparkline::percentile(samples, 50).map(|us| Duration::from_micros(us.into()))
}
