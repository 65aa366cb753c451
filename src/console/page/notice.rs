//! What is said at the bottom: of what was done, of what is under way, of a source that is away.

use super::{Line, Meaning, segment};
use crate::console::source::Link;
use crate::console::state::State;
use crate::console::state::Tone;
use crate::console::state::modal::Modal;
use crate::console::text::MAX_FOREIGN;
use crate::console::text::sanitize::sanitize;
use crate::console::text::wrap::wrap;

/// The rows of it, at least one: as many as the sentence needs, but no more than an eighth of the terminal; the last holds the rest.
pub fn notice(state: &State) -> Vec<Line> {
    let Some((text, meaning)) = said(state) else { return vec![Line::new()] };
    let most = usize::from(state.size.1 / 8).clamp(1, 3);
    let line = vec![segment(" ", meaning), segment(sanitize(&text, MAX_FOREIGN), meaning)];
    let mut rows = wrap(line, usize::from(state.size.0));
    // Without what moves each row in.
    let rest: Line = rows.drain(most.min(rows.len())..).flat_map(|row| row.into_iter().skip(1)).collect();
    if let Some(last) = rows.last_mut() {
        last.extend(rest);
    }
    rows
}

fn said(state: &State) -> Option<(String, Meaning)> {
    if matches!(state.modal, Some(Modal::Filter { .. })) {
        // The field is there.
        return None;
    }
    match (state.notes.last(), state.acting.len(), &state.link) {
        (Some(note), ..) => {
            let meaning = match note.tone {
                Tone::Good => Meaning::Good,
                Tone::Bad => Meaning::Bad,
                Tone::Plain => Meaning::Plain,
            };
            Some((note.text.to_string(), meaning))
        }
        (None, n, _) if n > 0 => Some((format!("{n} under way"), Meaning::Faint)),
        (None, _, Link::Lost { why, .. }) => Some((why.to_string(), Meaning::Bad)),
        _ => None,
    }
}
