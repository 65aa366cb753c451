//! Decides which changes of status become events, and rate-limits components that flap. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::status::ComponentStatus;
use crate::model::time::UnixMs;
use crate::telemetry::server_events::{Component, ServerEvent};

/// Most events of one component in [`WINDOW`]. After that, the then current status is reported if it still differs.
const MAX_EVENTS: usize = 6;
const WINDOW: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct EventFilter(HashMap<Component, Reported>);

/// What was reported of one component.
#[derive(Debug, Default)]
struct Reported {
    last: Option<ComponentStatus>,
    /// When, within the window.
    times: VecDeque<Instant>,
}

impl EventFilter {
    /// The events that `statuses`, read at `now`, give rise to. `at` is the same moment on the wall clock.
    pub(super) fn events(
        &mut self,
        statuses: Vec<(Component, ComponentStatus)>,
        at: UnixMs,
        now: Instant,
    ) -> Vec<ServerEvent> {
        let events = statuses.into_iter().filter_map(|(component, status)| {
            let reported = self.0.entry(component).or_default();
            if reported.last.is_none() && status.usual {
                reported.last = Some(status);
                return None;
            }
            let (good, message) = (status.good, status.message.clone());
            let due = reported.last.as_ref() != Some(&status) && reported.report(status, now);
            due.then_some(ServerEvent { at, component, good, message })
        });
        events.collect()
    }
}

impl Reported {
    /// Whether the rate limit allows another event; if so, records it.
    fn report(&mut self, status: ComponentStatus, now: Instant) -> bool {
        while self.times.front().is_some_and(|at| now.duration_since(*at) >= WINDOW) {
            self.times.pop_front();
        }
        if self.times.len() >= MAX_EVENTS {
            return false;
        }
        self.times.push_back(now);
        self.last = Some(status);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> ComponentStatus {
        ComponentStatus::good("writes succeed")
    }

    fn bad() -> ComponentStatus {
        ComponentStatus::bad("writes fail")
    }

    struct Store {
        filter: EventFilter,
        start: Instant,
    }

    impl Store {
        fn new() -> Self {
            Self { filter: EventFilter::default(), start: Instant::now() }
        }

        /// Whether each event that `status` gives rise to at `ms` is good.
        fn poll(&mut self, ms: u64, status: ComponentStatus) -> Vec<bool> {
            let now = self.start + Duration::from_millis(ms);
            let events = self.filter.events(vec![(Component::Store, status)], UnixMs(0), now);
            events.into_iter().map(|event| event.good).collect()
        }
    }

    #[test]
    fn a_change_is_one_event_and_the_usual_status_at_the_start_is_none() {
        let mut store = Store::new();
        assert!(store.poll(0, good().usual()).is_empty());
        assert_eq!(store.poll(250, bad()), [false]);
        assert!(store.poll(500, bad()).is_empty());
        assert_eq!(store.poll(750, good().usual()), [true]);
        assert_eq!(Store::new().poll(0, bad()), [false], "bad from the start");
        assert_eq!(Store::new().poll(0, good()), [true], "good, but not usual");
    }

    #[test]
    fn the_same_sentence_about_another_subject_is_an_event() {
        let mut store = Store::new();
        let leads = |replica: &str| ComponentStatus::good("another replica leads").about(replica);
        assert_eq!(store.poll(0, leads("a")).len(), 1);
        assert_eq!(store.poll(250, leads("a")).len(), 0);
        assert_eq!(store.poll(500, leads("b")).len(), 1);
    }

    #[test]
    fn a_component_that_flaps_is_reported_now_and_then_and_its_last_status_in_the_end() {
        let mut store = Store::new();
        let mut events: Vec<bool> = store.poll(0, good().usual());
        for n in 1..=2400_u64 {
            events.extend(store.poll(n * 250, if n % 2 == 0 { good() } else { bad() }));
        }
        assert!((10 * MAX_EVENTS - 10..=11 * MAX_EVENTS).contains(&events.len()), "{} in ten minutes", events.len());
        for n in 0..480 {
            events.extend(store.poll(600_250 + n * 250, bad()));
        }
        assert_eq!(events.last(), Some(&false), "the true status is reported in the end");
    }
}
