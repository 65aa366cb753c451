//! Text in a given number of columns.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Exactly `width` columns: cut with an ellipsis, or filled up; the last column stays empty.
pub fn padded(text: &str, width: usize) -> String {
    let room = width.saturating_sub(1);
    let mut out = if text.width() <= room { text.to_owned() } else { cut(text, room) };
    let fill = width.saturating_sub(out.width());
    out.extend(std::iter::repeat_n(' ', fill));
    out
}

/// At most `room` columns.
pub fn cut(text: &str, room: usize) -> String {
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

/// The text, cut where it is wider than `room` columns.
pub fn fitting(text: String, room: usize) -> String {
    if text.width() <= room { text } else { cut(&text, room) }
}
