//! How a part stands.

use std::borrow::Cow;

/// What is said of a part.
#[derive(Debug, Clone)]
pub(in crate::app) struct Word {
    /// Whether that is as it should be.
    pub(super) good: bool,
    /// One sentence of ours.
    pub(super) message: Cow<'static, str>,
    /// Nobody need be told when the part stands so from the start.
    pub(super) usual: bool,
    /// Whom the sentence means, without naming them.
    of: Option<String>,
    /// For who asks, and no news when it changes: numbers, names, what others say.
    detail: Option<String>,
    /// Why the server is out of service, and not only that something is not as it should be.
    bars: bool,
}

impl Word {
    pub(in crate::app) fn good(message: impl Into<Cow<'static, str>>) -> Self {
        Self { good: true, message: message.into(), usual: false, of: None, detail: None, bars: false }
    }

    pub(in crate::app) fn bad(message: impl Into<Cow<'static, str>>) -> Self {
        Self { good: false, ..Self::good(message) }
    }

    /// Bad, and the server takes no part while it is so.
    pub(in crate::app) fn not_ready(message: impl Into<Cow<'static, str>>) -> Self {
        Self { bars: true, ..Self::bad(message) }
    }

    pub(in crate::app) fn usual(self) -> Self {
        Self { usual: true, ..self }
    }

    pub(in crate::app) fn of(self, whom: &str) -> Self {
        Self { of: Some(whom.to_owned()), ..self }
    }

    pub(in crate::app) fn with(self, detail: impl Into<Option<String>>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    pub(in crate::app) fn is_ready(&self) -> bool {
        !self.bars
    }

    /// The sentence with its detail.
    pub(in crate::app) fn in_full(self) -> String {
        match self.detail {
            Some(detail) => format!("{} ({detail})", self.message),
            None => self.message.into_owned(),
        }
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        (self.good, &self.message, &self.of) == (other.good, &other.message, &other.of)
    }
}
