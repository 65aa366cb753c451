//! Foreign text: what may be stored, and how to display it safely.

/// Whether `c` can move a cursor, hide text or break a line: controls, bidirectional overrides, separators, invisible marks.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{061c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The form of a text without hostile characters, as a regular expression of JSON Schema. It cannot name the tags above U+FFFF, which
/// [`is_hostile`] refuses too: notations of such characters differ between dialects.
pub const PATTERN: &str =
    r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]*$";

/// Whether `c` is a zero width joiner or non-joiner. Persian, Kurdish and several Indian scripts need them, and so do joined emoji. So text
/// may contain them, but a name or an address may not.
pub fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Why a registered string is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Too long.
    #[error("at most {max} characters, this has {len}")]
    TooLong {
        /// Most characters.
        max: usize,
        /// Actual characters.
        len: usize,
    },
    /// Contains a character that [`is_hostile`].
    #[error("control, bidirectional and line-separator characters are refused; found U+{0:04X}")]
    Hostile(u32),
}

/// Accepts a registered string if it has at most `max` characters and no hostile ones.
///
/// # Errors
/// [`TextError`] about the first problem.
pub fn accept(text: &str, max: usize) -> Result<(), TextError> {
    let len = text.chars().count();
    if len > max {
        return Err(TextError::TooLong { max, len });
    }
    match text.chars().find(|c| is_hostile(*c)) {
        Some(c) => Err(TextError::Hostile(c as u32)),
        None => Ok(()),
    }
}

/// `text` for terminals, logs and events: cut to `max` characters, with every hostile character written as `\u{…}`. A joiner after an ASCII
/// character or another joiner joins nothing and is escaped too.
///
/// ```
/// assert_eq!(portolan::model::text::escape("a\u{1b}[2Jb", 100), "a\\u{1b}[2Jb");
/// ```
pub fn escape(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max.saturating_mul(4)));
    let mut before = ' ';
    for (n, c) in text.chars().enumerate() {
        if n == max {
            out.push('…');
            break;
        }
        let stray = is_joiner(c) && (before.is_ascii() || is_joiner(before));
        before = c;
        if is_hostile(c) || stray {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// JSON without the byte order mark that some tools write, and that a parser may skip
/// ([RFC 8259 §8.1](https://www.rfc-editor.org/rfc/rfc8259#section-8.1)).
pub fn without_byte_order_mark(json: &[u8]) -> &[u8] {
    json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json)
}

/// A text of at most `N` bytes that needs no allocation.
#[derive(Debug, Clone, Copy)]
pub struct Short<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Short<N> {
    /// Concatenates the parts; a part that does not fit is dropped.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut text = Self { bytes: [0; N], len: 0 };
        for part in parts {
            let end = text.len + part.len();
            if let Some(room) = text.bytes.get_mut(text.len..end) {
                room.copy_from_slice(part.as_bytes());
                text.len = end;
            }
        }
        text
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_has_the_form_of_a_text_is_accepted(text in PATTERN.trim_matches(['^', '$'])) {
            proptest::prop_assume!(!text.contains(|c| matches!(c, '\u{e0000}'..='\u{e007f}')));
            proptest::prop_assert!(accept(&text, usize::MAX).is_ok());
        }
    }

    #[test]
    fn escapes_what_a_terminal_would_interpret() {
        assert_eq!(escape("a\u{1b}[2Jb\u{202e}c", 100), "a\\u{1b}[2Jb\\u{202e}c");
        assert_eq!(escape("abcdef", 3), "abc…");
        assert!(accept("plain – text", 20).is_ok());
        assert!(accept("line\nbreak", 20).is_err());
        assert!(accept("sep\u{2028}", 20).is_err());
    }

    #[test]
    fn joiners_are_the_only_invisible_characters_that_may_stay() {
        for text in [
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            "on call \u{1f469}\u{200d}\u{1f4bb}",
            "\u{d30}\u{d4d}\u{200d}",
        ] {
            assert_eq!((accept(text, 40), escape(text, 40).as_str()), (Ok(()), text));
        }
        for c in
            ['\u{200b}', '\u{200e}', '\u{200f}', '\u{202e}', '\u{2060}', '\u{2066}', '\u{feff}', '\u{61c}', '\u{e0041}']
        {
            assert_eq!(accept(&format!("a{c}"), 9), Err(TextError::Hostile(c as u32)));
        }
        assert_eq!(escape("admin\u{200d}\u{200d}", 40), "admin\\u{200d}\\u{200d}");
    }
}
