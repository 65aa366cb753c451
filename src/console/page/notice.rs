//! The message at the bottom: results, operations under way, a source that is unreachable or refuses evidence.

use super::{Line, Meaning, segment};
use crate::console::source::Link;
use crate::console::state::State;
use crate::console::state::Tone;
use crate::console::state::modal::Modal;
use crate::console::text::MAX_FOREIGN;
use crate::console::text::sanitize::sanitize;
use crate::console::text::wrap::wrap;

/// Its rows, at least one: as many as the sentence needs, at most an eighth of the terminal; the last row has the rest.
pub fn notice(state: &State) -> Vec<Line> {
    let Some((text, meaning)) = message(state) else { return vec![Line::new()] };
    let most = usize::from(state.size.1 / 8).clamp(1, 3);
    let line = vec![segment(" ", meaning), segment(sanitize(&text, MAX_FOREIGN), meaning)];
    let mut rows = wrap(line, usize::from(state.size.0));
    // Without the indentation of each row.
    let rest: Line = rows.drain(most.min(rows.len())..).flat_map(|row| row.into_iter().skip(1)).collect();
    if let Some(last) = rows.last_mut() {
        last.extend(rest);
    }
    rows
}

fn message(state: &State) -> Option<(String, Meaning)> {
    if matches!(state.modal, Some(Modal::Filter { .. })) {
        // The input field is there.
        return None;
    }
    match (state.notes.last(), state.operations.len(), &state.link) {
        (Some(note), ..) => {
            let meaning = match note.tone {
                Tone::Good => Meaning::Good,
                Tone::Bad => Meaning::Bad,
                Tone::Plain => Meaning::Plain,
            };
            Some((note.text.to_string(), meaning))
        }
        (None, n, _) if n > 0 => Some((
            if n == 1 { "waiting for an answer".to_owned() } else { format!("waiting for {n} answers") },
            Meaning::Faint,
        )),
        (None, _, Link::Lost { why, .. }) => Some((why.to_string(), Meaning::Bad)),
        (None, ..) => state.evidence_refused().map(|refused| (refused.why.to_string(), Meaning::Bad)),
    }
}
