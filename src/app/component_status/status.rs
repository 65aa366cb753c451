//! The status of one component.

use std::borrow::Cow;

#[derive(Debug, Clone)]
pub(in crate::app) struct ComponentStatus {
    pub(super) good: bool,
    /// One sentence, without names, numbers or foreign text: it may go out as an event.
    pub(super) message: Cow<'static, str>,
    /// Not worth an event if the component has this status from the start.
    pub(super) usual: bool,
    /// What the sentence refers to without naming it; a different subject is a change.
    subject: Option<String>,
    /// Numbers and names for `/readyz?verbose`; a different detail is not a change.
    detail: Option<String>,
    /// Makes `/readyz` fail.
    out_of_service: bool,
}

impl ComponentStatus {
    pub(in crate::app) fn good(message: impl Into<Cow<'static, str>>) -> Self {
        Self { good: true, message: message.into(), usual: false, subject: None, detail: None, out_of_service: false }
    }

    pub(in crate::app) fn bad(message: impl Into<Cow<'static, str>>) -> Self {
        Self { good: false, ..Self::good(message) }
    }

    /// Bad, and `/readyz` fails.
    pub(in crate::app) fn not_ready(message: impl Into<Cow<'static, str>>) -> Self {
        Self { out_of_service: true, ..Self::bad(message) }
    }

    pub(in crate::app) fn usual(self) -> Self {
        Self { usual: true, ..self }
    }

    pub(in crate::app) fn about(self, subject: &str) -> Self {
        Self { subject: Some(subject.to_owned()), ..self }
    }

    pub(in crate::app) fn with(self, detail: impl Into<Option<String>>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    pub(in crate::app) fn is_ready(&self) -> bool {
        !self.out_of_service
    }

    /// The sentence with its detail.
    pub(in crate::app) fn in_full(self) -> String {
        match self.detail {
            Some(detail) => format!("{} ({detail})", self.message),
            None => self.message.into_owned(),
        }
    }
}

/// Equal when no event is due.
impl PartialEq for ComponentStatus {
    fn eq(&self, other: &Self) -> bool {
        (self.good, &self.message, &self.subject) == (other.good, &other.message, &other.subject)
    }
}
