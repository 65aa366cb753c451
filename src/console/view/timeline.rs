//! Past changes of health, newest first, across restarts.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use uuid::Uuid;

use super::table::{self, Rows, TableColumn, fit};
use super::{Scene, message};
use crate::console::data::HistoryEntry;
use crate::console::state::screen::Selection;
use crate::console::status::became;
use crate::console::text::sanitize::sanitize;
use crate::console::text::{Meaning, format};

const COLUMNS: [TableColumn<'static>; 5] = [
    TableColumn { title: "AT", width: 20, grows: 0, drops: 2 },
    TableColumn { title: "INSTANCE", width: 10, grows: 1, drops: 3 },
    TableColumn { title: "BECAME", width: 12, grows: 0, drops: 0 },
    TableColumn { title: "REASON", width: 16, grows: 0, drops: 1 },
    TableColumn { title: "MESSAGE", width: 12, grows: 5, drops: 4 },
];

/// The column that is as wide as what it shows: a moment of today has no date.
const AT: usize = 0;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>, id: Uuid) {
    let state = scene.state;
    let known = state.history.get(&id);
    let Some(known) = known.filter(|known| known.loaded) else {
        let refused = known.and_then(|known| known.refused.as_ref());
        let said = refused.map(|refused| format!("the history is not known: {}", refused.why));
        message::draw(frame, area, scene, said.as_deref().unwrap_or("waiting for the history"));
        return;
    };
    if known.entries.is_empty() {
        message::draw(frame, area, scene, "nothing has changed since it was registered");
        return;
    }
    let mut columns = COLUMNS;
    let visible = known.entries.iter().skip(state.screen().top).take(usize::from(area.height));
    columns[AT].shrink(visible.map(|past| format::clock(past.at, state.now)));
    let fitted = fit(&columns, area.width);
    let head = fitted.head(&columns, scene.theme.of(Meaning::Strong));
    let rows = Rows {
        from_top: known.entries.iter().enumerate().skip(state.screen().top),
        cell: |(_, past): &(usize, &HistoryEntry), n, _| cell(scene, past, n),
        is_selected: |(place, past): &(usize, &HistoryEntry)| match state.screen().selection {
            Selection::Entry(number) => number == past.id,
            _ => *place == state.screen().position,
        },
    };
    table::draw(frame, area, scene, (&fitted, head), rows);
}

fn cell(scene: &Scene<'_>, past: &HistoryEntry, n: usize) -> (String, Style) {
    let plain = Style::new();
    match n {
        AT => (format::clock(past.at, scene.state.now), scene.theme.of(Meaning::Faint)),
        1 => (sanitize(&past.instance, 128), plain),
        2 => {
            let word = became(past, scene.ascii());
            (word.text, scene.theme.of(word.meaning))
        }
        3 => (sanitize(past.reason.as_deref().unwrap_or(""), 64), plain),
        _ => (sanitize(&past.message, 512), plain),
    }
}
