//! Aligned columns, measured in terminal cells.

use super::paint::{Cell, Paint, Tone};
use crate::model::text::escape;

/// Longest foreign text in a cell, in characters.
pub(in crate::cli) const MAX_CELL: usize = 512;

/// Foreign text, made safe for a cell. An empty one shows as a dash.
pub(in crate::cli) fn foreign(text: &str) -> Cell {
    if text.is_empty() { Cell::new("-", Tone::Faint) } else { Cell::from(escape(text, MAX_CELL)) }
}

/// Rows under headings.
#[derive(Debug, Default)]
pub(in crate::cli) struct Table {
    head: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub(in crate::cli) fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|h| Cell::new(*h, Tone::Strong)).collect(), rows: Vec::new() }
    }

    /// Adds a row with as many cells as there are headings.
    pub(in crate::cli) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The lines, headings first. The last column is not padded.
    pub(in crate::cli) fn lines(&self, paint: Paint) -> Vec<String> {
        let widths = self.widths(paint);
        std::iter::once(&self.head).chain(&self.rows).map(|row| line(row, &widths, paint)).collect()
    }

    /// How wide each column is.
    pub(in crate::cli) fn widths(&self, paint: Paint) -> Vec<usize> {
        let all: Vec<&Vec<Cell>> = std::iter::once(&self.head).chain(&self.rows).collect();
        (0..self.head.len())
            .map(|column| all.iter().filter_map(|row| Some(row.get(column)?.width(paint))).max().unwrap_or(0))
            .collect()
    }

    /// The rows alone, as under a table of those widths.
    pub(in crate::cli) fn rows(&self, widths: &[usize], paint: Paint) -> Vec<String> {
        self.rows.iter().map(|row| line(row, widths, paint)).collect()
    }
}

fn line(row: &[Cell], widths: &[usize], paint: Paint) -> String {
    let mut out = String::new();
    for (n, cell) in row.iter().enumerate() {
        out.push_str(&cell.render(paint));
        if n + 1 < row.len() {
            let width = widths.get(n).copied().unwrap_or(0);
            let gap = width.saturating_sub(cell.width(paint)) + 3;
            out.extend(std::iter::repeat_n(' ', gap));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "STATUS", "WHERE"]);
        table.row(vec!["user-service".into(), Cell::health("healthy"), "here".into()]);
        table.row(vec![foreign("日本"), Cell::health("unhealthy"), foreign("")]);
        table.row(vec![foreign("\u{1b}[2J"), Cell::health("unknown"), "x".into()]);
        table
    }

    #[test]
    fn columns_align_in_terminal_cells() {
        let lines = table().lines(Paint::Words).join("\n");
        insta::assert_snapshot!(lines, @r"
        NAME           STATUS      WHERE
        user-service   healthy     here
        日本           unhealthy   -
        \u{1b}[2J      unknown     x
        ");
    }

    #[test]
    fn a_glyph_takes_its_width_and_a_colour_none() {
        let strip = |line: &String| line.replace("\u{1b}[0m", "").replace("\u{1b}[32m", "").replace("\u{1b}[31m", "");
        let coloured = table().lines(Paint::Colours);
        let plain = table().lines(Paint::Glyphs);
        assert_eq!(strip(&coloured[1]), plain[1]);
        assert!(coloured[1].contains("\u{1b}[32m● healthy\u{1b}[0m"));
        assert!(plain[2].contains("✗ unhealthy   -"), "{}", plain[2]);
    }
}
