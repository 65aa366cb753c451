//! Indents JSON without reading it into values: order and numbers stay as they came.

use std::fmt::Write;

use crate::model::text::is_hostile;

const INDENT: &str = "  ";
/// Levels that are indented: deeper ones would take the square of their number.
const MAX_DEPTH: usize = 64;

/// `raw`, which is valid JSON, indented; characters that a terminal would obey are written as `\uXXXX`, which is the same JSON.
pub(in crate::cli) fn pretty(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len() * 2);
    let mut depth = 0_usize;
    let mut chars = raw.chars().filter(|c| !matches!(c, '\n' | '\r' | '\t')).peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => string(&mut chars, &mut out),
            '{' | '[' => {
                out.push(c);
                while chars.next_if_eq(&' ').is_some() {}
                if let Some(close) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            ' ' => {}
            other => push(other, &mut out),
        }
    }
    out
}

/// Copies a string's rest, after its opening quote.
fn string(chars: &mut impl Iterator<Item = char>, out: &mut String) {
    out.push('"');
    let mut escaped = false;
    for c in chars {
        push(c, out);
        match c {
            '"' if !escaped => return,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
}

fn push(c: char, out: &mut String) {
    if !is_hostile(c) {
        out.push(c);
        return;
    }
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\u{unit:04x}");
    }
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth.min(MAX_DEPTH) {
        out.push_str(INDENT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_nesting_takes_no_more_room_than_it_is_long() {
        let depth = 5000;
        let raw = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(pretty(&raw).len() < 2 * depth * (MAX_DEPTH * INDENT.len() + 4));
    }

    #[test]
    fn order_numbers_and_empty_things_stay() {
        let raw = r#"{"z":1.50,"a":[],"m":{},"t":"a,b:{\"}","l":[1, 2]}"#;
        let expected = "{\n  \"z\": 1.50,\n  \"a\": [],\n  \"m\": {},\n  \"t\": \"a,b:{\\\"}\",\n  \"l\": [\n    1,\n    2\n  ]\n}";
        assert_eq!(pretty(raw), expected);
        assert_eq!(pretty(r#""a\\""#), r#""a\\""#);
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let raw = "{\"d\":\"a\u{202e}b\u{9b}2J\u{e0001}\"}";
        let shown = pretty(raw);
        assert!(shown.contains(r"a\u202eb\u009b2J\udb40\udc01"), "{shown}");
        let same = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(same(raw), same(&shown));
    }

    proptest::proptest! {
        #[test]
        fn it_means_the_same(text in ".{0,40}", key in ".{0,8}", n: i32) {
            let value = serde_json::json!({key: [text, n, null, {"x": {}}], "y": []});
            let shown = pretty(&value.to_string());
            proptest::prop_assert!(!shown.chars().any(|c| is_hostile(c) && c != '\n'));
            proptest::prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
        }
    }
}
