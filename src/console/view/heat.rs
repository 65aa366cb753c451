//! All services as cells: what is wrong anywhere, at one glance.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Scene, message, services};
use crate::console::columns::{self, Why};
use crate::console::state::heat::{Cell, MARGIN, Row};
use crate::console::text::fit::{fitting, padded};
use crate::console::text::format::short;
use crate::console::text::sanitize::sanitize;
use crate::console::text::{Meaning, Segment};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    let heat = &scene.state.heat;
    if heat.rows.is_empty() {
        message::draw(frame, area, scene, &services::nothing(scene));
        return;
    }
    let chosen = services::selected(scene).and_then(|id| scene.state.listing().position(&id)).map(|at| heat.find(at));
    let map = Rect { height: area.height.saturating_sub(1), ..area };
    for (y, (n, row)) in (map.y..map.bottom()).zip(heat.rows.iter().enumerate().skip(scene.state.screen().top)) {
        let column = chosen.filter(|(row, _)| *row == n).map(|(_, column)| column);
        frame.render_widget(line(scene, row, column), Rect { y, height: 1, ..map });
    }
    if let Some(cell) = chosen.and_then(|at| heat.get(at)) {
        let last = Rect { y: map.bottom(), height: area.height.min(1), ..area };
        frame.render_widget(named(scene, cell, usize::from(area.width)), last);
    }
}

/// A row: neighbours of one look are one span.
fn line(scene: &Scene<'_>, row: &Row, chosen: Option<usize>) -> Line<'static> {
    let mut spans: Vec<Span<'static>> = Vec::new();
    if scene.state.listing().query().sort == columns::Column::Namespace {
        let name = row.namespace.as_ref().map_or_else(String::new, |name| sanitize(name, 63));
        spans.push(Span::styled(padded(&name, MARGIN), scene.theme.of(Meaning::Strong)));
    }
    let look = |n: usize, cell: &Cell| -> (char, Style) {
        let style = scene.theme.status(cell.status);
        let style = if chosen == Some(n) { style.patch(scene.theme.selected()) } else { style };
        (cell.status.glyph(scene.ascii()), style)
    };
    let mut run = (String::new(), Style::new());
    for (n, cell) in row.cells.iter().enumerate() {
        let (glyph, style) = look(n, cell);
        if style != run.1 && !run.0.is_empty() {
            spans.push(Span::styled(std::mem::take(&mut run.0), run.1));
        }
        run.0.push(glyph);
        run.1 = style;
    }
    spans.push(Span::styled(run.0, run.1));
    Line::from(spans)
}

/// Below the map: what the cell under the cursor stands for.
fn named(scene: &Scene<'_>, cell: Cell, room: usize) -> Line<'static> {
    let index = scene.state.listing();
    let Some(service) = index.shown().get(cell.at).and_then(|id| index.get(id)) else { return Line::default() };
    let Segment { text: status, meaning } = cell.status.label(scene.ascii());
    let name = sanitize(&format!("{}/{}", service.namespace, service.name), 140);
    let since = service.since().map_or_else(String::new, |at| format!(" since {}", short(scene.state.now.since(at))));
    let more = if cell.count > 1 { format!("  and {} more like it", cell.count - 1) } else { String::new() };
    let left = room.saturating_sub(status.chars().count() + name.chars().count() + 4);
    let why = service.worst().map_or_else(String::new, |of| {
        let (known, warning) = (service.acknowledged.as_deref(), service.warning());
        let why = Why { of, known, warning, probing: None, usual: Meaning::Faint };
        why.cell(None, left.saturating_sub(since.len() + more.len() + 2)).text
    });
    let rest = format!("{since}  {why}{more}");
    Line::from(vec![
        Span::styled(format!(" {status}  "), scene.theme.of(meaning)),
        Span::styled(name, scene.theme.of(Meaning::Strong)),
        Span::styled(fitting(rest, left), scene.theme.of(Meaning::Faint)),
    ])
}
