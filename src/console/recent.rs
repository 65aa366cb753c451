//! What changed lately, of all services: from the server's history at the start, then from each change as it comes.
//!
//! In: entries of history, and services before and after a change. Out: changes, newest first, those of one instance folded into one.

use std::collections::VecDeque;
use std::time::Duration;

use uuid::Uuid;

use super::data::{Acknowledgement, HistoryEntry, Instance, Service, known_words};
use super::text::format::short;
use super::text::reason;
use super::text::sanitize::sanitize;
use super::text::{Meaning, Segment, segment};
use crate::model::outcome::Health;
use crate::model::time::UnixMs;

/// Most changes that are remembered; the oldest is dropped first.
pub const MAX_RECENT: usize = 256;
/// Changes of one instance that follow each other within this time are one, with their number.
const FOLD: Duration = Duration::from_mins(10);
/// Registrations that are older at the start are no news.
const SEEDED_AGE: Duration = Duration::from_hours(24);
/// Most registrations that are taken from the first list, the newest.
const MAX_SEEDED: usize = 64;
/// Longest sentence that is kept of a change, in characters.
const MAX_SENTENCE: usize = 256;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The service or the instance is new, from this source.
    Registered(Box<str>),
    /// It is gone.
    Removed,
    /// It failed, for this reason.
    Failed(Box<str>),
    /// It passed, after failing for so long, where that is known.
    Recovered(Option<Duration>),
    /// It passed for the first time.
    Proved,
    /// Nothing is proved any more, for this reason.
    Unproved(Box<str>),
    /// It was drained, or its drain ended, in the server's words, with the reason and the operator.
    Drained(bool, Box<str>),
    /// Somebody knows about its failure, or took that back, in words.
    Acknowledged(bool, Box<str>),
}

/// One change, or several of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Identifies it to a selection.
    pub number: u64,
    /// When the newest happened, by the server's clock where it says.
    pub at: UnixMs,
    /// Which service.
    pub id: Uuid,
    /// `namespace/name`.
    pub key: Box<str>,
    /// Which instance; none where the whole service is meant.
    pub instance: Option<Box<str>>,
    /// What happened last.
    pub what: What,
    /// How many changes this stands for.
    pub times: u32,
}

/// The changes, newest first.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    changes: VecDeque<Change>,
    last: u64,
}

impl Recent {
    /// Newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter()
    }

    /// Notes what differs between a service before and after a change; `now` is the time where the server names none.
    pub fn compare(&mut self, old: Option<&Service>, new: Option<&Service>, now: UnixMs) {
        match (old, new) {
            (None, Some(new)) => self.add(new, None, new.registered_at.unwrap_or(now), registered(new)),
            (Some(old), None) => self.add(old, None, now, What::Removed),
            (Some(old), Some(new)) => {
                for instance in &new.instances {
                    let before = old.instances.iter().find(|before| before.name == instance.name);
                    self.compare_instance(new, before, instance, now);
                }
                let gone = |before: &&Instance| !new.instances.iter().any(|i| i.name == before.name);
                for before in old.instances.iter().filter(gone) {
                    self.add(new, Some(&before.name), now, What::Removed);
                }
                self.compare_known(old, new, now);
            }
            (None, None) => {}
        }
    }

    /// Notes the registrations of the last day from the first list: of services, and of instances that came later. History has none.
    pub fn seed_registered(&mut self, services: &[Service], now: UnixMs) {
        let is_new = |at: &UnixMs| now.since(*at) < SEEDED_AGE;
        let mut found: Vec<(UnixMs, &Service, Option<&str>)> = Vec::new();
        for service in services {
            found.extend(service.registered_at.filter(is_new).map(|at| (at, service, None)));
            let later = |at: &UnixMs| service.registered_at.is_none_or(|first| at.since(first) > FOLD);
            let of = |i: &'_ Instance| i.registered_at.filter(is_new).filter(later);
            found.extend(service.instances.iter().filter_map(|i| Some((of(i)?, service, Some(&*i.name)))));
        }
        found.sort_by_key(|(at, service, _)| (std::cmp::Reverse(*at), service.id));
        found.truncate(MAX_SEEDED);
        for (at, service, instance) in found.into_iter().rev() {
            self.add(service, instance, at, registered(service));
        }
    }

    fn compare_instance(&mut self, service: &Service, before: Option<&Instance>, after: &Instance, now: UnixMs) {
        let Some(before) = before else {
            // An object in a cluster has one such time for all its instances, also for those that come later.
            let later = |at: &UnixMs| service.registered_at.is_none_or(|first| at.since(first) > FOLD);
            let at = after.registered_at.filter(later).unwrap_or(now);
            return self.add(service, Some(&after.name), at, registered(service));
        };
        if before.is_drained() != after.is_drained() {
            let at = after.drained_since().unwrap_or(now);
            self.add(service, Some(&after.name), at, What::Drained(after.is_drained(), after.drain_words().into()));
        }
        if before.health != after.health {
            let failing = before.since.zip(after.since).map(|(from, to)| to.since(from));
            let what = what(before.health, after.health, &after.reason, failing);
            self.add(service, Some(&after.name), after.since.unwrap_or(now), what);
        }
    }

    /// Notes who knows about a failure since a change: once for a service of which everything is known.
    fn compare_known(&mut self, old: &Service, new: &Service, now: UnixMs) {
        let given = |known: &Acknowledgement| What::Acknowledged(true, known_words(known).into());
        if let Some(known) = &new.acknowledged {
            if old.acknowledged.as_ref() != Some(known) && known.since > old.acknowledged.as_ref().and_then(|a| a.since)
            {
                self.add(new, None, known.since.unwrap_or(now), given(known));
            }
            return;
        }
        let health =
            |service: &Service| service.instances.iter().map(|i| (i.name.clone(), i.health)).collect::<Vec<_>>();
        // One that ends with a change of health is part of that entry.
        if let Some(known) = old.acknowledged.as_ref().filter(|_| health(old) == health(new)) {
            self.add(new, None, now, What::Acknowledged(false, known_words(known).into()));
        }
        for instance in &new.instances {
            let before = old.instances.iter().find(|before| before.name == instance.name);
            let before = before.and_then(|before| before.acknowledged.as_ref());
            if let Some(known) = instance.acknowledged.as_ref().filter(|known| before != Some(known)) {
                self.add(new, Some(&instance.name), known.since.unwrap_or(now), given(known));
            }
        }
    }

    /// Takes in a page of a service's history, newest first; what is known already is left out.
    pub fn seed(&mut self, service: &Service, entries: &[HistoryEntry]) {
        for (n, entry) in entries.iter().enumerate().rev() {
            let is_before = |before: &&HistoryEntry| before.instance == entry.instance && &*before.event == "health";
            let before = || entries.get(n + 1..)?.iter().find(is_before);
            let failing = before().map(|before| entry.at.since(before.at));
            let what = match (&*entry.event, entry.to) {
                ("drained", _) => What::Drained(true, cut(&entry.message)),
                ("undrained", _) => What::Drained(false, cut(&entry.message)),
                ("acknowledged", _) => What::Acknowledged(true, cut(&entry.message)),
                // It is part of the entry of what ended it.
                ("unacknowledged", _) => continue,
                (_, None) => What::Removed,
                (_, Some(to)) => what(entry.from, to, entry.reason.as_deref().unwrap_or_default(), failing),
            };
            self.add(service, Some(&entry.instance), entry.at, what);
        }
    }

    fn add(&mut self, service: &Service, instance: Option<&str>, at: UnixMs, what: What) {
        let what = what.cut();
        // A note folds no failure away.
        let is_note = |what: &What| matches!(what, What::Acknowledged(..));
        let same = |known: &Change| {
            known.id == service.id && known.instance == instance.map(cut) && is_note(&known.what) == is_note(&what)
        };
        let mut times = 1;
        if let Some(place) = self.changes.iter().position(same)
            && let Some(known) = self.changes.get_mut(place)
        {
            let apart = if at >= known.at { at.since(known.at) } else { known.at.since(at) };
            if at < known.at || (at == known.at && known.what == what) {
                // An older one, which the newer one stands for; or the same again.
                known.times += u32::from(at < known.at && apart <= FOLD);
                if apart <= FOLD {
                    return;
                }
            } else if apart <= FOLD {
                times += known.times;
                self.changes.remove(place);
            }
        }
        self.last += 1;
        let change = Change {
            number: self.last,
            at,
            id: service.id,
            key: cut(&format!("{}/{}", service.namespace, service.name)),
            instance: instance.map(cut),
            what,
            times,
        };
        let place = self.changes.partition_point(|known| known.at > at);
        self.changes.insert(place, change);
        self.changes.truncate(MAX_RECENT);
    }
}

fn registered(service: &Service) -> What {
    What::Registered(service.source.clone())
}

/// Through what it came; who it was is not part of a service.
fn registered_words(source: &str) -> String {
    match source {
        "rest" => "registered over REST".to_owned(),
        "manifest" => "registered by a manifest".to_owned(),
        _ => "registered".to_owned(),
    }
}

fn what(from: Health, to: Health, reason: &str, failing: Option<Duration>) -> What {
    match (from, to) {
        (_, Health::Unhealthy) => What::Failed(reason.into()),
        (Health::Unhealthy, Health::Healthy) => What::Recovered(failing),
        (_, Health::Healthy) => What::Proved,
        (_, Health::Unknown) => What::Unproved(reason.into()),
    }
}

impl What {
    /// The same with a short sentence.
    fn cut(self) -> Self {
        match self {
            Self::Registered(words) => Self::Registered(cut(&words)),
            Self::Failed(words) => Self::Failed(cut(&words)),
            Self::Unproved(words) => Self::Unproved(cut(&words)),
            Self::Drained(begins, words) => Self::Drained(begins, cut(&words)),
            Self::Acknowledged(given, words) => Self::Acknowledged(given, cut(&words)),
            Self::Removed | Self::Recovered(_) | Self::Proved => self,
        }
    }
}

fn cut(text: &str) -> Box<str> {
    text.chars().take(MAX_SENTENCE).collect::<String>().into()
}

impl Change {
    /// `shop/cart`, `shop/cart b`. The instance `default` goes without saying.
    pub fn subject(&self) -> String {
        match self.instance.as_deref().filter(|name| *name != "default") {
            Some(instance) => sanitize(&format!("{} {instance}", self.key), 192),
            None => sanitize(&self.key, 128),
        }
    }

    /// What happened, with a sign: `✖ failed: connection refused`, `● recovered after 3m08s`.
    pub fn words(&self, ascii: bool) -> Segment {
        let sign = |unicode: char, plain: char| if ascii { plain } else { unicode };
        let (sign, text, meaning) = match &self.what {
            What::Registered(source) => (sign('+', '+'), registered_words(source), Meaning::Plain),
            What::Removed => (sign('–', '-'), "removed".to_owned(), Meaning::Faint),
            What::Failed(why) => (sign('✖', 'x'), format!("failed: {}", reason::words(why)), Meaning::Bad),
            What::Recovered(Some(after)) => {
                (sign('●', '+'), format!("recovered after {}", short(*after)), Meaning::Good)
            }
            What::Recovered(None) => (sign('●', '+'), "recovered".to_owned(), Meaning::Good),
            What::Proved => (sign('●', '+'), "healthy".to_owned(), Meaning::Good),
            What::Unproved(why) => (sign('○', '?'), format!("unknown: {}", reason::words(why)), Meaning::Warn),
            What::Drained(on, words) => {
                let word = if *on { "drained" } else { "drain ended" };
                (sign('◌', 'o'), join(word, &sanitize(words, MAX_SENTENCE)), Meaning::Warn)
            }
            What::Acknowledged(on, words) => {
                let word = if *on { "acknowledged" } else { "no longer acknowledged" };
                (sign('·', '-'), join(word, &sanitize(words, MAX_SENTENCE)), Meaning::Faint)
            }
        };
        let times = if self.times > 1 { format!(" ({} changes)", self.times) } else { String::new() };
        segment(format!("{sign} {text}{times}"), meaning)
    }
}

/// The server's sentence where it begins with the word, else the word and the sentence.
fn join(word: &str, words: &str) -> String {
    match words {
        "" => word.to_owned(),
        words if words.starts_with(word) => words.to_owned(),
        words if words.starts_with("by ") => format!("{word} {words}"),
        words => format!("{word}: {words}"),
    }
}
