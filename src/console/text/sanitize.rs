//! Foreign text for a screen of cells: without control characters, and without anything that would be drawn outside its cell.

use unicode_width::UnicodeWidthChar;

/// Combining marks kept on one character; more are dropped.
const MAX_MARKS: usize = 2;

/// `text` as [`crate::model::text::escape`] writes it, at most `max` characters, with few marks on each character, and without
/// variation selectors, which make a character's width depend on the terminal.
pub fn sanitize(text: &str, max: usize) -> String {
    let escaped = crate::model::text::escape(text, max);
    if escaped.is_ascii() {
        return escaped;
    }
    let (mut out, mut marks) = (String::with_capacity(escaped.len()), MAX_MARKS);
    for c in escaped.chars() {
        let is_mark = c.width().unwrap_or(0) == 0;
        marks = if is_mark { marks + 1 } else { 0 };
        let is_selector = matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}');
        if marks <= MAX_MARKS && !is_selector {
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
        assert_eq!(sanitize(&format!("\u{301}e{}x", "\u{301}".repeat(60)), 100), "e\u{301}\u{301}x");
        assert_eq!(sanitize("☺\u{fe0f}漢\u{1b}", 100), "☺漢\\u{1b}");
    }
}
