//! The overview: the services, worst first, and what changed lately.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use super::{Scene, changes, services};
use crate::console::layout::strip_height;
use crate::console::text::Meaning;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    let strip = u16::try_from(strip_height(scene.state)).unwrap_or(0);
    let head = u16::from(strip > 0);
    let [list, title, newest] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(head), Constraint::Length(strip)]).areas(area);
    services::draw(frame, list, scene);
    frame.render_widget(Line::styled("changed lately (C: all)", scene.theme.of(Meaning::Strong)), title);
    if scene.state.listing().recent().next().is_none() {
        frame.render_widget(Line::styled("  nothing", scene.theme.of(Meaning::Faint)), newest);
    }
    changes::strip(frame, newest, scene);
}
