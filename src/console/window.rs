//! The windows of time in which availability and outages are shown.

use crate::model::availability;

/// A window that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Window {
    /// 24 hours.
    #[default]
    Day,
    /// 7 days.
    Week,
    /// 30 days.
    Month,
}

impl Window {
    /// Every window, the shortest first.
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    /// As the API and the commands write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "24h",
            Self::Week => "7d",
            Self::Month => "30d",
        }
    }

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Day => "24 h",
            Self::Week => "7 d",
            Self::Month => "30 d",
        }
    }

    /// As the store reads it.
    pub fn read(self) -> availability::Window {
        self.as_str().parse().unwrap_or_default()
    }

    /// Columns of its strip: of half an hour, three hours, half a day.
    pub const fn cells(self) -> usize {
        match self {
            Self::Day => 48,
            Self::Week => 56,
            Self::Month => 60,
        }
    }

    /// The window of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window| window.as_str() == name)
    }

    /// The window `steps` further, wrapping around.
    #[must_use]
    pub fn after(self, steps: isize) -> Self {
        let at = Self::ALL.iter().position(|window| *window == self).unwrap_or_default();
        let next = (isize::try_from(at).unwrap_or_default() + steps).rem_euclid(3);
        Self::ALL[usize::try_from(next).unwrap_or_default()]
    }
}
