//! One of several servers that mirror the same services.

use std::fmt;

/// A random number per process, displayed as 8 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replica(u32);

impl Replica {
    /// A new one.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Parses the displayed form: 8 hex digits.
    pub fn read(text: &str) -> Option<Self> {
        let plain = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
        plain.then(|| u32::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}
