//! Breaks long lines; the next rows are indented to where the text begins.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{Line, Meaning, segment};

/// In a narrower terminal lines are cut instead of wrapped, since they would become columns of letters.
const MIN_WIDTH: usize = 30;

/// The line in rows of at most `width` columns, broken at spaces where it has some.
pub fn wrap(line: Line, width: usize) -> Vec<Line> {
    let total: usize = line.iter().map(|word| word.text.width()).sum();
    if total <= width || width < MIN_WIDTH {
        return vec![line];
    }
    let hang = line.first().filter(|_| line.len() > 1).map_or(0, |first| first.text.width()).min(width / 2);
    let mut rows = vec![Line::new()];
    let mut used = 0;
    for whole in line {
        for piece in whole.text.split_inclusive(' ').flat_map(|piece| pieces(piece, width - hang)) {
            if used + piece.trim_end().width() > width {
                rows.push(vec![segment(" ".repeat(hang), Meaning::Plain)]);
                used = hang;
            }
            used += piece.width();
            if let Some(row) = rows.last_mut() {
                row.push(segment(piece, whole.meaning));
            }
        }
    }
    rows
}

/// Splits text without a space into parts of at most `room` columns.
fn pieces(text: &str, room: usize) -> Vec<&str> {
    let (mut parts, mut from, mut used) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        let wide = c.width().unwrap_or(0);
        if used + wide > room && c != ' ' {
            parts.push(&text[from..at]);
            (from, used) = (at, 0);
        }
        used += wide;
    }
    parts.push(&text[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: Line) -> String {
        line.into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn long_lines_go_on_under_their_text_and_short_ones_stay() {
        let line = || {
            vec![segment("  why  ", Meaning::Faint), segment("one two three four five six seven eight", Meaning::Bad)]
        };
        let rows: Vec<String> = wrap(line(), 30).into_iter().map(text).collect();
        assert_eq!(rows, ["  why  one two three four five ", "       six seven eight"]);
        assert_eq!(wrap(line(), 80), [line()]);
        assert_eq!(wrap(line(), 10), [line()]);
        let long = wrap(vec![segment("x".repeat(70), Meaning::Plain)], 30);
        assert_eq!(long.into_iter().map(text).map(|row| row.len()).collect::<Vec<_>>(), [30, 30, 10]);
    }
}
