//! One instance: its registration, its probing, its newest changes.

use uuid::Uuid;

use super::{Line, Meaning, field, foreign, gone, heading, millis, plain, segment, since};
use crate::console::data::{HistoryEntry, Instance, ProbingOfInstance, Service, certificate};
use crate::console::state::State;
use crate::console::text::{reason, sparkline};
use crate::console::{check, columns, status};
use crate::model::outcome::Verdict;
use crate::model::time::UnixMs;

/// Entries of history shown here.
const MAX_CHANGES: usize = 8;

pub(super) fn lines(state: &State, id: Uuid, name: &str) -> Vec<Line> {
    let Some(service) = state.listing().get(&id) else { return gone("the service") };
    let Some(instance) = service.instances.iter().find(|i| *i.name == *name) else { return gone("the instance") };
    let mut lines = registration(state, service, instance);
    lines.extend(heading("availability"));
    let subject = (id, Some(instance.name.clone()));
    lines.extend(super::availability(state, &subject, usize::from(state.size.0)));
    lines.extend(heading("probing"));
    let refused = state.probing_refused.as_ref();
    match (super::explain::probing(state, id, instance), refused.filter(|_| !instance.is_unchecked())) {
        (Some(probing), refused) => {
            lines.extend(refused.map(|refused| vec![super::refused("  newer probes are not known", refused)]));
            lines.extend(probing_lines(state, probing));
        }
        (None, Some(refused)) => lines.push(vec![super::refused("  not known", refused)]),
        (None, None) => {
            lines.push(vec![segment("  not known yet: not checked, or the answer has not arrived", Meaning::Faint)]);
        }
    }
    lines.extend(super::explain::waiting(state, id, instance));
    lines.extend(heading("changes"));
    lines.extend(changes(state, id, name));
    lines
}

fn registration(state: &State, service: &Service, instance: &Instance) -> Vec<Line> {
    let why = columns::instance_why(instance, super::explain::probing(state, service.id, instance));
    let mut status = vec![segment("  health      ", Meaning::Faint), status::instance(instance, state.options.ascii)];
    status.push(foreign(&format!("  {why}  since {}", since(instance.since, state.now))));
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
        ("runs", instance.observed_version.as_deref().unwrap_or_default()),
        ("external id", instance.external_id.as_deref().unwrap_or_default()),
        ("source", &service.source),
        ("owner", &instance.owner_words()),
        ("about", &instance.description),
    ];
    lines.extend(more.into_iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| field(key, foreign(text))));
    lines.extend(check::all(instance).iter().map(|check| field("check", foreign(check))));
    lines.push(field("weight", plain(weight)));
    if let Some(drain) = &instance.drain {
        let until = drain.until.map_or_else(String::new, |until| format!(", until {}", super::clock(until, state.now)));
        let time = format!("since {}{until}", since(drain.since, state.now));
        lines.push(field("drained", foreign(&format!("{}, {time}", instance.drain_words()))));
    }
    if let Some(known) = super::acknowledged(state, instance) {
        lines.push(field("ack", known));
    }
    if let Some(warning) = &instance.warning {
        let text = format!("{} {} {}", warning.check, warning.reason, warning.message);
        lines.push(field("warning", super::Segment { meaning: Meaning::Warn, ..foreign(&text) }));
    }
    if !instance.tags.is_empty() {
        lines.push(field("tags", foreign(&instance.tags.join(", "))));
    }
    for (key, value) in instance.metadata.iter() {
        lines.push(field("label", foreign(&format!("{key}={value}"))));
    }
    lines
}

fn probing_lines(state: &State, probing: &ProbingOfInstance) -> Vec<Line> {
    let ascii = state.options.ascii;
    let (p50, p99) = (sparkline::percentile(&probing.samples, 50), sparkline::percentile(&probing.samples, 99));
    let text = |us: Option<u32>| us.map_or_else(|| "-".to_owned(), |us| millis(u64::from(us)));
    let passed = probing.samples.iter().filter(|s| s.total_us.is_some()).count();
    let codes: Vec<String> = probing
        .samples
        .iter()
        .rev()
        .filter_map(|s| Some(reason::code(s.code?, s.total_us.is_some())))
        .take(8)
        .collect();
    let mut lines = vec![
        field("latency", plain(sparkline::scaled(&probing.samples, 48, ascii))),
        field("p50 / p99", plain(format!("{} / {}", text(p50), text(p99)))),
        field("passed", plain(format!("{passed} of the last {}", probing.samples.len()))),
        field("streak", streak(probing)),
    ];
    if let Some(expires) = certificate(probing) {
        let words = columns::expiry(expires, state.now);
        let text =
            if expires > state.now { format!("expires {}, {}", words.text, on_date(expires)) } else { words.text };
        lines.push(field("certificate", segment(text, words.meaning)));
    }
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

/// `on 2026-01-13`.
fn on_date(at: UnixMs) -> String {
    let date = at.to_string();
    format!("on {}", date.get(..10).unwrap_or(&date))
}

fn streak(probing: &ProbingOfInstance) -> super::Segment {
    let streak = probing.streak;
    let (one, many, meaning) =
        if streak.passing { ("pass", "passes", Meaning::Good) } else { ("failure", "failures", Meaning::Bad) };
    segment(format!("{} {}", streak.count, if streak.count == 1 { one } else { many }), meaning)
}

fn changes(state: &State, id: Uuid, name: &str) -> Vec<Line> {
    let known = state.history.get(&id);
    let refused = known.and_then(|known| known.refused.as_ref());
    let Some(known) = known.filter(|known| known.loaded) else {
        return vec![vec![match refused {
            Some(refused) => super::refused("  not known", refused),
            None => segment("  waiting for the answer", Meaning::Faint),
        }]];
    };
    let mine = || known.entries.iter().filter(|e| *e.instance == *name).take(MAX_CHANGES);
    let at = |past: &HistoryEntry| super::clock(past.at, state.now);
    let wide = mine().map(|past| at(past).len()).max().unwrap_or(0) + 2;
    let mut lines: Vec<Line> = mine()
        .map(|past| {
            vec![
                segment(format!("  {:<wide$}", at(past)), Meaning::Faint),
                status::became(past, state.options.ascii),
                plain(format!("  {}  ", past.reason.as_deref().unwrap_or(""))),
                foreign(&past.message),
            ]
        })
        .collect();
    if lines.is_empty() {
        lines.push(vec![segment("  none since it was registered", Meaning::Faint)]);
    }
    if let Some(refused) = refused {
        lines.insert(0, vec![super::refused("  newer ones are not known", refused)]);
    }
    lines
}
