//! Text in a given number of columns. What does not fit ends in `…`, everywhere by [`cut`].

use super::{Line, Segment};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Exactly `width` columns: cut with an ellipsis, or filled up; the last column stays empty.
pub fn padded(text: &str, width: usize) -> String {
    let room = width.saturating_sub(1);
    let mut out = if text.width() <= room { text.to_owned() } else { cut(text, room) };
    let fill = width.saturating_sub(out.width());
    out.extend(std::iter::repeat_n(' ', fill));
    out
}

/// The text at the end of `width` columns; a longer one stays whole.
pub fn padded_left(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(text.width())))
}

/// At most `room` columns, with an ellipsis; after a whole word where that leaves most of the room used.
pub fn cut(text: &str, room: usize) -> String {
    let (mut out, mut used, mut word) = (String::new(), 0, None);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if used + wide + 1 > room {
            // The next word begins here, so the last one is whole.
            word = if c == ' ' { None } else { word };
            break;
        }
        if c == ' ' {
            word = Some((out.len(), used));
        }
        used += wide;
        out.push(c);
    }
    if let Some((end, _)) = word.filter(|(_, used)| used * 2 >= room) {
        out.truncate(end);
    }
    if room > 0 {
        out.push('…');
    }
    out
}

/// The first of the wordings that fits into `room` columns, else the last one, cut. The longest comes first.
pub fn wording(wordings: impl IntoIterator<Item = String>, room: usize) -> String {
    let mut shortest = String::new();
    for wording in wordings {
        if wording.width() <= room {
            return wording;
        }
        shortest = wording;
    }
    cut(&shortest, room)
}

/// The line, cut where it is wider than `room` columns without the spaces at its end.
pub fn line(mut segments: Line, room: usize) -> Line {
    if let Some(last) = segments.last_mut() {
        last.text.truncate(last.text.trim_end_matches(' ').len());
    }
    let shorten = |part: Segment, room: usize| Segment { text: cut(&part.text, room), ..part };
    parts(segments, room, |part| part.text.width(), shorten)
}

/// The parts of a line, of which each has a width and can be made shorter, cut where they are wider than `room` columns.
pub fn parts<T>(all: Vec<T>, room: usize, width: impl Fn(&T) -> usize, shorten: impl Fn(T, usize) -> T) -> Vec<T> {
    if all.iter().map(&width).sum::<usize>() <= room {
        return all;
    }
    let (mut out, mut left) = (Vec::with_capacity(all.len()), room);
    for part in all {
        // A part that takes all that is left has no column for the ellipsis.
        if width(&part) >= left {
            out.push(shorten(part, left));
            break;
        }
        left -= width(&part);
        out.push(part);
    }
    out
}

/// The end of a text of which less than all has room, after an ellipsis: of an input, whose cursor is there.
pub fn end(text: &str, room: usize) -> String {
    let mut hidden = text.width().saturating_sub(room);
    if hidden == 0 {
        return text.to_owned();
    }
    // The ellipsis takes a column too.
    hidden += 1;
    let skipped = |c: &char| {
        let is_hidden = hidden > 0;
        hidden = hidden.saturating_sub(c.width().unwrap_or(0));
        is_hidden
    };
    std::iter::once('…').chain(text.chars().skip_while(skipped)).collect()
}

/// The text, cut where it is wider than `room` columns.
pub fn fitting(text: String, room: usize) -> String {
    if text.width() <= room { text } else { cut(&text, room) }
}

#[cfg(test)]
mod tests {
    use super::super::plain;
    use super::*;

    #[test]
    fn sentences_are_cut_between_words_and_long_words_where_they_must() {
        assert_eq!(cut("3 failures in a row: refused", 20), "3 failures in a…");
        assert_eq!(cut("3 failures in a row: refused", 16), "3 failures in a…");
        assert_eq!(cut("a checkout-service-blue", 12), "a checkout-…");
        assert_eq!(fitting("whole".to_owned(), 5), "whole");
        assert_eq!(padded("漢字 x", 6), "漢字… ");
    }

    #[test]
    fn the_longest_wording_that_fits_is_taken_and_a_line_is_cut_as_a_whole() {
        let all = || ["nothing listens on :80", ":80 refused"].map(str::to_owned);
        assert_eq!(wording(all(), 22), "nothing listens on :80");
        assert_eq!(wording(all(), 21), ":80 refused");
        assert_eq!(wording(all(), 6), ":80…");
        assert_eq!(
            [end("one two", 7), end("one two", 5), end("漢字x", 4)],
            ["one two", "… two", "…字x"].map(str::to_owned)
        );
        let cut_at = |room| {
            let parts = vec![plain("one "), plain("two"), plain("  three")];
            line(parts, room).into_iter().map(|part| part.text).collect::<String>()
        };
        assert_eq!([14, 13, 8, 7].map(cut_at), ["one two  three", "one two  thr…", "one two…", "one tw…"]);
    }
}
