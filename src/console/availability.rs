//! How available services and instances were, as far as it is known; bounded, the oldest leave first.
//!
//! In: answers of the source. Out: what pages and the column show, and what is to be requested again.

use std::collections::HashMap;
use std::time::Duration;

use uuid::Uuid;

use super::data::Availability;
use super::window::Window;
use crate::model::time::UnixMs;

/// Most services and instances whose strips are kept.
pub const KEPT_STRIPS: usize = 64;
/// Most services whose percentage is kept for the column.
pub const KEPT_SHARES: usize = 2048;
/// Most services of one request for the column.
pub const MAX_ASKED: usize = 100;
/// The window of the column.
pub const COLUMN_WINDOW: Window = Window::Day;

/// Age after which what is visible is requested again.
const MAX_AGE: Duration = Duration::from_secs(30);
/// The same after a change of the service.
const CHANGED_MAX_AGE: Duration = Duration::from_secs(2);
/// Time after which a request without an answer is repeated.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which a request that was refused is repeated.
const REFUSED_PAUSE: Duration = Duration::from_mins(1);

/// A service, or one of its instances.
pub type Subject = (Uuid, Option<Box<str>>);

/// The strips of a subject.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Strips {
    /// One for each window, the shortest first; empty before they arrived.
    pub windows: Vec<(Window, Availability)>,
    /// Why there are none, in words.
    pub refused: Option<Box<str>>,
    requested: UnixMs,
    /// When the answer arrived; 0 while one is awaited.
    arrived: UnixMs,
    changed: bool,
}

/// A percentage of the column.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Share {
    percent: Option<f64>,
    at: UnixMs,
}

/// Everything that is known of it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Availabilities {
    strips: HashMap<Subject, Strips>,
    shares: HashMap<Uuid, Share>,
    /// When the column was last requested, while there is no answer.
    asked: Option<UnixMs>,
    /// Until when the column is not requested again, since that was refused.
    pause: Option<UnixMs>,
}

impl Availabilities {
    /// The strips of a subject.
    pub fn strips(&self, subject: &Subject) -> Option<&Strips> {
        self.strips.get(subject)
    }

    /// Whether the strips of a visible subject are to be requested now; if so, they count as requested.
    pub fn wants_strips(&mut self, subject: &Subject, now: UnixMs) -> bool {
        let known = self.entry(subject.clone());
        let age = match (known.arrived.0, known.refused.is_some(), known.changed) {
            (0, ..) => REQUEST_TIMEOUT,
            (_, true, _) => REFUSED_PAUSE,
            (_, _, true) => CHANGED_MAX_AGE,
            _ => MAX_AGE,
        };
        let due = now.since(known.requested) >= age;
        if due {
            (known.requested, known.arrived, known.changed) = (now, UnixMs(0), false);
        }
        due
    }

    fn entry(&mut self, subject: Subject) -> &mut Strips {
        if !self.strips.contains_key(&subject)
            && self.strips.len() >= KEPT_STRIPS
            && let Some(oldest) = self.strips.iter().min_by_key(|(_, known)| known.requested).map(|(of, _)| of.clone())
        {
            self.strips.remove(&oldest);
        }
        self.strips.entry(subject).or_default()
    }

    /// Takes in the strips of a subject, or why there are none.
    pub fn strips_arrived(
        &mut self,
        subject: Subject,
        answer: Result<Vec<(Window, Availability)>, Box<str>>,
        now: UnixMs,
    ) {
        let known = self.entry(subject);
        (known.arrived, known.requested) = (now, known.requested.max(now));
        match answer {
            Ok(windows) => (known.windows, known.refused) = (windows, None),
            Err(why) => known.refused = Some(why),
        }
    }

    /// A service changed: its strips are requested again soon.
    pub fn changed(&mut self, id: Uuid) {
        for (_, known) in self.strips.iter_mut().filter(|(subject, _)| subject.0 == id) {
            known.changed = true;
        }
    }

    /// Everything is outdated, so that what is visible is requested again.
    pub fn outdate(&mut self) {
        for known in self.strips.values_mut() {
            known.requested = UnixMs(0);
        }
        for share in self.shares.values_mut() {
            share.at = UnixMs(0);
        }
        (self.asked, self.pause) = (None, None);
    }

    /// Those of the visible services that the column is to request now, in one call; they count as requested.
    pub fn wanted_shares(&mut self, visible: &[Uuid], now: UnixMs) -> Vec<Uuid> {
        let waits = self.asked.is_some_and(|at| now.since(at) < REQUEST_TIMEOUT);
        if waits || self.pause.is_some_and(|until| now < until) {
            return Vec::new();
        }
        let is_known = |id: &&Uuid| self.shares.get(*id).is_some_and(|share| now.since(share.at) < MAX_AGE);
        let wanted: Vec<Uuid> = visible.iter().filter(|id| !is_known(id)).take(MAX_ASKED).copied().collect();
        self.asked = (!wanted.is_empty()).then_some(now);
        wanted
    }

    /// Takes in the percentages of services that were requested; those without an answer have none.
    pub fn shares_arrived(&mut self, requested: &[Uuid], answer: &[Availability], now: UnixMs) {
        (self.asked, self.pause) = (None, None);
        for id in requested {
            if self.shares.len() >= KEPT_SHARES
                && !self.shares.contains_key(id)
                && let Some(oldest) = self.shares.iter().min_by_key(|(_, share)| share.at).map(|(id, _)| *id)
            {
                self.shares.remove(&oldest);
            }
            let percent = answer.iter().find(|of| of.id == *id).and_then(|of| of.percent);
            self.shares.insert(*id, Share { percent, at: now });
        }
    }

    /// The column was refused; whether that is new.
    pub fn shares_refused(&mut self, now: UnixMs) -> bool {
        self.asked = None;
        self.pause.replace(now.plus(REFUSED_PAUSE)).is_none()
    }

    /// The percentage of a service for the column, once it is known: none when nothing was proved.
    pub fn share(&self, id: &Uuid) -> Option<Option<f64>> {
        self.shares.get(id).map(|share| share.percent)
    }

    /// Drops what is known of services that are gone.
    pub fn retain(&mut self, is_there: impl Fn(&Uuid) -> bool) {
        self.shares.retain(|id, _| is_there(id));
        self.strips.retain(|(id, _), _| is_there(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_asks_once_for_what_is_visible_and_waits_for_the_answer() {
        let (mut known, ids) = (Availabilities::default(), [Uuid::from_u128(1), Uuid::from_u128(2)]);
        let at = |seconds: u64| UnixMs(1_000_000).plus(Duration::from_secs(seconds));
        assert_eq!(known.wanted_shares(&ids, at(0)), ids);
        assert!(known.wanted_shares(&ids, at(1)).is_empty(), "an answer is awaited");
        known.shares_arrived(&ids, &[Availability { id: ids[0], percent: Some(99.0), ..Default::default() }], at(1));
        assert_eq!((known.share(&ids[0]), known.share(&ids[1])), (Some(Some(99.0)), Some(None)));
        assert!(known.wanted_shares(&ids, at(2)).is_empty(), "both are known");
        assert_eq!(known.wanted_shares(&ids, at(40)), ids);
        assert!(known.shares_refused(at(40)) && !known.shares_refused(at(40)), "said once");
        assert!(known.wanted_shares(&ids, at(50)).is_empty(), "after a refusal it pauses");
        assert_eq!(known.wanted_shares(&ids, at(101)), ids);
    }

    #[test]
    fn strips_are_few_and_requested_again_soon_after_a_change() {
        let mut known = Availabilities::default();
        let at = |seconds: u64| UnixMs(1_000_000).plus(Duration::from_secs(seconds));
        let subject = (Uuid::from_u128(1), None);
        assert!(known.wants_strips(&subject, at(0)) && !known.wants_strips(&subject, at(1)));
        known.strips_arrived(subject.clone(), Ok(Vec::new()), at(1));
        assert!(!known.wants_strips(&subject, at(20)));
        known.changed(subject.0);
        assert!(known.wants_strips(&subject, at(20)));
        for n in 0..200 {
            known.wants_strips(&(Uuid::from_u128(n), None), at(60));
        }
        assert_eq!(known.strips.len(), KEPT_STRIPS);
    }
}
