//! Pages of text, and a single sentence in an empty view.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Paragraph, Wrap};

use super::Scene;
use crate::console::page;
use crate::console::text::Meaning;

pub(super) fn page(frame: &mut Frame<'_>, area: Rect, scene: &Scene<'_>) {
    let lines = page::lines(scene.state);
    let shown = lines.into_iter().skip(scene.state.screen().top).take(usize::from(area.height));
    let styled = shown.map(|line| {
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
