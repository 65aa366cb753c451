//! Why an instance has its health: each stage of the last good probe before it broke beside the first bad one, the newest failure, and what
//! the next change of health takes.

use uuid::Uuid;

use super::broke::{self, Break, Seen};
use super::{Line, Meaning, Segment, clock, duration, foreign, gone, heading, millis, plain, segment, since};
use crate::console::data::{Instance, ProbingOfInstance, deciding};
use crate::console::state::State;
use crate::console::text::fit::fitting;
use crate::console::text::format::short;
use crate::console::text::reason;
use crate::console::{check, columns, status};
use crate::model::health::{FLAP_HOLD, STEADY_SPAN};
use crate::model::outcome::{Health, Stage, Verdict};
use crate::model::time::UnixMs;

/// Width of a probe's column.
const COLUMN_WIDTH: usize = 22;

/// What is known of the probing that decides an instance's health.
pub(super) fn probing<'a>(state: &'a State, id: Uuid, of: &Instance) -> Option<&'a ProbingOfInstance> {
    deciding(&state.probing.get(&id)?.probing, of)
}

pub(super) fn lines(state: &State, id: Uuid, name: &str) -> Vec<Line> {
    let Some(service) = state.listing().get(&id) else { return gone("the service") };
    let Some(instance) = service.instances.iter().find(|i| *i.name == *name) else { return gone("the instance") };
    let known = probing(state, id, instance);
    let why = columns::instance_why(instance, known);
    let mut lines = vec![
        vec![
            foreign(&format!("{}/{}  {}  ", service.namespace, service.name, instance.name)),
            status::instance(instance, state.options.ascii),
        ],
        vec![foreign(&format!("{why}  since {}", since(instance.since, state.now)))],
        vec![
            segment(if instance.health_url.is_empty() { "base_url   " } else { "health_url " }, Meaning::Faint),
            foreign(if instance.health_url.is_empty() { &instance.base_url } else { &instance.health_url }),
        ],
    ];
    let checks = check::all(instance).into_iter();
    lines.extend(checks.map(|check| vec![segment("check      ", Meaning::Faint), foreign(&check)]));
    if !instance.owner().is_empty() {
        lines.push(vec![segment("owner      ", Meaning::Faint), foreign(&instance.owner_words())]);
    }
    if let Some(known) = super::acknowledged(state, instance) {
        lines.push(vec![segment("ack        ", Meaning::Faint), known]);
    }
    let Some(of) = known else {
        lines.push(Vec::new());
        lines.push(vec![match &state.probing_refused {
            _ if instance.is_unchecked() => segment("not checked", Meaning::Faint),
            Some(refused) => super::refused("not known", refused),
            None => segment("no probe is known yet; waiting for the answer", Meaning::Faint),
        }]);
        return lines;
    };
    if let Some(refused) = &state.probing_refused {
        lines.push(vec![super::refused("newer probes are not known", refused)]);
    }
    lines.extend(next(state, id, instance));
    lines.push(Vec::new());
    lines.extend(side_by_side(state, &newest_break(state, id, instance, of)));
    lines
}

/// The newest time that it broke.
fn newest_break<'a>(state: &'a State, id: Uuid, instance: &Instance, of: &'a ProbingOfInstance) -> Break<'a> {
    let entries = state.history.get(&id).map_or(&[][..], |known| &known.entries);
    let falls = entries
        .iter()
        .filter(|e| (&*e.event, e.to) == ("health", Some(Health::Unhealthy)) && e.instance == instance.name);
    broke::newest(of, falls.filter_map(|fall| fall.evidence.as_ref()))
}

fn side_by_side(state: &State, of: &Break<'_>) -> Vec<Line> {
    let ascii = state.options.ascii;
    let (good, bad) = (of.good, of.first);
    let row = |label: &str, left: Segment, right: Segment| {
        let mut left = left;
        left.text = format!("{:<COLUMN_WIDTH$}", cut(&left.text));
        vec![segment(format!("  {label:<10}"), Meaning::Faint), left, right]
    };
    let both = |label: &str, text: &dyn Fn(Seen<'_>) -> Option<String>| {
        let of = |seen: Option<Seen<'_>>| foreign(&seen.and_then(text).unwrap_or_else(|| "-".to_owned()));
        row(label, of(good), of(bad))
    };
    let mut lines = vec![
        row(
            "",
            segment("LAST GOOD", Meaning::Good),
            segment(
                if bad.is_some_and(Seen::is_inconclusive) { "INCONCLUSIVE" } else { "WHERE IT BROKE" },
                Meaning::Bad,
            ),
        ),
        both("when", &|seen| Some(when(seen.at(), state.now))),
        both("address", &|seen| Some(seen.outcome()?.address?.to_string())),
    ];
    for stage in Stage::ALL {
        lines.push(row(stage.as_str(), stage_word(good, *stage, ascii), stage_word(bad, *stage, ascii)));
    }
    lines.push(both("answer", &|seen| Some(reason::code(seen.code()?, seen.passed()))));
    lines.push(both("total", &|seen| seen.total_us().map(millis)));
    // Where the first failure is known only by its time, the newest one says why.
    let newest = of.newest.filter(|newest| bad.is_none_or(|bad| bad.at() != newest.at));
    if let Some(bad) = bad.and_then(Seen::outcome).or(newest) {
        lines.push(vec![
            segment("  cause     ", Meaning::Faint),
            Segment { meaning: Meaning::Bad, ..foreign(&reason::cause(bad)) },
        ]);
    }
    if let Some(newest) = newest {
        let text = format!("{}, {}: {}", when(newest.at, state.now), broke::stage(newest), reason::cause(newest));
        lines.push(vec![segment("  newest    ", Meaning::Faint), foreign(&text)]);
    }
    lines
}

/// `11:55:48Z (4m12s)`.
fn when(at: UnixMs, now: UnixMs) -> String {
    format!("{} ({})", clock(at, now), short(now.since(at)))
}

fn cut(text: &str) -> String {
    fitting(text.to_owned(), COLUMN_WIDTH - 1)
}

fn stage_word(seen: Option<Seen<'_>>, stage: Stage, ascii: bool) -> Segment {
    let Some(outcome) = seen.and_then(Seen::outcome) else { return segment("-", Meaning::Faint) };
    let (good, bad) = if ascii { ("+", "x") } else { ("✔", "✖") };
    let Some(reached) = outcome.stage else { return segment("-", Meaning::Faint) };
    let taken = outcome.timings.and_then(|timings| timings.of(stage));
    let time = taken.map_or_else(String::new, |us| millis(u64::from(us)));
    match stage.cmp(&reached) {
        std::cmp::Ordering::Less if time.is_empty() => segment("· not needed", Meaning::Faint),
        std::cmp::Ordering::Less => segment(format!("{good} {time}"), Meaning::Good),
        std::cmp::Ordering::Equal if outcome.verdict == Verdict::Pass => {
            segment(format!("{good} {time}"), Meaning::Good)
        }
        std::cmp::Ordering::Equal => segment(format!("{bad} {} {time}", outcome.reason), Meaning::Bad),
        std::cmp::Ordering::Greater => segment("· not reached", Meaning::Faint),
    }
}

/// Whether its health is settled, else what the next change of it takes; and when it is probed next.
pub(super) fn waiting(state: &State, id: Uuid, instance: &Instance) -> Vec<Line> {
    if probing(state, id, instance).is_none() {
        return Vec::new();
    }
    let mut lines: Vec<Line> = heading("what comes next").into();
    lines.extend(next(state, id, instance));
    lines
}

/// The same without a heading.
fn next(state: &State, id: Uuid, instance: &Instance) -> Vec<Line> {
    let Some(of) = probing(state, id, instance) else { return Vec::new() };
    let streak = of.streak;
    let settled = match instance.health {
        Health::Healthy => streak.passing,
        Health::Unhealthy => !streak.passing,
        Health::Unknown => false,
    };
    let (one, many) = if streak.passing { ("pass", "passes") } else { ("failure", "failures") };
    let counts = match (settled, streak.count) {
        (true, 0) => "settled: no probe since the health was taken over".to_owned(),
        (true, 1) => format!("settled: the newest probe is a {one}"),
        (true, n) => format!("settled: {n} {many} in a row"),
        (false, n) => format!("unsettled: {} of {} {many}", n.min(streak.of), streak.of),
    };
    let mut lines = vec![vec![plain(counts), plain("; "), next_probe(state, id, of)]];
    if let Some(held) = &of.held {
        let mut held = foreign(&held_words(held, of, state.now));
        held.meaning = Meaning::Warn;
        lines.push(vec![held]);
    }
    lines
}

/// `held as flapping: 41 s of 60 s without a failure`, else the server's own words.
fn held_words(held: &str, of: &ProbingOfInstance, now: UnixMs) -> String {
    let Some(fail) = of.last_fail.as_ref().filter(|_| held == FLAP_HOLD) else { return format!("held: {held}") };
    let (so_far, all) = (now.since(fail.at).as_secs(), STEADY_SPAN.as_secs());
    format!("held as flapping: {} s of {all} s without a failure", so_far.min(all))
}

fn next_probe(state: &State, id: Uuid, of: &ProbingOfInstance) -> Segment {
    let live = state.probing.get(&id).is_some_and(|known| known.probing.live);
    match of.next_due {
        Some(due) if live && due >= state.now => plain(format!("next probe in {}", duration(due.since(state.now)))),
        Some(_) if live => plain("next probe: due now"),
        Some(due) => segment(
            format!("next probe at about {} (from the file, up to 2 s old)", clock(due, state.now)),
            Meaning::Faint,
        ),
        None => segment("next probe: not known", Meaning::Faint),
    }
}
