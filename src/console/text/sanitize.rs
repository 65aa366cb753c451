//! Foreign text on a screen of cells: nothing that a terminal obeys, and nothing that leaves its cell.

use unicode_width::UnicodeWidthChar;

/// Marks without a width of their own that may stand on one character; the rest is dropped.
const MARKS: usize = 2;

/// `text` as [`crate::model::text::escape`] writes it, at most `max` characters, with few marks on each character, and no variation
/// selector: with one, a character's width differs from terminal to terminal.
pub(super) fn escape(text: &str, max: usize) -> String {
    let escaped = crate::model::text::escape(text, max);
    if escaped.is_ascii() {
        return escaped;
    }
    let (mut out, mut marks) = (String::with_capacity(escaped.len()), MARKS);
    for c in escaped.chars() {
        let is_mark = c.width().unwrap_or(0) == 0;
        marks = if is_mark { marks + 1 } else { 0 };
        let is_selector = matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
        if marks <= MARKS && !is_selector {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_few_and_never_stand_alone() {
        assert_eq!(escape(&format!("\u{301}e{}x", "\u{301}".repeat(60)), 100), "e\u{301}\u{301}x");
        assert_eq!(escape("☺\u{fe0f}漢\u{1b}", 100), "☺漢\\u{1b}");
    }
}
