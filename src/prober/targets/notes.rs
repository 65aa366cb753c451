//! What a check shows besides its health: the version that runs, and a warning.
//!
//! A program decides about both, so at most one text a minute is taken over; a warning's end waits for nothing. Otherwise each answer
//! could move the catalog's revision.

use std::sync::Arc;
use std::time::Duration;

use crate::model::service::Warning;
use crate::model::time::UnixMs;

/// Least time between two changes of text.
const REWORD: Duration = Duration::from_mins(1);

/// The notes on one check.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    version: Option<Arc<str>>,
    /// The warning of an advisory check that fails.
    failing: Option<Arc<Warning>>,
    /// The warning of outcomes that pass.
    reported: Option<Arc<Warning>>,
    /// When a text may change next, steady clock.
    reword_at: UnixMs,
    changed: bool,
}

impl Notes {
    pub(crate) fn warning(&self) -> Option<&Arc<Warning>> {
        self.failing.as_ref().or(self.reported.as_ref())
    }

    pub(crate) fn version(&self) -> Option<&Arc<str>> {
        self.version.as_ref()
    }

    /// Takes over a warning that readers see already: of an advisory check that fails, or of an outcome that passed.
    pub(crate) fn restore(&mut self, failing: Option<Arc<Warning>>, reported: Option<Arc<Warning>>) {
        (self.failing, self.reported) = (failing, reported);
    }

    /// Takes over the version that readers see already.
    pub(crate) fn restore_version(&mut self, version: Arc<str>) {
        self.version = Some(version);
    }

    /// Notes the version that an answer reports, and what it warns of. One answer may change both at once.
    pub(crate) fn notice(&mut self, version: Option<&str>, warning: Option<Warning>, now: UnixMs) {
        let may_reword = now >= self.reword_at;
        if let Some(version) = version {
            self.observe(version, may_reword, now);
        }
        self.report(warning, may_reword, now);
    }

    fn observe(&mut self, version: &str, may_reword: bool, now: UnixMs) {
        if self.version.as_deref() == Some(version) || self.version.is_some() && !may_reword {
            return;
        }
        self.version = Some(version.into());
        self.reworded(now);
    }

    fn report(&mut self, warning: Option<Warning>, may_reword: bool, now: UnixMs) {
        let before = self.reported.as_deref();
        if before == warning.as_ref() {
            return;
        }
        if warning.is_none() {
            (self.reported, self.changed) = (None, true);
        } else if may_reword {
            self.reported = warning.map(Arc::new);
            self.reworded(now);
        }
    }

    /// Notes that an advisory check fails, or no longer; while it fails for the same reason, its first message stays.
    pub(crate) fn fail(&mut self, warning: Option<Warning>) {
        let (before, after) = (self.failing.as_ref().map(|w| w.reason), warning.as_ref().map(|w| w.reason));
        if before != after {
            self.failing = warning.map(Arc::new);
            self.changed = true;
        }
    }

    /// Whether something has changed since this was asked last.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn reworded(&mut self, now: UnixMs) {
        self.reword_at = now.plus(REWORD);
        self.changed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::CheckName;
    use crate::model::outcome::Reason;

    fn warning(reason: Reason, message: &str) -> Warning {
        Warning { check: CheckName::default(), reason, message: message.to_owned() }
    }

    fn said(notes: &Notes) -> Option<&str> {
        notes.warning().map(|warning| warning.message.as_str())
    }

    #[test]
    fn texts_change_at_most_once_a_minute() {
        let mut notes = Notes::default();
        notes.notice(None, Some(warning(Reason::ReportedWarning, "one")), UnixMs(0));
        assert!(notes.take_changed());
        notes.notice(None, Some(warning(Reason::ReportedWarning, "two")), UnixMs(59_999));
        assert!(!notes.take_changed());
        assert_eq!(said(&notes), Some("one"));
        notes.notice(None, Some(warning(Reason::ReportedWarning, "three")), UnixMs(60_000));
        assert_eq!((notes.take_changed(), said(&notes)), (true, Some("three")));
        notes.notice(None, None, UnixMs(60_001));
        assert_eq!((notes.take_changed(), said(&notes)), (true, None), "the end of a warning waits for nothing");
        notes.notice(None, Some(warning(Reason::ReportedWarning, "four")), UnixMs(60_002));
        assert!(!notes.take_changed(), "who warns and passes by turns is not followed");
        notes.notice(None, Some(warning(Reason::ReportedWarning, "four")), UnixMs(120_000));
        assert_eq!((notes.take_changed(), said(&notes)), (true, Some("four")));
        notes.notice(Some("1"), None, UnixMs(200_000));
        notes.notice(Some("2"), None, UnixMs(200_001));
        assert_eq!(notes.version().map(AsRef::as_ref), Some("1"));
    }

    #[test]
    fn the_first_answer_shows_its_version_with_the_warning_about_it() {
        let mut notes = Notes::default();
        notes.notice(Some("1.3"), Some(warning(Reason::VersionDiffers, "differs")), UnixMs(0));
        assert_eq!((notes.version().map(AsRef::as_ref), said(&notes)), (Some("1.3"), Some("differs")));
    }

    #[test]
    fn a_failure_hides_what_passes_reported() {
        let mut notes = Notes::default();
        notes.notice(None, Some(warning(Reason::ReportedWarning, "disk")), UnixMs(0));
        notes.fail(Some(warning(Reason::Timeout, "first")));
        notes.fail(Some(warning(Reason::Timeout, "second")));
        assert_eq!(said(&notes), Some("first"));
        notes.fail(None);
        assert_eq!(said(&notes), Some("disk"));
    }
}
