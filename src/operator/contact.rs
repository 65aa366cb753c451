//! When the Kubernetes API was last heard, and so how old the mirror may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::model::ports::Freshness;

/// Silence that is no sign of anything: three of the elector's polls.
const QUIET: Duration = Duration::from_secs(6);

/// Shared by all who talk with the Kubernetes API; cloning shares it.
#[derive(Debug, Clone)]
pub struct Contact(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    /// Milliseconds from `started` to the newest answer, 0 before the first.
    heard: AtomicU64,
    /// Watches that cannot be taken up.
    broken: AtomicUsize,
    /// Milliseconds from `started` to when the first of them broke.
    broken_at: AtomicU64,
    /// What the last of them that broke says.
    trouble: ArcSwapOption<String>,
}

impl Default for Contact {
    fn default() -> Self {
        Self::since(Instant::now())
    }
}

impl Contact {
    fn since(started: Instant) -> Self {
        let zero = || AtomicU64::new(0);
        Self(Arc::new(Inner {
            started,
            heard: zero(),
            broken: AtomicUsize::new(0),
            broken_at: zero(),
            trouble: ArcSwapOption::empty(),
        }))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The Kubernetes API answered, whatever it said.
    pub fn touch(&self) {
        self.0.heard.fetch_max(self.now(), Ordering::Relaxed);
    }

    /// Time since it last answered, when that is more than a moment; before its first answer, since the start.
    pub fn away_for(&self) -> Option<Duration> {
        self.beyond_quiet(self.0.heard.load(Ordering::Relaxed))
    }

    /// A watch broke and cannot be taken up at once, for this reason. Each is followed by one [`Self::watch_mended`].
    pub fn watch_broke(&self, why: String) {
        self.0.trouble.store(Some(Arc::new(why)));
        if self.0.broken.fetch_add(1, Ordering::AcqRel) == 0 {
            self.0.broken_at.store(self.now(), Ordering::Release);
        }
    }

    /// It runs again.
    pub fn watch_mended(&self) {
        // More mended than broke would be a fault of ours, and must not wrap.
        let _ = self.0.broken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
    }

    /// Why what changes is not heard, when that is so.
    pub fn trouble(&self) -> Option<Arc<String>> {
        let broken = self.0.broken.load(Ordering::Acquire) > 0;
        broken.then(|| self.0.trouble.load_full()).flatten()
    }

    fn beyond_quiet(&self, since: u64) -> Option<Duration> {
        Some(Duration::from_millis(self.now().saturating_sub(since))).filter(|away| *away > QUIET)
    }
}

impl Freshness for Contact {
    fn stale_for(&self) -> Option<Duration> {
        let broken = self.0.broken.load(Ordering::Acquire) > 0;
        let unwatched = broken.then(|| self.beyond_quiet(self.0.broken_at.load(Ordering::Acquire))).flatten();
        self.away_for().max(unwatched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// One that was made a minute ago.
    fn contact() -> Contact {
        Contact::since(Instant::now().checked_sub(MINUTE).expect("an uptime of a minute"))
    }

    #[test]
    fn silence_counts_after_a_moment_and_an_answer_ends_it() {
        assert_eq!(Contact::default().stale_for(), None);
        let contact = contact();
        assert!(contact.away_for() >= Some(MINUTE), "never heard");
        contact.touch();
        assert_eq!(contact.stale_for(), None);
    }

    #[test]
    fn a_broken_watch_makes_stale_though_the_api_answers() {
        let contact = contact();
        contact.touch();
        contact.watch_broke("forbidden".to_owned());
        contact.watch_broke("not installed".to_owned());
        assert_eq!(contact.trouble().map(|why| why.to_string()).as_deref(), Some("not installed"));
        assert_eq!(contact.stale_for(), None, "not at once");
        contact.0.broken_at.store(1, Ordering::Release);
        assert!(contact.stale_for() > Some(QUIET));
        contact.watch_mended();
        assert!(contact.stale_for().is_some(), "one is broken yet");
        contact.watch_mended();
        contact.watch_mended();
        assert_eq!((contact.stale_for(), contact.trouble()), (None, None));
    }
}
