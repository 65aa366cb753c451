//! Health for people: a word, on a terminal with a glyph, and with a colour where there are colours.

use unicode_width::UnicodeWidthStr;

use crate::model::text::escape;

/// How much a stream can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Paint {
    /// The word alone: for programs.
    Words,
    /// Glyph and word: a terminal without colours.
    Glyphs,
    /// Glyph, word and colour.
    Colours,
}

/// What a piece of text stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Tone {
    /// Nothing in particular.
    Plain,
    /// Up.
    Good,
    /// Down.
    Bad,
    /// Not known.
    Unsure,
    /// A heading.
    Strong,
    /// Less important.
    Faint,
}

impl Tone {
    /// The tone of a health word; an unknown word is plain.
    pub(in crate::cli) fn of_health(word: &str) -> Self {
        match word {
            "healthy" | "pass" => Self::Good,
            "unhealthy" | "fail" => Self::Bad,
            "unknown" | "inconclusive" => Self::Unsure,
            _ => Self::Plain,
        }
    }

    fn glyph(self) -> Option<char> {
        match self {
            Self::Good => Some('●'),
            Self::Bad => Some('✗'),
            Self::Unsure => Some('○'),
            Self::Plain | Self::Strong | Self::Faint => None,
        }
    }

    /// SGR parameters ([ECMA-48 §8.3.117](https://ecma-international.org/publications-and-standards/standards/ecma-48/)).
    fn sgr(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Bad => Some("31"),
            Self::Unsure => Some("33"),
            Self::Strong => Some("1"),
            Self::Faint => Some("2"),
        }
    }
}

/// A piece of text that is safe to print, with its tone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Cell {
    /// The text, already escaped.
    pub(in crate::cli) text: String,
    /// What it stands for.
    pub(in crate::cli) tone: Tone,
    glyph: Option<char>,
}

impl Cell {
    /// Text in a tone.
    pub(in crate::cli) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone, glyph: None }
    }

    /// A health or verdict word.
    pub(in crate::cli) fn health(word: &str) -> Self {
        let tone = Tone::of_health(word);
        Self { glyph: tone.glyph(), ..Self::new(escape(word, 20), tone) }
    }

    /// Its width, in terminal cells.
    pub(in crate::cli) fn width(&self, paint: Paint) -> usize {
        self.text.width() + if paint != Paint::Words && self.glyph.is_some() { 2 } else { 0 }
    }

    /// The text with what the stream can show of its tone.
    pub(in crate::cli) fn render(&self, paint: Paint) -> String {
        let shown = match self.glyph {
            Some(glyph) if paint != Paint::Words => format!("{glyph} {}", self.text),
            _ => self.text.clone(),
        };
        match self.tone.sgr() {
            Some(sgr) if paint == Paint::Colours && !shown.is_empty() => format!("\u{1b}[{sgr}m{shown}\u{1b}[0m"),
            _ => shown,
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Tone::Plain)
    }
}
