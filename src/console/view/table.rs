//! Columns that leave by priority where the terminal is narrow.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Scene;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Least columns of the terminal.
    pub(super) width: u16,
    /// Share of what is left over.
    pub(super) grows: u16,
    /// The highest stay longest; 0 never leaves.
    pub(super) leaves: u8,
}

/// Columns that fit, with their widths.
#[derive(Debug, Clone)]
pub(super) struct Fitted(Vec<(usize, u16)>);

/// Fits columns to a width: those with the highest `leaves` go first; then what is left over is shared.
pub(super) fn fit(columns: &[Column], width: u16) -> Fitted {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let needed = |shown: &[usize]| shown.iter().map(|n| columns[*n].width + 1).sum::<u16>();
    while needed(&shown) > width {
        let leaves = shown.iter().enumerate().filter(|(_, n)| columns[**n].leaves > 0);
        let Some((at, _)) = leaves.max_by_key(|(_, n)| columns[**n].leaves) else { break };
        shown.remove(at);
    }
    let left = width.saturating_sub(needed(&shown));
    let shares: u16 = shown.iter().map(|n| columns[*n].grows).sum();
    let grown = |n: usize| left.saturating_mul(columns[n].grows).checked_div(shares).unwrap_or(0);
    Fitted(shown.into_iter().map(|n| (n, columns[n].width + grown(n))).collect())
}

impl Fitted {
    /// The head.
    pub(super) fn head(&self, columns: &[Column], style: Style) -> Line<'static> {
        self.line(|n| (columns[n].title.to_owned(), style))
    }

    /// A row, from the text and the style of each column that is shown.
    pub(super) fn line(&self, cell: impl Fn(usize) -> (String, Style)) -> Line<'static> {
        let spans = self.0.iter().map(|(n, width)| {
            let (text, style) = cell(*n);
            Span::styled(padded(&text, usize::from(*width) + 1), style)
        });
        Line::from(spans.collect::<Vec<_>>())
    }
}

/// Exactly `width` columns: cut with an ellipsis, or filled up; the last column stays empty.
pub(super) fn padded(text: &str, width: usize) -> String {
    let room = width.saturating_sub(1);
    let mut out = if text.width() <= room { text.to_owned() } else { cut(text, room) };
    let fill = width.saturating_sub(out.width());
    out.extend(std::iter::repeat_n(' ', fill));
    out
}

/// At most `room` columns.
pub(super) fn cut(text: &str, room: usize) -> String {
    let (mut out, mut used) = (String::new(), 0);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > room {
            break;
        }
        used += wide;
        out.push(c);
    }
    if room > 0 {
        out.push('…');
    }
    out
}

/// The rows of a table.
pub(super) struct Rows<I, C, P> {
    /// Those from the topmost in sight on.
    pub(super) from_top: I,
    /// Text and style of a row's column.
    pub(super) cell: C,
    /// Whether a row is the chosen one.
    pub(super) is_chosen: P,
}

/// Draws a table: its head, and of its rows those in sight.
pub(super) fn draw<T, I, C, P>(
    frame: &mut Frame<'_>,
    area: Rect,
    scene: &Scene<'_>,
    table: (&Fitted, Line<'_>),
    rows: Rows<I, C, P>,
) where
    I: Iterator<Item = T>,
    C: Fn(&T, usize) -> (String, Style),
    P: Fn(&T) -> bool,
{
    let (fitted, head) = table;
    frame.render_widget(head, Rect { height: area.height.min(1), ..area });
    let body = below(area, 1);
    for (y, row) in (body.y..body.bottom()).zip(rows.from_top) {
        let line = Rect { y, height: 1, ..body };
        frame.render_widget(fitted.line(|n| (rows.cell)(&row, n)), line);
        if (rows.is_chosen)(&row) {
            frame.buffer_mut().set_style(line, scene.theme.chosen());
        }
    }
}

impl Column {
    /// One that is never shown.
    pub(super) fn hidden(self) -> Self {
        Self { width: 1000, leaves: u8::MAX, ..self }
    }
}

/// The part of a rectangle from a row on.
pub(super) fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect { y: area.y + rows, height: area.height - rows, ..area }
}
