//! Foreign text: what may be stored, and how it is shown harmless.

/// Whether `c` can move a cursor, hide text or break a line: controls, bidirectional overrides, separators, invisible marks.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{061c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Whether `c` is a zero width (non-)joiner. Words of Persian, Kurdish and several scripts of India are spelt with them, and joined emoji
/// hold them, so text may; a name or an address may not.
pub fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// Why a registered string is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Longer than its bound.
    #[error("at most {max} characters, this has {len}")]
    TooLong {
        /// Most characters allowed.
        max: usize,
        /// Characters found.
        len: usize,
    },
    /// Holds a character that [`is_hostile`].
    #[error("control, bidirectional and line-separator characters are refused; found U+{0:04X}")]
    Hostile(u32),
}

/// Accepts a registered string of at most `max` characters without hostile ones.
///
/// # Errors
/// [`TextError`] naming the first thing that is wrong.
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

/// `text` with every hostile character written as `\u{…}` and cut to `max` characters, for terminals, logs and events. A joiner after
/// anything but a letter or sign beyond ASCII joins nothing, and is written so too.
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

/// A text of at most `N` bytes, without an allocation.
#[derive(Debug, Clone, Copy)]
pub struct Short<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Short<N> {
    /// The parts joined; one that has no room left is dropped.
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

    #[test]
    fn escapes_what_a_terminal_would_obey() {
        assert_eq!(escape("a\u{1b}[2Jb\u{202e}c", 100), "a\\u{1b}[2Jb\\u{202e}c");
        assert_eq!(escape("abcdef", 3), "abc…");
        assert!(accept("plain – text", 20).is_ok());
        assert!(accept("line\nbreak", 20).is_err());
        assert!(accept("sep\u{2028}", 20).is_err());
    }

    #[test]
    fn joiners_belong_to_words_and_nothing_else_invisible_does() {
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
