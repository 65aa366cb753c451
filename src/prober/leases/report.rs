//! What a report means: the outcome that the state machine judges, in sentences.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::Lease;
use crate::model::check::Timing;
use crate::model::name::InstanceName;
use crate::model::outcome::{Outcome, Reason, Stage, Timings, Verdict};
use crate::model::ports::{Beat, BeatStatus, MAX_NOTE};
use crate::model::text;
use crate::model::time::UnixMs;

/// Longest sentence, in characters.
const MAX_MESSAGE: usize = 255;

/// What somebody said of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// Its own heartbeat.
    Beat(BeatStatus),
    /// It was registered, for the first time or again.
    Registered,
}

/// A message to the engine. Dropped, it no longer counts as one of its lease.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) service: Uuid,
    pub(crate) instance: InstanceName,
    pub(crate) said: Said,
    /// Cut and escaped.
    note: Option<String>,
    /// When, wall clock.
    at: UnixMs,
    /// None where the engine has not seen the instance yet.
    lease: Option<Arc<Lease>>,
}

impl Report {
    /// A heartbeat, or a registration. The caller has counted it as a message of its lease.
    pub(crate) fn new(
        service: Uuid,
        instance: &InstanceName,
        beat: Option<Beat>,
        at: UnixMs,
        lease: Option<Arc<Lease>>,
    ) -> Self {
        let said = beat.as_ref().map_or(Said::Registered, |beat| Said::Beat(beat.status));
        let note = beat.and_then(|beat| beat.note);
        let note = note.map(|note| text::escape(note.trim(), MAX_NOTE)).filter(|note| !note.is_empty());
        Self { service, instance: instance.clone(), said, note, at, lease }
    }

    pub(crate) fn lease(&self) -> Option<&Arc<Lease>> {
        self.lease.as_ref()
    }

    /// Whether it says only that the program is well.
    pub(crate) fn is_plain(&self) -> bool {
        self.said != Said::Beat(BeatStatus::Warn) && self.note.is_none()
    }

    /// The outcome to judge.
    pub(crate) fn outcome(&self) -> Outcome {
        match self.said {
            Said::Beat(BeatStatus::Fail) => {
                outcome(Verdict::Fail, Reason::ReportedFailing, self.at, self.says("the program reports that it fails"))
            }
            Said::Beat(BeatStatus::Warn) => passed(self.at, self.says("the program reports a warning")),
            Said::Beat(BeatStatus::Pass) => passed(self.at, self.says("the program reports that it is healthy")),
            Said::Registered => passed(self.at, "the program registered itself".to_owned()),
        }
    }

    /// The warning that it carries.
    pub(crate) fn warning(&self) -> Option<(Reason, String)> {
        let warns = self.said == Said::Beat(BeatStatus::Warn);
        warns.then(|| (Reason::ReportedWarning, self.says("the program reports a warning")))
    }

    fn says(&self, sentence: &str) -> String {
        match &self.note {
            None => sentence.to_owned(),
            Some(note) => cut(&format!("{sentence}: {note}")),
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(lease) = &self.lease {
            lease.end_message();
        }
    }
}

/// The outcome of a lease that expired at `at`, wall clock.
pub(crate) fn expired(ttl: Duration, at: UnixMs) -> Outcome {
    let message = format!("no heartbeat within {} s", ttl.as_secs());
    outcome(Verdict::Fail, Reason::LeaseExpired, at, message)
}

/// The outcome of a plain pass that was heard at `at`, wall clock.
pub(crate) fn heard(at: UnixMs) -> Outcome {
    passed(at, "the program reports that it is healthy".to_owned())
}

/// The timing of a heartbeat check: its TTL is the interval.
pub(crate) fn lease_timing(ttl: Duration, timing: Timing) -> Timing {
    Timing { interval: ttl, timeout: ttl, retry_interval: timing.retry_interval.min(ttl), ..timing }
}

fn passed(at: UnixMs, message: String) -> Outcome {
    outcome(Verdict::Pass, Reason::Passed, at, message)
}

fn outcome(verdict: Verdict, reason: Reason, at: UnixMs, message: String) -> Outcome {
    let timings = Timings::default();
    Outcome {
        verdict,
        reason,
        stage: Stage::Status,
        at,
        address: None,
        code: None,
        certificate_expires_at: None,
        message,
        timings,
    }
}

/// Cuts an escaped text.
fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_MESSAGE {
        return text.to_owned();
    }
    text.chars().take(MAX_MESSAGE - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(status: BeatStatus, note: &str) -> Report {
        let beat = Beat { status, note: Some(note.to_owned()) };
        Report::new(Uuid::nil(), &InstanceName::default(), Some(beat), UnixMs(1), None)
    }

    #[test]
    fn a_note_is_escaped_and_cut() {
        let outcome = report(BeatStatus::Fail, "disk \u{1b}[31mfull").outcome();
        assert_eq!((outcome.verdict, outcome.reason), (Verdict::Fail, Reason::ReportedFailing));
        assert_eq!(outcome.message, "the program reports that it fails: disk \\u{1b}[31mfull");
        let (reason, message) = report(BeatStatus::Warn, &"\u{202e}".repeat(5000)).warning().expect("a warning");
        assert_eq!((reason, message.chars().count()), (Reason::ReportedWarning, MAX_MESSAGE));
        assert!(report(BeatStatus::Pass, "  ").is_plain());
        assert!(!report(BeatStatus::Pass, "x").is_plain() && !report(BeatStatus::Warn, "").is_plain());
    }

    #[test]
    fn a_report_that_is_dropped_is_no_longer_on_its_way() {
        let lease = Arc::new(Lease::new(
            Uuid::nil(),
            crate::model::service::CheckId::plain(1),
            Duration::from_secs(1),
            UnixMs(0),
        ));
        lease.set_quiet(true);
        assert!(lease.begin_message());
        drop(Report::new(Uuid::nil(), &InstanceName::default(), None, UnixMs(1), Some(Arc::clone(&lease))));
        assert!(lease.is_quiet());
    }
}
