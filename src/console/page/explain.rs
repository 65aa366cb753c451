//! Why an instance has its health: each stage of the last good probe beside the first bad one, and what the next change of health takes.

use uuid::Uuid;

use super::{Line, Meaning, Segment, clock, duration, foreign, gone, heading, health, millis, plain, segment, since};
use crate::console::data::{Instance, Outcome, ProbingOfInstance};
use crate::console::state::State;
use crate::model::outcome::{Health, Stage, Verdict};

/// Width of a probe's column.
const COLUMN_WIDTH: usize = 26;

/// What is known of an instance's probing.
pub(super) fn probing<'a>(state: &'a State, id: Uuid, name: &str) -> Option<&'a ProbingOfInstance> {
    state.probing.get(&id)?.probing.instances.iter().find(|of| *of.instance == *name)
}

pub(super) fn lines(state: &State, id: Uuid, name: &str) -> Vec<Line> {
    let Some(service) = state.listing().get(&id) else { return gone("the service") };
    let Some(instance) = service.instances.iter().find(|i| *i.name == *name) else { return gone("the instance") };
    let mut lines = vec![
        vec![
            foreign(&format!("{}/{}  {}  ", service.namespace, service.name, instance.name)),
            health(instance.health, state.options.ascii),
        ],
        vec![foreign(&format!("{}  since {}", instance.reason, since(instance.since, state.now)))],
        vec![
            segment(if instance.health_url.is_empty() { "base_url   " } else { "health_url " }, Meaning::Faint),
            foreign(if instance.health_url.is_empty() { &instance.base_url } else { &instance.health_url }),
        ],
    ];
    let Some(of) = probing(state, id, name) else {
        lines.push(Vec::new());
        let why = if &*instance.reason == "NotChecked" {
            "it is not probed: it has no check"
        } else {
            "no probe is known yet; waiting for the answer"
        };
        lines.push(vec![segment(why, Meaning::Faint)]);
        return lines;
    };
    let bad = first_bad(state, id, instance, of);
    lines.extend(heading("probes"));
    lines.extend(side_by_side(state, of.last_pass.as_ref(), bad));
    lines.extend(waiting(state, id, instance));
    lines
}

/// The first failure after the last pass: the one that history gives for the fall, else the newest failure.
fn first_bad<'a>(state: &'a State, id: Uuid, instance: &Instance, of: &'a ProbingOfInstance) -> Option<&'a Outcome> {
    let fell = || {
        let known = state.history.get(&id)?;
        let fall = known.entries.iter().find(|e| e.instance == instance.name && e.to.is_some())?;
        (fall.to == Some(Health::Unhealthy)).then_some(fall.evidence.as_ref()).flatten()
    };
    let last = of.last.as_ref().filter(|last| last.verdict != Verdict::Pass);
    if instance.health == Health::Unhealthy {
        fell().or(of.last_fail.as_ref()).or(last)
    } else {
        of.last_fail.as_ref().or(last)
    }
}

fn side_by_side(state: &State, good: Option<&Outcome>, bad: Option<&Outcome>) -> Vec<Line> {
    let ascii = state.options.ascii;
    let row = |label: &str, left: Segment, right: Segment| {
        let mut left = left;
        left.text = format!("{:<COLUMN_WIDTH$}", cut(&left.text));
        vec![segment(format!("  {label:<10}"), Meaning::Faint), left, right]
    };
    let both = |label: &str, text: &dyn Fn(&Outcome) -> String| {
        let of = |o: Option<&Outcome>| foreign(&o.map_or_else(|| "-".to_owned(), text));
        row(label, of(good), of(bad))
    };
    let mut lines = vec![
        row(
            "",
            segment("LAST GOOD", Meaning::Good),
            segment(
                if bad.is_some_and(|b| b.verdict == Verdict::Inconclusive) { "INCONCLUSIVE" } else { "FIRST BAD" },
                Meaning::Bad,
            ),
        ),
        both("when", &|o| since(Some(o.at), state.now)),
        both("address", &|o| o.address.map_or_else(|| "-".to_owned(), |a| a.to_string())),
    ];
    for stage in Stage::ALL {
        lines.push(row(stage.as_str(), stage_word(good, *stage, ascii), stage_word(bad, *stage, ascii)));
    }
    lines.push(both("code", &|o| o.code.map_or_else(|| "-".to_owned(), |c| c.to_string())));
    lines.push(both("total", &|o| o.timings.map_or_else(|| "-".to_owned(), |timings| millis(timings.total_us()))));
    if let Some(bad) = bad {
        let mut message = foreign(&format!("{}: {}", bad.reason, bad.message.as_deref().unwrap_or_default()));
        message.meaning = Meaning::Bad;
        lines.push(vec![segment("  why       ", Meaning::Faint), message]);
    }
    lines
}

fn cut(text: &str) -> String {
    if text.chars().count() < COLUMN_WIDTH {
        text.to_owned()
    } else {
        text.chars().take(COLUMN_WIDTH - 2).chain(['…']).collect()
    }
}

fn stage_word(outcome: Option<&Outcome>, stage: Stage, ascii: bool) -> Segment {
    let Some(outcome) = outcome else { return segment("-", Meaning::Faint) };
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

/// What the next change of health takes.
pub(super) fn waiting(state: &State, id: Uuid, instance: &Instance) -> Vec<Line> {
    let Some(of) = probing(state, id, &instance.name) else { return Vec::new() };
    let mut lines: Vec<Line> = heading("waiting for").into();
    let streak = of.streak;
    let settled = match instance.health {
        Health::Healthy => streak.passing,
        Health::Unhealthy => !streak.passing,
        Health::Unknown => false,
    };
    let (one, many) = if streak.passing { ("pass", "passes") } else { ("failure", "failures") };
    let counts = match (settled, streak.count) {
        (true, 0) => "  nothing: no probe since the health was taken over".to_owned(),
        (true, 1) => format!("  nothing: the newest probe, a {one}, agrees"),
        (true, n) => format!("  nothing: {n} {many} in a row agree"),
        (false, n) => format!("  {} of {} {many}", n.min(streak.of), streak.of),
    };
    lines.push(vec![plain(counts)]);
    if let Some(held) = &of.held {
        let mut held = foreign(&format!("  held: {held}"));
        held.meaning = Meaning::Warn;
        lines.push(vec![held]);
    }
    lines.push(vec![next_probe(state, id, of)]);
    lines
}

fn next_probe(state: &State, id: Uuid, of: &ProbingOfInstance) -> Segment {
    let live = state.probing.get(&id).is_some_and(|known| known.probing.live);
    match of.next_due {
        Some(due) if live && due >= state.now => plain(format!("  next probe in {}", duration(due.since(state.now)))),
        Some(_) if live => plain("  next probe: due now"),
        Some(due) => segment(
            format!("  next probe at about {} (from the file, up to 2 s old)", clock(due, state.now)),
            Meaning::Faint,
        ),
        None => segment("  next probe: not known", Meaning::Faint),
    }
}
