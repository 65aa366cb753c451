//! Time as a strip of columns, the newest at the end: `━━━▄━━█━╌╌··`. Each state has its own character, so that colour only repeats it.
//!
//! In: the cells as the API writes them, one letter each. Out: segments.

use super::{Meaning, Segment, segment};

/// Most cells that are drawn; a server sends no more.
pub const MAX_CELLS: usize = 96;

/// The letters of the API, the worst first, with how they are drawn, also in ASCII, and what they mean.
const STATES: [(char, char, char, Meaning, &str); 6] = [
    ('u', '█', 'X', Meaning::Bad, "out"),
    ('g', '▄', '+', Meaning::Warn, "degraded"),
    ('?', '?', '?', Meaning::Faint, "no server or proof"),
    ('d', '╌', '~', Meaning::Warn, "drained"),
    ('h', '━', '=', Meaning::Good, "up"),
    ('-', '·', '.', Meaning::Faint, "no record"),
];

/// Where a letter stands among the states; one of a newer server is not known.
fn rank(letter: char) -> usize {
    STATES.iter().position(|(known, ..)| *known == letter).unwrap_or(2)
}

/// The cells in at most `width` columns: where they do not fit, the worst of each two, of each three, and so on, counted from the newest.
pub fn strip(cells: &str, width: usize, ascii: bool) -> Vec<Segment> {
    let cells: Vec<usize> = cells.chars().take(MAX_CELLS).map(rank).collect();
    let of_each = cells.len().div_ceil(width.max(1)).max(1);
    let worst: Vec<usize> = cells.rchunks(of_each).filter_map(|some| some.iter().min().copied()).collect();
    let mut out: Vec<Segment> = Vec::new();
    for (_, sign, plain, meaning, _) in worst.into_iter().rev().map(|rank| STATES[rank]) {
        let sign = if ascii { plain } else { sign };
        match out.last_mut().filter(|last| last.meaning == meaning) {
            Some(last) => last.text.push(sign),
            None => out.push(segment(sign, meaning)),
        }
    }
    out
}

/// What the characters mean; those that figures leave out stand together, and say so.
pub fn legend(ascii: bool) -> Vec<Segment> {
    let of = |letter: char| {
        let (_, sign, plain, meaning, words) = STATES[rank(letter)];
        [segment(if ascii { plain } else { sign }, meaning), segment(format!(" {words} "), Meaning::Faint)]
    };
    let left_out = ['d', '-', '?'].into_iter().flat_map(of);
    let counted = ['h', 'g', 'u'].into_iter().flat_map(of);
    counted.chain([segment(" left out: ", Meaning::Faint)]).chain(left_out).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(cells: &str, width: usize, ascii: bool) -> String {
        strip(cells, width, ascii).into_iter().map(|part| part.text).collect()
    }

    #[test]
    fn each_state_has_its_character_and_the_worst_survives_where_room_is_short() {
        assert_eq!(text("--hg?du", 7, false), "··━▄?╌█");
        assert_eq!(text("--hg?du", 7, true), "..=+?~X");
        assert_eq!(text("hhhhuhhg", 4, false), "━━█▄");
        assert_eq!(text("-hhu", 3, false), "━█", "cells are counted from the newest");
        assert_eq!(text("hx", 9, false), "━?", "a letter of a newer server");
        assert_eq!(text("", 9, false), "");
        assert_eq!(text(&"h".repeat(1000), 9, false).chars().count(), 9);
    }

    #[test]
    fn neighbours_of_one_meaning_are_one_segment() {
        let parts: Vec<(String, Meaning)> =
            strip("hhuu", 4, false).into_iter().map(|part| (part.text, part.meaning)).collect();
        assert_eq!(parts, [("━━".to_owned(), Meaning::Good), ("██".to_owned(), Meaning::Bad)]);
    }
}
