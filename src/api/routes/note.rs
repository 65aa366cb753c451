//! The body of a call that leaves a note for people (a drain, an acknowledgement): its text, its author and how long it holds.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;

use crate::api::http::envelope::ApiError;
use crate::api::http::json::{self, Fields};
use crate::model::service::Owner;
use crate::model::text;
use crate::model::time::UnixMs;
use crate::model::value_error::ValueError;
use crate::model::whole_number::WholeNumber;

/// The field beside that of the words.
const FOR_SECONDS: &str = "for_seconds";
/// Its bounds; 30 days at most.
const SECONDS: RangeInclusive<u64> = 1..=2_592_000;

/// The field of the words.
pub(super) struct Words {
    /// Its name.
    pub(super) field: &'static str,
    /// What to write, where it is missing.
    pub(super) missing: &'static str,
    /// Most characters.
    pub(super) most: usize,
}

/// What such a body says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) words: String,
    /// The token's subject, or `anonymous`.
    pub(super) by: String,
    /// When it ends by itself; none if it does not.
    pub(super) until: Option<UnixMs>,
}

impl Note {
    /// Reads the body of a call that comes from `owner` at `now`.
    ///
    /// # Errors
    /// 400 `invalid_payload`, whose details name each field.
    pub(super) fn read(bytes: &[u8], of: &Words, owner: &Owner, now: UnixMs) -> Result<Self, ApiError> {
        let mut fields = Fields::read(bytes)?;
        let words: String = fields.take(of.field).unwrap_or_default();
        if fields.problem_count() == 0 && words.trim().is_empty() {
            fields.problem(of.field, format!("is missing; {}", of.missing));
        } else {
            fields.check(of.field, text::accept(&words, of.most));
        }
        let until = fields.take::<serde_json::Number>(FOR_SECONDS).and_then(|given| {
            let seconds = WholeNumber::deserialize(&given).ok().map(|WholeNumber(n)| n).filter(|n| SECONDS.contains(n));
            let seconds = seconds.ok_or_else(|| {
                let expected = format!("a whole number from {} to {}", SECONDS.start(), SECONDS.end());
                ValueError::new(format!("is {given}, not {expected}")).expecting(expected)
            });
            fields.check(FOR_SECONDS, seconds).map(|seconds| now.plus(Duration::from_secs(seconds)))
        });
        fields.end(&[of.field, FOR_SECONDS], |_| None);
        if fields.problem_count() > 0 {
            return Err(json::invalid(fields.problems()));
        }
        Ok(Self { words, by: author(owner).to_owned(), until })
    }
}

/// The caller as people know it: the token's subject, or `anonymous`.
fn author(owner: &Owner) -> &str {
    match owner {
        Owner::Anonymous => "anonymous",
        Owner::Token { subject, .. } => subject,
    }
}
