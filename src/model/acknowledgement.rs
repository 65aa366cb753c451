//! Acknowledgements: somebody knows about a failure. [`acknowledging`](super::acknowledging) has the rules.
//!
//! - An acknowledgement is bound to the [`Failure`] of an instance that stood when it was given, and ends with it: when the instance
//!   recovers, when it fails in another way, when its time is up, or on request.
//! - One that was given for a service stands on each instance that failed then. It also ends, on all of them, as soon as any instance of the
//!   service fails that did not: what is new is never hidden.
//! - A service is acknowledged while each of its instances that fails is.

use serde::{Deserialize, Serialize};

use super::name::CheckName;
use super::time::UnixMs;

/// Longest note of an acknowledgement, in characters.
pub const MAX_ACKNOWLEDGEMENT_NOTE: usize = 256;

/// Who knows about a failure of an instance, and what they say about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// For people, at most [`MAX_ACKNOWLEDGEMENT_NOTE`] characters.
    pub note: String,
    /// Who gave it.
    pub by: String,
    /// When.
    pub since: UnixMs,
    /// When it ends by itself at the latest; none if only the failure ends it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<UnixMs>,
    /// Whether it was given for the whole service.
    #[serde(default)]
    pub whole: bool,
    /// What it is about.
    pub failure: Failure,
}

impl Acknowledgement {
    /// Whether it was given by the same call; what it still stands for may differ.
    pub fn is_same(&self, other: &Self) -> bool {
        let call = |known: &Self| (known.since, known.until, known.whole);
        call(self) == call(other) && self.note == other.note && self.by == other.by
    }
}

/// What fails of an instance, as readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The check that decides that it is unhealthy, and since when the instance is; none while it is usable.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub down: Option<(CheckName, UnixMs)>,
    /// The check that warns.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub warning: Option<CheckName>,
    /// Every other check that does not pass.
    #[serde(skip_serializing_if = "<[CheckName]>::is_empty", default)]
    pub also: Box<[CheckName]>,
}

/// Why an acknowledgement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// What it was about is over.
    Recovered,
    /// Something fails that did not fail when it was given.
    NewFailure,
}

/// What becomes of the acknowledgement of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcknowledgementChange {
    /// What fails now is acknowledged.
    Start(AcknowledgementOrder),
    /// It is withdrawn, if there is one.
    End,
    /// It ends by itself, if it still ends at that time.
    Expire(UnixMs),
}

/// A request to acknowledge what fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgementOrder {
    /// For people; 1 to [`MAX_ACKNOWLEDGEMENT_NOTE`] characters.
    pub note: String,
    /// Who acknowledges it.
    pub by: String,
    /// When it ends by itself at the latest, wall clock; none if only the failure ends it.
    pub until: Option<UnixMs>,
}

impl Failure {
    /// None where an instance neither fails nor warns.
    pub fn of(down: Option<(CheckName, UnixMs)>, warning: Option<CheckName>, also: &[CheckName]) -> Option<Self> {
        (down.is_some() || warning.is_some()).then(|| Self { down, warning, also: also.into() })
    }

    /// What is left of it where `now` fails. Less than before if a check passes again, so that its return is new. Which of the checks decides
    /// makes no difference.
    ///
    /// # Errors
    /// Why it no longer stands.
    pub fn left(&self, now: Option<Self>) -> Result<Self, End> {
        let now = now.ok_or(End::Recovered)?;
        let fell = now.since().is_some() && now.since() != self.since();
        let is_known = |check: &CheckName| self.checks().any(|known| known == check);
        match (self.since(), now.since()) {
            _ if fell || !now.checks().all(is_known) => Err(End::NewFailure),
            (Some(_), None) => Err(End::Recovered),
            _ => Ok(now),
        }
    }

    fn since(&self) -> Option<UnixMs> {
        self.down.as_ref().map(|(_, since)| *since)
    }

    /// Every check that fails; one may be named twice.
    fn checks(&self) -> impl Iterator<Item = &CheckName> {
        self.down.iter().map(|(check, _)| check).chain(&self.warning).chain(&*self.also)
    }
}
