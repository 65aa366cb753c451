//! HistoryEntry changes of health, newest first, across restarts.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use uuid::Uuid;

use super::columns::{self, Column, Rows, fit};
use super::{Scene, text};
use crate::console::app::screen::Chosen;
use crate::console::data::HistoryEntry;
use crate::console::harmless::escape;
use crate::console::page::{self, Meaning};

const COLUMNS: [Column; 5] = [
    Column { title: "AT", width: 19, grows: 0, leaves: 2 },
    Column { title: "INSTANCE", width: 10, grows: 1, leaves: 3 },
    Column { title: "BECAME", width: 11, grows: 0, leaves: 0 },
    Column { title: "REASON", width: 16, grows: 0, leaves: 1 },
    Column { title: "MESSAGE", width: 12, grows: 5, leaves: 4 },
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>, id: Uuid) {
    let state = scene.state;
    let Some(known) = state.history.get(&id).filter(|known| known.loaded) else {
        text::message(frame, area, scene, "the history is on its way");
        return;
    };
    if known.entries.is_empty() {
        text::message(frame, area, scene, "nothing has changed since it was registered");
        return;
    }
    let fitted = fit(&COLUMNS, area.width);
    let head = fitted.head(&COLUMNS, scene.theme.of(Meaning::Strong));
    let rows = Rows {
        from_top: known.entries.iter().enumerate().skip(state.screen().top),
        cell: |(_, past): &(usize, &HistoryEntry), n| cell(scene, past, n),
        is_chosen: |(place, past): &(usize, &HistoryEntry)| match state.screen().chosen {
            Chosen::Past(number) => number == past.id,
            _ => *place == state.screen().place,
        },
    };
    columns::draw(frame, area, scene, (&fitted, head), rows);
}

fn cell(scene: &Scene<'_>, past: &HistoryEntry, n: usize) -> (String, Style) {
    let plain = Style::new();
    match n {
        0 => (page::clock(past.at, scene.state.now), scene.theme.of(Meaning::Faint)),
        1 => (escape(&past.instance, 128), plain),
        2 => match past.to {
            Some(to) => {
                let word = page::health(to, scene.ascii());
                (word.text, scene.theme.of(word.meaning))
            }
            None => ("removed".to_owned(), scene.theme.of(Meaning::Faint)),
        },
        3 => (escape(past.reason.as_deref().unwrap_or(""), 64), plain),
        _ => (escape(&past.message, 512), plain),
    }
}
