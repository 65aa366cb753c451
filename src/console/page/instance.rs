//! One instance: its registration, its probing, its newest changes.

use uuid::Uuid;

use super::{Line, Meaning, field, foreign, gone, heading, health, millis, plain, segment, since};
use crate::console::data::{Instance, ProbingOfInstance, Service};
use crate::console::state::State;
use crate::console::text::sparkline;
use crate::model::outcome::Verdict;

/// Entries of history shown here.
const MAX_CHANGES: usize = 8;

pub(super) fn lines(state: &State, id: Uuid, name: &str) -> Vec<Line> {
    let Some(service) = state.listing().get(&id) else { return gone("the service") };
    let Some(instance) = service.instances.iter().find(|i| *i.name == *name) else { return gone("the instance") };
    let mut lines = registration(state, service, instance);
    lines.extend(heading("probing"));
    match super::explain::probing(state, id, name) {
        Some(probing) => lines.extend(probing_lines(state, probing)),
        None => {
            lines
                .push(vec![segment("  not known yet: it has no check, or the answer has not arrived", Meaning::Faint)]);
        }
    }
    lines.extend(super::explain::waiting(state, id, instance));
    lines.extend(heading("changes"));
    lines.extend(changes(state, id, name));
    lines
}

fn registration(state: &State, service: &Service, instance: &Instance) -> Vec<Line> {
    let mut status = vec![segment("  health      ", Meaning::Faint), health(instance.health, state.options.ascii)];
    let reason = format!("  {}  since {}", instance.reason, since(instance.since, state.now));
    status.push(foreign(&reason));
    let weight = if instance.weight == 0 { "0 (drained)".to_owned() } else { instance.weight.to_string() };
    let mut lines = vec![
        field("service", foreign(&format!("{}/{}", service.namespace, service.name))),
        field("instance", foreign(&instance.name)),
        status,
        field("base_url", foreign(&instance.base_url)),
    ];
    let more = [
        ("health_url", &*instance.health_url),
        ("zone", &instance.zone),
        ("version", &instance.version),
        ("source", &service.source),
        ("about", &service.description),
    ];
    lines.extend(more.into_iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| field(key, foreign(text))));
    lines.push(field("weight", plain(weight)));
    for (key, value) in service.metadata.iter() {
        lines.push(field("label", foreign(&format!("{key}={value}"))));
    }
    lines
}

fn probing_lines(state: &State, probing: &ProbingOfInstance) -> Vec<Line> {
    let ascii = state.options.ascii;
    let (p50, p99) = (sparkline::percentile(&probing.samples, 50), sparkline::percentile(&probing.samples, 99));
    let text = |us: Option<u32>| us.map_or_else(|| "-".to_owned(), |us| millis(u64::from(us)));
    let passed = probing.samples.iter().filter(|s| s.total_us.is_some()).count();
    let codes: Vec<String> =
        probing.samples.iter().rev().filter_map(|s| s.code).take(8).map(|c| c.to_string()).collect();
    let mut lines = vec![
        field("latency", plain(sparkline::text(&probing.samples, 40, ascii))),
        field("p50 / p99", plain(format!("{} / {}", text(p50), text(p99)))),
        field("passed", plain(format!("{passed} of the last {}", probing.samples.len()))),
        field("streak", streak(probing)),
    ];
    if !codes.is_empty() {
        lines.push(field("last codes", plain(codes.join(" "))));
    }
    if let Some(last) = &probing.last {
        let meaning = match last.verdict {
            Verdict::Pass => Meaning::Good,
            Verdict::Fail => Meaning::Bad,
            Verdict::Inconclusive => Meaning::Warn,
        };
        let mut message =
            foreign(&format!("{} {} {}", last.verdict, last.reason, last.message.as_deref().unwrap_or_default()));
        message.meaning = meaning;
        lines.push(field("last probe", message));
    }
    lines
}

fn streak(probing: &ProbingOfInstance) -> super::Segment {
    let streak = probing.streak;
    let (kind, meaning) = if streak.passing { ("passes", Meaning::Good) } else { ("failures", Meaning::Bad) };
    segment(format!("{} {kind}", streak.count), meaning)
}

fn changes(state: &State, id: Uuid, name: &str) -> Vec<Line> {
    let Some(known) = state.history.get(&id).filter(|known| known.loaded) else {
        return vec![vec![segment("  waiting for the answer", Meaning::Faint)]];
    };
    let mine = known.entries.iter().filter(|e| *e.instance == *name).take(MAX_CHANGES);
    let mut lines: Vec<Line> = mine
        .map(|past| {
            let to = past.to.map_or_else(|| segment("removed", Meaning::Faint), |to| health(to, state.options.ascii));
            vec![
                segment(format!("  {:<22}", super::clock(past.at, state.now)), Meaning::Faint),
                to,
                plain(format!("  {}  ", past.reason.as_deref().unwrap_or(""))),
                foreign(&past.message),
            ]
        })
        .collect();
    if lines.is_empty() {
        lines.push(vec![segment("  none since it was registered", Meaning::Faint)]);
    }
    lines
}
