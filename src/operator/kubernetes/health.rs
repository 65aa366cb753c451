//! When the Kubernetes API last answered, and so how old the mirror may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::model::ports::Freshness;

/// Silence that means nothing: three of the elector's polls.
const QUIET: Duration = Duration::from_secs(6);

/// Shared by everything that uses the Kubernetes API; cloning shares it.
#[derive(Debug, Clone)]
pub struct ApiHealth(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    /// Milliseconds from `started` to the newest answer, 0 before the first.
    heard: AtomicU64,
    /// Watches that failed and have not recovered.
    broken: AtomicUsize,
    /// Milliseconds from `started` to when the first of them failed.
    broken_at: AtomicU64,
    /// The last one's error.
    watch_error: ArcSwapOption<String>,
}

impl Default for ApiHealth {
    fn default() -> Self {
        Self::since(Instant::now())
    }
}

impl ApiHealth {
    fn since(started: Instant) -> Self {
        let zero = || AtomicU64::new(0);
        Self(Arc::new(Inner {
            started,
            heard: zero(),
            broken: AtomicUsize::new(0),
            broken_at: zero(),
            watch_error: ArcSwapOption::empty(),
        }))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes an answer of the Kubernetes API, whatever its status.
    pub fn touch(&self) {
        self.0.heard.fetch_max(self.now(), Ordering::Relaxed);
    }

    /// Time since the last answer, if that is longer than a moment; before the first answer, since the start.
    pub fn silent_for(&self) -> Option<Duration> {
        self.beyond_quiet(self.0.heard.load(Ordering::Relaxed))
    }

    /// A watch failed and could not be resumed at once. Call [`Self::watch_recovered`] once for each.
    pub fn watch_failed(&self, why: String) {
        self.0.watch_error.store(Some(Arc::new(why)));
        if self.0.broken.fetch_add(1, Ordering::AcqRel) == 0 {
            self.0.broken_at.store(self.now(), Ordering::Release);
        }
    }

    /// A watch works again.
    pub fn watch_recovered(&self) {
        // More recoveries than failures would be a bug, and must not wrap around.
        let _ = self.0.broken.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1));
    }

    /// Why changes do not arrive; none while they do.
    pub fn watch_error(&self) -> Option<Arc<String>> {
        let broken = self.0.broken.load(Ordering::Acquire) > 0;
        broken.then(|| self.0.watch_error.load_full()).flatten()
    }

    fn beyond_quiet(&self, since: u64) -> Option<Duration> {
        Some(Duration::from_millis(self.now().saturating_sub(since))).filter(|away| *away > QUIET)
    }
}

impl Freshness for ApiHealth {
    fn stale_for(&self) -> Option<Duration> {
        let broken = self.0.broken.load(Ordering::Acquire) > 0;
        let unwatched = broken.then(|| self.beyond_quiet(self.0.broken_at.load(Ordering::Acquire))).flatten();
        self.silent_for().max(unwatched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// As if started a minute ago.
    fn api_health() -> ApiHealth {
        ApiHealth::since(Instant::now().checked_sub(MINUTE).expect("an uptime of a minute"))
    }

    #[test]
    fn silence_counts_after_a_moment_and_an_answer_ends_it() {
        assert_eq!(ApiHealth::default().stale_for(), None);
        let api_health = api_health();
        assert!(api_health.silent_for() >= Some(MINUTE), "never heard");
        api_health.touch();
        assert_eq!(api_health.stale_for(), None);
    }

    #[test]
    fn a_broken_watch_makes_stale_though_the_api_answers() {
        let api_health = api_health();
        api_health.touch();
        api_health.watch_failed("forbidden".to_owned());
        api_health.watch_failed("not installed".to_owned());
        assert_eq!(api_health.watch_error().map(|why| why.to_string()).as_deref(), Some("not installed"));
        assert_eq!(api_health.stale_for(), None, "not at once");
        api_health.0.broken_at.store(1, Ordering::Release);
        assert!(api_health.stale_for() > Some(QUIET));
        api_health.watch_recovered();
        assert!(api_health.stale_for().is_some(), "one is broken yet");
        api_health.watch_recovered();
        api_health.watch_recovered();
        assert_eq!((api_health.stale_for(), api_health.watch_error()), (None, None));
    }
}
