//! The overview: the services, worst first, and recent changes.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Scene, services};
use crate::console::index::Change;
use crate::console::layout::strip_height;
use crate::console::status::Status;
use crate::console::text::Meaning;
use crate::console::text::format::short;
use crate::console::text::sanitize::sanitize;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    let strip = u16::try_from(strip_height(scene.state)).unwrap_or(0);
    let head = u16::from(strip > 0);
    let [list, title, changes] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(head), Constraint::Length(strip)]).areas(area);
    services::draw(frame, list, scene);
    frame.render_widget(Line::styled("recent changes", scene.theme.of(Meaning::Strong)), title);
    let recent: Vec<&Change> = scene.state.listing().recent().take(usize::from(changes.height)).collect();
    if recent.is_empty() {
        frame.render_widget(
            Line::styled("  nothing since the console started", scene.theme.of(Meaning::Faint)),
            changes,
        );
    }
    for (y, change) in (changes.y..).zip(recent) {
        frame.render_widget(line(scene, change), Rect { y, height: 1, ..changes });
    }
}

fn line(scene: &Scene<'_>, change: &Change) -> Line<'static> {
    let side = |status: Option<Status>, none: &'static str| match status {
        Some(status) => {
            let word = status.label(scene.ascii());
            Span::styled(word.text, scene.theme.of(word.meaning))
        }
        None => Span::styled(none, scene.theme.of(Meaning::Faint)),
    };
    let ago = format!("  {:>7} ago  ", short(scene.state.now.since(change.at)));
    Line::from(vec![
        Span::styled(ago, scene.theme.of(Meaning::Faint)),
        Span::styled(format!("{}  ", sanitize(&change.key, 128)), Style::new()),
        side(change.from, "new"),
        Span::raw(if scene.ascii() { " -> " } else { " → " }),
        side(change.to, "gone"),
        Span::styled(format!("  {}", sanitize(&change.reason, 64)), scene.theme.of(Meaning::Faint)),
    ])
}
