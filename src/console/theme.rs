//! The colour themes by name; `view` decides how they look.

/// A colour theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ThemeName {
    /// Green, yellow, red.
    #[default]
    Normal,
    /// The same for a light background.
    Light,
    /// Blue, yellow and orange, which every kind of colour vision can distinguish.
    ColourBlind,
    /// No colours, only bold, reversed and underlined text (`NO_COLOR`).
    Plain,
}
