//! Pages of text, and a single sentence in an empty view.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Paragraph, Wrap};

use super::Scene;
use crate::console::page;
use crate::console::text::{self, Meaning, fit};

pub(super) fn page(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    let lines = page::lines(scene.state);
    show(frame, area, scene, lines.into_iter().skip(scene.state.screen().top));
}

pub(super) fn show(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>, lines: impl Iterator<Item = text::Line>) {
    let styled = lines.take(usize::from(area.height)).map(|line| {
        let line = fit::line(line, usize::from(area.width));
        let spans = line.into_iter().map(|word| Span::styled(word.text, scene.theme.of(word.meaning)));
        Line::from(spans.collect::<Vec<_>>())
    });
    frame.render_widget(Text::from(styled.collect::<Vec<_>>()), area);
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>, text: &str) {
    let text = crate::model::text::escape(text, 1024);
    let paragraph = Paragraph::new(text).style(scene.theme.of(Meaning::Faint)).wrap(Wrap { trim: true });
    let inside = Rect {
        x: area.x + 1.min(area.width),
        width: area.width.saturating_sub(2),
        ..super::table::below(area, area.height / 3)
    };
    frame.render_widget(paragraph, inside);
}
