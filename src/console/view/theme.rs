//! How a meaning looks. Colour never carries it alone: there is always a glyph or a word too.

use ratatui::style::{Color, Modifier, Style};

use crate::console::state::ThemeName;
use crate::console::status::Status;
use crate::console::text::Meaning;

/// A set of styles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme(pub ThemeName);

impl Theme {
    /// The style of a meaning.
    pub fn of(self, meaning: Meaning) -> Style {
        let style = Style::new();
        match (self.0, meaning) {
            (_, Meaning::Plain) | (ThemeName::Plain, Meaning::Faint | Meaning::Good) => style,
            (_, Meaning::Strong) | (ThemeName::Plain, Meaning::Warn) => style.add_modifier(Modifier::BOLD),
            (ThemeName::Plain, Meaning::Slow) => style.add_modifier(Modifier::UNDERLINED),
            (ThemeName::Plain, Meaning::Bad) => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            (_, Meaning::Faint) => style.fg(Color::DarkGray),
            // Yellow and bright green are hard to read on white.
            (ThemeName::Light, Meaning::Good) => style.fg(Color::Indexed(28)),
            (ThemeName::Light, Meaning::Bad) => style.fg(Color::Indexed(160)).add_modifier(Modifier::BOLD),
            (ThemeName::Light, Meaning::Warn) => style.fg(Color::Indexed(130)),
            (ThemeName::Light, Meaning::Slow) => style.fg(Color::Indexed(90)),
            (ThemeName::Normal, Meaning::Good) => style.fg(Color::Green),
            (ThemeName::Normal, Meaning::Bad) => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            (ThemeName::Normal, Meaning::Warn) => style.fg(Color::Yellow),
            (ThemeName::Normal, Meaning::Slow) => style.fg(Color::Magenta),
            // Okabe and Ito's palette: blue, vermillion, yellow and purple differ for every kind of colour vision.
            (ThemeName::ColourBlind, Meaning::Good) => style.fg(Color::Rgb(86, 180, 233)),
            (ThemeName::ColourBlind, Meaning::Bad) => style.fg(Color::Rgb(213, 94, 0)).add_modifier(Modifier::BOLD),
            (ThemeName::ColourBlind, Meaning::Warn) => style.fg(Color::Rgb(240, 228, 66)),
            (ThemeName::ColourBlind, Meaning::Slow) => style.fg(Color::Rgb(204, 121, 167)),
        }
    }

    /// The style of a status.
    pub fn status(self, status: Status) -> Style {
        self.of(match status {
            Status::Down => Meaning::Bad,
            Status::Degraded | Status::Drained => Meaning::Warn,
            Status::Slow => Meaning::Slow,
            Status::Unknown | Status::NotChecked => Meaning::Faint,
            Status::Healthy => Meaning::Good,
        })
    }

    /// The selected row.
    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The header and the bar of hints.
    pub fn bar(self) -> Style {
        match self.0 {
            ThemeName::Plain => Style::new().add_modifier(Modifier::REVERSED),
            ThemeName::Light => Style::new().bg(Color::Indexed(254)).fg(Color::Indexed(236)),
            _ => Style::new().bg(Color::Indexed(236)).fg(Color::Indexed(252)),
        }
    }

    /// Everything, while the source is unreachable.
    pub fn stale(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
}
