//! The explanation of the selected row, beside the list.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Text};

use super::{Scene, message, services};
use crate::console::page;
use crate::console::text::Meaning;

/// The explanation of the selected row, with a line to its left.
pub(super) fn pane(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    let sign = if scene.ascii() { "|" } else { "│" };
    let edge = vec![Line::styled(sign, scene.theme.of(Meaning::Faint)); usize::from(area.height)];
    frame.render_widget(Text::from(edge), Rect { width: area.width.min(1), ..area });
    let inside = Rect { x: area.x + 2.min(area.width), width: area.width.saturating_sub(2), ..area };
    let Some(service) = services::selected(scene).and_then(|id| scene.state.listing().get(&id)) else { return };
    let worst = service.worst().map_or("", |instance| &instance.name);
    let lines = page::explanation(scene.state, service.id, worst, usize::from(inside.width));
    message::show(frame, inside, scene, lines.into_iter());
}
