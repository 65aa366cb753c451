//! The services by host, zone, label, reason, version or namespace: how many are down, and why.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::table::{self, Rows, TableColumn, fit};
use super::{Scene, fitting, message};
use crate::console::facet::{Dimension, Group};
use crate::console::state::screen::Selection;
use crate::console::text::Meaning;
use crate::console::text::format::short;
use crate::console::text::reason;
use crate::console::text::sanitize::sanitize;

const COLUMNS: [TableColumn<'static>; 8] = [
    TableColumn { title: "", width: 14, grows: 3, drops: 0 },
    TableColumn { title: "DOWN", width: 5, grows: 0, drops: 0 },
    TableColumn { title: "DEGRADED", width: 8, grows: 0, drops: 2 },
    TableColumn { title: "HEALTHY", width: 7, grows: 0, drops: 1 },
    TableColumn { title: "OTHER", width: 5, grows: 0, drops: 4 },
    TableColumn { title: "SHARE", width: 8, grows: 2, drops: 6 },
    TableColumn { title: "SINCE", width: 7, grows: 0, drops: 5 },
    TableColumn { title: "MAIN REASON", width: 18, grows: 2, drops: 3 },
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>, dimension: &Dimension) {
    let state = scene.state;
    let tabs = Rect { height: area.height.min(1), ..area };
    frame.render_widget(dimensions(scene, dimension, usize::from(area.width)), tabs);
    let area = table::below(area, 1);
    let groups = &state.pivot.groups;
    if groups.is_empty() {
        message::draw(frame, area, scene, "no service to group");
        return;
    }
    let fitted = fit(&COLUMNS, area.width);
    let name = sanitize(dimension.name(), 63).to_uppercase();
    let strong = scene.theme.of(Meaning::Strong);
    let head = fitted.line(|n, _| (if n == 0 { name.clone() } else { COLUMNS[n].title.to_owned() }, strong));
    let rows = Rows {
        from_top: groups.iter().enumerate().skip(state.screen().top),
        cell: |(_, group): &(usize, &Group), n, room| cell(scene, group, n, room),
        is_selected: |(place, group): &(usize, &Group)| match &state.screen().selection {
            Selection::Group(value) => *value == group.value,
            _ => *place == state.screen().position,
        },
    };
    table::draw(frame, area, scene, (&fitted, head), rows);
}

/// The dimensions that Tab goes through, from the shown one on where they do not fit.
fn dimensions(scene: &Scene<'_>, shown: &Dimension, room: usize) -> Line<'static> {
    let all = &scene.state.pivot.dimensions;
    let names = all.iter().map(|of| sanitize(of.name(), 32));
    let needed: usize = names.clone().map(|name| name.chars().count() + 2).sum::<usize>() + 5;
    let skipped = if needed <= room { 0 } else { all.iter().position(|of| of == shown).unwrap_or(0) };
    let mut spans = vec![Span::styled("Tab  ", scene.theme.of(Meaning::Strong))];
    for (of, name) in all.iter().zip(names).skip(skipped) {
        let style = if of == shown { scene.theme.selected() } else { scene.theme.of(Meaning::Faint) };
        spans.extend([Span::styled(name, style), Span::raw("  ")]);
    }
    fitting(spans, room)
}

fn cell(scene: &Scene<'_>, group: &Group, n: usize, room: usize) -> (String, Style) {
    let count =
        |count: usize, meaning| (count.to_string(), scene.theme.of(if count == 0 { Meaning::Faint } else { meaning }));
    match n {
        0 if group.value.is_empty() => ("(none)".to_owned(), scene.theme.of(Meaning::Faint)),
        0 => (sanitize(&group.value, 128), Style::new()),
        1 => count(group.down, Meaning::Bad),
        2 => count(group.degraded, Meaning::Warn),
        3 => count(group.healthy, Meaning::Good),
        4 => count(group.other, Meaning::Plain),
        5 => (bar(group, room.saturating_sub(1), scene.ascii()), Style::new()),
        6 => (group.since.map_or_else(String::new, |at| short(scene.state.now.since(at))), Style::new()),
        _ => (reason::words(&group.reason), Style::new()),
    }
}

/// The shares of down, degraded and the rest: `███▓▓░░░░░`. Whatever there is gets a column.
fn bar(group: &Group, room: usize, ascii: bool) -> String {
    let (all, signs) = (group.services().max(1), if ascii { ['#', '+', '.'] } else { ['█', '▒', '·'] });
    let wide = |part: usize| if part == 0 { 0 } else { (part * room / all).max(1) };
    let down = wide(group.down).min(room);
    let degraded = wide(group.degraded).min(room - down);
    let rest = room - down - degraded;
    [(signs[0], down), (signs[1], degraded), (signs[2], rest)]
        .into_iter()
        .flat_map(|(sign, width)| std::iter::repeat_n(sign, width))
        .collect()
}
