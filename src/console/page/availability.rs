//! How available a service or an instance was in 24 hours, 7 and 30 days: strips, and figures beside them.

use super::{Line, Meaning, plain, segment};
use crate::console::availability::{Strips, Subject};
use crate::console::data::Availability;
use crate::console::state::State;
use crate::console::text::fit::padded_left;
use crate::console::text::format::{day, seconds};
use crate::console::text::sanitize::sanitize;
use crate::console::text::strip;
use crate::console::window::Window;
use crate::model::availability::percent_text;

/// Lines of the block: a head, a line for each window, the legend.
pub const LINES: usize = 5;
/// Columns before the strip.
const LABEL: usize = 8;
/// From this width on, the strips have all their columns.
const FULL: usize = 110;
/// From this width on, unknown and drained time has figures, too.
const WIDE: usize = 128;
/// From this width on, the figures have a column each.
const TABLE: usize = 78;

/// A figure: its title, its columns, whether only a wide terminal has it, and its text.
type Figure = (&'static str, usize, bool, fn(&Availability, bool) -> String);

const FIGURES: [Figure; 6] = [
    ("UP", 9, false, |of, _| percent_text(of.percent)),
    ("OUTAGES", 7, false, |of, _| of.outage_count.to_string()),
    ("LONGEST", 7, false, |of, ascii| time(Some(of.longest_outage_seconds).filter(|_| of.outage_count > 0), ascii)),
    ("RECOVERY", 8, false, |of, ascii| time(of.recovery_seconds, ascii)),
    ("NOT KNOWN", 9, true, |of, ascii| time(Some(of.unknown_seconds).filter(|s| *s >= 1.0), ascii)),
    ("DRAINED", 7, true, |of, ascii| time(Some(of.drained_seconds).filter(|s| *s >= 1.0), ascii)),
];

fn time(of: Option<f64>, ascii: bool) -> String {
    of.map_or_else(|| if ascii { "-" } else { "–" }.to_owned(), seconds)
}

/// The block in a width, always [`LINES`] lines; less would move what stands around it.
pub fn lines(state: &State, subject: &Subject, width: usize) -> Vec<Line> {
    let known = state.availability.strips(subject);
    let mut lines = match known {
        Some(Strips { windows, .. }) if !windows.is_empty() => table(state, windows, width),
        Some(Strips { refused: Some(why), .. }) => {
            vec![vec![segment(format!("  not known: {}", sanitize(why, 512)), Meaning::Warn)]]
        }
        _ => vec![vec![segment("  waiting for the answer", Meaning::Faint)]],
    };
    lines.resize(LINES, Line::new());
    lines
}

fn table(state: &State, windows: &[(Window, Availability)], width: usize) -> Vec<Line> {
    let ascii = state.options.ascii;
    let room = if width >= FULL { 60 } else { 30 };
    let figures: Vec<&Figure> = FIGURES.iter().filter(|(_, _, wide, _)| width >= WIDE || !wide).collect();
    let since = windows.last().map(|(_, of)| of).filter(|of| of.since > of.from).map(|of| of.since);
    let since = since.map_or_else(String::new, |at| format!("recorded since {}", day(at, state.now)));
    let mut lines = Vec::with_capacity(LINES);
    if width >= TABLE {
        let mut head = format!("{:<LABEL$}{since:<room$} ", "");
        for (title, columns, ..) in &figures {
            head.push_str(&padded_left(title, columns + 2));
        }
        lines.push(vec![segment(head, Meaning::Faint)]);
    } else {
        lines.push(vec![segment(format!("  {since}"), Meaning::Faint)]);
    }
    for (window, of) in windows {
        let strip = strip::strip(of.strip.as_deref().unwrap_or_default(), room, ascii);
        let drawn: usize = strip.iter().map(|part| part.text.chars().count()).sum();
        // The newest cells stand below each other.
        let before =
            format!("  {:<width$}{}", window.words(), " ".repeat(room.saturating_sub(drawn)), width = LABEL - 2);
        let mut line = vec![segment(before, Meaning::Faint)];
        line.extend(strip);
        if width >= TABLE {
            line.push(plain(" "));
            let texts = figures.iter().map(|(_, columns, _, text)| padded_left(&text(of, ascii), columns + 2));
            line.extend(texts.enumerate().map(|(n, text)| segment(text, meaning(n, of))));
        } else if width > LABEL + room + 10 {
            line.push(segment(format!("  {}", percent_text(of.percent)), meaning(0, of)));
        }
        lines.push(line);
    }
    lines.push(std::iter::once(plain("  ")).chain(strip::legend(ascii)).collect());
    lines
}

fn meaning(figure: usize, of: &Availability) -> Meaning {
    match figure {
        0 | 1 if of.outage_count > 0 => Meaning::Bad,
        0 if of.percent.is_some() => Meaning::Good,
        _ => Meaning::Plain,
    }
}
