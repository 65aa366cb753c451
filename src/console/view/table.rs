//! Tables whose columns leave by priority where the terminal is narrow.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::Scene;
use crate::console::columns::Spec;
use crate::console::text::Meaning;
use crate::console::text::fit::padded;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableColumn<'a> {
    pub(super) title: &'a str,
    /// Minimum width in terminal cells.
    pub(super) width: u16,
    /// Share of the width that is left over.
    pub(super) grows: u16,
    /// The highest leave first; 0 never leaves.
    pub(super) drops: u8,
}

impl From<&Spec> for TableColumn<'_> {
    fn from(spec: &Spec) -> Self {
        Self { title: spec.title, width: spec.width, grows: spec.grows, drops: spec.drops }
    }
}

impl TableColumn<'_> {
    /// As wide as the widest of the texts or the title, and no wider than it was.
    pub(super) fn shrink(&mut self, texts: impl Iterator<Item = String>) {
        let widest = texts.map(|text| text.width()).max().unwrap_or(0).max(self.title.width());
        self.width = self.width.min(u16::try_from(widest).unwrap_or(u16::MAX));
    }
}

/// Columns that fit, with their widths.
#[derive(Debug, Clone)]
pub(super) struct Fitted(Vec<(usize, u16)>);

/// Fits columns to a width: those with the highest `drops` leave first; the columns that grow share the rest.
pub(super) fn fit(columns: &[TableColumn<'_>], width: u16) -> Fitted {
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let needed = |shown: &[usize]| shown.iter().map(|n| columns[*n].width + 1).sum::<u16>();
    while needed(&shown) > width {
        let drops = shown.iter().enumerate().filter(|(_, n)| columns[**n].drops > 0);
        let Some((at, _)) = drops.max_by_key(|(_, n)| columns[**n].drops) else { break };
        shown.remove(at);
    }
    let left = width.saturating_sub(needed(&shown));
    let shares: u16 = shown.iter().map(|n| columns[*n].grows).sum();
    let grown = |n: usize| left.saturating_mul(columns[n].grows).checked_div(shares).unwrap_or(0);
    Fitted(shown.into_iter().map(|n| (n, columns[n].width + grown(n))).collect())
}

impl Fitted {
    /// Whether a column is shown.
    pub(super) fn shows(&self, column: usize) -> bool {
        self.0.iter().any(|(n, _)| *n == column)
    }

    /// The head.
    pub(super) fn head(&self, columns: &[TableColumn<'_>], style: Style) -> Line<'static> {
        self.line(|n, _| (columns[n].title.to_owned(), style))
    }

    /// A row, from the text and the style of each column that is shown; `cell` gets the column and the width that its text may have.
    pub(super) fn line(&self, cell: impl Fn(usize, usize) -> (String, Style)) -> Line<'static> {
        let spans = self.0.iter().map(|(n, width)| {
            let (text, style) = cell(*n, usize::from(*width));
            Span::styled(padded(&text, usize::from(*width) + 1), style)
        });
        Line::from(spans.collect::<Vec<_>>())
    }
}

/// The rows of a table.
pub(super) struct Rows<I, C, P> {
    /// The rows from the topmost visible one.
    pub(super) from_top: I,
    /// Text and style of a row's column, in the width that the text may have.
    pub(super) cell: C,
    /// Whether a row is selected.
    pub(super) is_selected: P,
}

/// Draws a table: its head and its visible rows.
pub(super) fn draw<T, I, C, P>(
    frame: &mut Frame<'_>,
    area: Rect,
    scene: &Scene<'_>,
    table: (&Fitted, Line<'_>),
    rows: Rows<I, C, P>,
) where
    I: Iterator<Item = T>,
    C: Fn(&T, usize, usize) -> (String, Style),
    P: Fn(&T) -> bool,
{
    let (fitted, head) = table;
    frame.render_widget(head, Rect { height: area.height.min(1), ..area });
    let body = below(area, 1);
    for (y, row) in (body.y..body.bottom()).zip(rows.from_top) {
        let line = Rect { y, height: 1, ..body };
        frame.render_widget(fitted.line(|n, room| (rows.cell)(&row, n, room)), line);
        if (rows.is_selected)(&row) {
            select(frame, line, scene);
        }
    }
}

/// Marks the selected row. What is faint would be hard to read in reverse.
fn select(frame: &mut Frame<'_>, line: Rect, scene: &Scene<'_>) {
    let faint = scene.theme.of(Meaning::Faint).fg;
    for position in line.positions() {
        if let Some(cell) = frame.buffer_mut().cell_mut(position).filter(|cell| Some(cell.fg) == faint) {
            cell.set_fg(Color::Reset);
        }
    }
    frame.buffer_mut().set_style(line, scene.theme.selected());
}

/// The part of a rectangle below its first `rows` rows.
pub(super) fn below(area: Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    Rect { y: area.y + rows, height: area.height - rows, ..area }
}
