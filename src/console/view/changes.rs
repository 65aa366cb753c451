//! What changed lately, newest first: as a strip of the overview, and as a view.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::table::{self, Rows, TableColumn, fit};
use super::{Scene, message};
use crate::console::recent::Change;
use crate::console::state::screen::Selection;
use crate::console::text::Meaning;
use crate::console::text::format::{short, short_clock};

const COLUMNS: [TableColumn<'static>; 4] = [
    TableColumn { title: "AGO", width: 8, grows: 0, drops: 0 },
    TableColumn { title: "AT", width: 12, grows: 0, drops: 2 },
    TableColumn { title: "WHAT", width: 16, grows: 0, drops: 0 },
    TableColumn { title: "HAPPENED", width: 14, grows: 5, drops: 1 },
];
/// The column that a strip leaves out.
const AT: usize = 1;
const WHAT: usize = 2;

/// The text of a change's column.
fn cell(scene: &Scene<'_>, change: &Change, n: usize) -> (String, Style) {
    let now = scene.state.now;
    match n {
        0 => (format!("{:>7}", short(now.since(change.at))), scene.theme.of(Meaning::Faint)),
        AT => (short_clock(change.at, now), scene.theme.of(Meaning::Faint)),
        WHAT => (change.subject(), Style::new()),
        _ => {
            let words = change.words(scene.ascii());
            (words.text, scene.theme.of(words.meaning))
        }
    }
}

/// The view.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    let state = scene.state;
    if state.listing().recent().next().is_none() {
        message::draw(frame, area, scene, "nothing has changed lately");
        return;
    }
    let columns = columns(scene, area, state.screen().top);
    let fitted = fit(&columns, area.width);
    let head = fitted.head(&columns, scene.theme.of(Meaning::Strong));
    let rows = Rows {
        from_top: state.listing().recent().enumerate().skip(state.screen().top),
        cell: |(_, change): &(usize, &Change), n, _| cell(scene, change, n),
        is_selected: |(place, change): &(usize, &Change)| match state.screen().selection {
            Selection::Change(number) => number == change.number,
            _ => *place == state.screen().position,
        },
    };
    table::draw(frame, area, scene, (&fitted, head), rows);
}

/// The columns, sized by what is visible from a row on: a moment of today has no date, and names have up to two fifths of the width.
fn columns(scene: &Scene<'_>, area: Rect, top: usize) -> [TableColumn<'static>; 4] {
    let mut columns = COLUMNS;
    let visible = || scene.state.listing().recent().skip(top).take(usize::from(area.height));
    columns[AT].shrink(visible().map(|change| short_clock(change.at, scene.state.now)));
    columns[WHAT].width = columns[WHAT].width.max(area.width * 2 / 5);
    columns[WHAT].shrink(visible().map(Change::subject));
    columns
}

/// The newest of them, without a head.
pub(super) fn strip(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    let columns = columns(scene, area, 0);
    let columns: Vec<TableColumn<'static>> =
        columns.into_iter().enumerate().filter(|(n, _)| *n != AT).map(|(_, column)| column).collect();
    let fitted = fit(&columns, area.width);
    for (y, change) in (area.y..area.bottom()).zip(scene.state.listing().recent()) {
        let line = fitted.line(|n, _| cell(scene, change, if n < AT { n } else { n + 1 }));
        frame.render_widget(line, Rect { y, height: 1, ..area });
    }
}
