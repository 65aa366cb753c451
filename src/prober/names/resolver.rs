//! The resolver: `/etc/hosts`, then DNS, with answers cached for their TTL.
//!
//! Negative answers are not cached, so that each confirming probe asks again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use super::dns::Resolved;
use super::lookup::Loaded;
use crate::model::ports::NameAddresses;
use crate::telemetry::metrics::Metrics;

/// Longest time that an answer is cached, whatever its TTL: a name that moves is noticed soon.
const MAX_TTL: Duration = Duration::from_secs(30);
/// Most names in the cache, and most that are remembered as slow.
const MAX_NAMES: usize = 16_384;
/// Most addresses of one name.
const MAX_ADDRESSES: usize = 256;
/// Most useful lookups at once; each may take four sockets. Two fifths are for names that resolved before, two fifths for names that are
/// new or failed, and a fifth for names that were slow lately, so that these delay only each other.
pub(crate) const MAX_LOOKUPS: usize = 160;
/// A lookup that takes this long is slow; a silent second address family alone does not make it so.
const SLOW: Duration = Duration::from_millis(750);
/// How long a name counts as slow after its last slow lookup, even if it answers in between: one that hangs every second time is slow.
const SLOW_FOR: Duration = Duration::from_mins(10);
/// Quick answers in a row after which it no longer does, as after a short trouble of the name server.
const QUICK_AGAIN: u8 = 3;
/// Timeout of one lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How recently another name must have resolved for an error to be the name's own fault.
const RECENT: Duration = Duration::from_mins(1);

/// Which name servers to ask.
#[derive(Debug, Clone, Default)]
pub enum ResolverSettings {
    /// As `/etc/hosts` and `/etc/resolv.conf` say, read again when they change.
    #[default]
    System,
    /// These servers over UDP and TCP, without search domains or a hosts file.
    Servers(Vec<SocketAddr>),
}

/// Why a name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unresolved {
    /// NXDOMAIN, or no address record.
    NotFound,
    /// More than 256 addresses.
    TooMany,
    /// Its servers answer with an error, such as SERVFAIL, while other names resolve: the name is at fault, and the probe fails.
    ServerError,
    /// Nothing resolves: this machine's resolver is down or silent, and the probe is inconclusive.
    ResolverDown,
}

/// The resolver and its cache.
#[derive(Debug)]
pub(crate) struct Names {
    settings: ResolverSettings,
    loaded: ArcSwap<Loaded>,
    answers: Mutex<HashMap<Box<str>, Answer>>,
    known: Semaphore,
    others: Semaphore,
    slow: Semaphore,
    recently_slow: Mutex<SlowNames>,
    proof: Mutex<Proof>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Answer {
    found: NameAddresses,
    until: Instant,
}

/// When each name was slow last, and the quick answers since. An entry that no longer counts stays until room is needed.
#[derive(Debug, Default)]
struct SlowNames(HashMap<Box<str>, (Instant, u8)>);

impl SlowNames {
    fn contains(&self, name: &str, now: Instant) -> bool {
        self.0.get(name).is_some_and(|(at, _)| now.duration_since(*at) < SLOW_FOR)
    }

    /// Notes that a name was answered quickly.
    fn answered(&mut self, name: &str) {
        let Some((_, quick)) = self.0.get_mut(name) else { return };
        *quick += 1;
        if *quick >= QUICK_AGAIN {
            self.0.remove(name);
        }
    }

    /// Notes that a name was slow. Without room, those that no longer count are forgotten, and if all do, the older half; returns whether
    /// it came to that.
    fn insert(&mut self, name: &str, now: Instant) -> bool {
        let mut forgot = false;
        if self.0.len() >= MAX_NAMES && !self.0.contains_key(name) {
            self.0.retain(|_, (at, _)| now.duration_since(*at) < SLOW_FOR);
            forgot = self.0.len() >= MAX_NAMES;
        }
        if forgot {
            self.forget_older_half();
        }
        self.0.insert(name.into(), (now, 0));
        forgot
    }

    fn forget_older_half(&mut self) {
        let mut moments: Vec<Instant> = self.0.values().map(|(at, _)| *at).collect();
        let half = moments.len() / 2;
        let middle = *moments.select_nth_unstable(half).1;
        self.0.retain(|_, (at, _)| *at > middle);
    }
}

/// The last two names that DNS resolved.
#[derive(Debug, Default)]
struct Proof {
    last: Option<(Box<str>, Instant)>,
    other: Option<(Box<str>, Instant)>,
}

impl Proof {
    fn resolved(&mut self, name: &str, now: Instant) {
        if self.last.as_ref().is_none_or(|(last, _)| **last != *name) {
            self.other = self.last.take();
        }
        self.last = Some((name.into(), now));
    }

    fn others_resolve(&self, name: &str, now: Instant) -> bool {
        let counts = |entry: &(Box<str>, Instant)| *entry.0 != *name && now.duration_since(entry.1) <= RECENT;
        [&self.last, &self.other].into_iter().flatten().any(counts)
    }
}

impl Names {
    /// Reads the system's files if the settings say so. At most `lookups` names are looked up at once, and at least three. A missing or
    /// unreadable file counts as empty, and then a resolver on this machine is asked.
    pub(crate) fn new(settings: ResolverSettings, lookups: usize, metrics: Metrics) -> Self {
        let loaded = ArcSwap::from_pointee(Loaded::new(&settings));
        let fifths = |n: usize| Semaphore::new((lookups.min(MAX_LOOKUPS) * n / 5).max(1));
        Self {
            settings,
            loaded,
            answers: Mutex::default(),
            known: fifths(2),
            others: fifths(2),
            slow: fifths(1),
            recently_slow: Mutex::default(),
            proof: Mutex::default(),
            metrics,
        }
    }

    /// The addresses of the name. Takes as long as the resolver: put a deadline around it.
    ///
    /// # Errors
    /// [`Unresolved`].
    pub(crate) async fn resolve(&self, name: &str) -> Result<NameAddresses, Unresolved> {
        self.reload_when_changed();
        if let Some(cached) = self.cached(name) {
            return Ok(cached);
        }
        let loaded = self.loaded.load_full();
        let Resolved { addresses, complete, until } = match loaded.without_dns(name) {
            Some(addresses) => Resolved { addresses, complete: true, until: Instant::now() + MAX_TTL },
            // Rare and large, so it is kept out of every probe's future.
            None => Box::pin(self.ask(&loaded, name)).await?,
        };
        if addresses.len() > MAX_ADDRESSES {
            return Err(Unresolved::TooMany);
        }
        let found = NameAddresses { addresses: addresses.into(), complete };
        self.keep(name, &found, until);
        Ok(found)
    }

    async fn ask(&self, loaded: &Loaded, name: &str) -> Result<Resolved, Unresolved> {
        let mut lookup = Lookup { names: self, name, started: None, answered: false };
        let _slot = self.slots(name).acquire().await.map_err(|_| Unresolved::ResolverDown)?;
        lookup.started = Some(Instant::now());
        let found =
            tokio::time::timeout(LOOKUP_TIMEOUT, loaded.ask(name)).await.unwrap_or(Err(Unresolved::ResolverDown));
        lookup.ended(found.is_ok());
        let now = Instant::now();
        let mut proof = self.proof.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(_) => proof.resolved(name, now),
            Err(Unresolved::ServerError) if !proof.others_resolve(name, now) => return Err(Unresolved::ResolverDown),
            Err(_) => {}
        }
        found
    }

    fn slots(&self, name: &str) -> &Semaphore {
        if self.recently_slow().contains(name, Instant::now()) {
            &self.slow
        } else if self.answers().contains_key(name) {
            &self.known
        } else {
            &self.others
        }
    }

    /// Notes how long a lookup took. While nothing else resolves, that says nothing about the name.
    fn took(&self, name: &str, since: Instant, answered: bool) {
        let now = Instant::now();
        let slow = now.duration_since(since) >= SLOW;
        let own = slow && self.proof.lock().unwrap_or_else(PoisonError::into_inner).others_resolve(name, now);
        if own && self.recently_slow().insert(name, now) {
            self.metrics.reject("slow_names_full");
        } else if answered && !slow {
            self.recently_slow().answered(name);
        }
    }

    fn recently_slow(&self) -> MutexGuard<'_, SlowNames> {
        self.recently_slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cached(&self, name: &str) -> Option<NameAddresses> {
        let answers = self.answers();
        let answer = answers.get(name)?;
        (answer.until > Instant::now()).then(|| answer.found.clone())
    }

    /// Caches an answer. A full cache first drops expired answers; if it is still full, nothing is added.
    fn keep(&self, name: &str, found: &NameAddresses, until: Instant) {
        let now = Instant::now();
        let until = until.min(now + MAX_TTL);
        let mut answers = self.answers();
        if answers.len() >= MAX_NAMES && !answers.contains_key(name) {
            answers.retain(|_, answer| answer.until > now);
        }
        if answers.len() < MAX_NAMES || answers.contains_key(name) {
            answers.insert(name.into(), Answer { found: found.clone(), until });
        } else {
            self.metrics.reject("name_cache_full");
        }
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<Box<str>, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload_when_changed(&self) {
        let loaded = self.loaded.load();
        if !matches!(self.settings, ResolverSettings::System) || !loaded.changed() {
            return;
        }
        let Some(again) = loaded.again() else { return };
        self.loaded.store(Arc::new(again));
        self.answers().clear();
        tracing::info!("read again what changed of /etc/resolv.conf and /etc/hosts");
    }
}

/// A running lookup. If it fails or is cancelled, the name no longer counts as one that resolved before.
struct Lookup<'a> {
    names: &'a Names,
    name: &'a str,
    /// When it started; none while it waits for a slot.
    started: Option<Instant>,
    answered: bool,
}

impl Lookup<'_> {
    fn ended(mut self, answered: bool) {
        self.answered = answered;
    }
}

impl Drop for Lookup<'_> {
    fn drop(&mut self) {
        if let Some(started) = self.started {
            self.names.took(self.name, started, self.answered);
        }
        if !self.answered {
            self.names.answers().remove(self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64, at: Instant) -> Instant {
        at + Duration::from_secs(seconds)
    }

    #[test]
    fn a_name_is_slow_for_ten_minutes_after_its_last_slow_lookup() {
        let (mut names, start) = (SlowNames::default(), Instant::now());
        assert!(!names.contains("odd.test", start));
        names.insert("odd.test", start);
        assert!(names.contains("odd.test", after(599, start)));
        names.insert("odd.test", after(599, start));
        assert!(names.contains("odd.test", after(1198, start)) && !names.contains("odd.test", after(1199, start)));
    }

    #[test]
    fn a_few_quick_answers_in_a_row_end_it() {
        let (mut names, start) = (SlowNames::default(), Instant::now());
        for _ in 0..2 {
            names.insert("odd.test", start);
            (1..QUICK_AGAIN).for_each(|_| names.answered("odd.test"));
            assert!(names.contains("odd.test", start), "it was slow again");
        }
        names.answered("odd.test");
        assert!(!names.contains("odd.test", start));
    }

    #[test]
    fn without_room_names_that_were_slow_longest_ago_are_forgotten() {
        let (mut names, start) = (SlowNames::default(), Instant::now());
        let name = |n: u64| format!("n{n}.test");
        let full = u64::try_from(MAX_NAMES).expect("few");
        let ms = |n: u64| start + Duration::from_millis(n);
        assert!((0..full).all(|n| !names.insert(&name(n), ms(n))));
        assert!(!names.insert(&name(0), ms(full)), "it is there already");
        assert!(names.insert("one.test", ms(full)), "all still count");
        let known = |names: &SlowNames, n| names.contains(&name(n), ms(full));
        assert!(
            known(&names, 0) && !known(&names, 1) && known(&names, full - 1) && names.contains("one.test", ms(full))
        );
        assert!(names.0.len() <= MAX_NAMES / 2 + 1, "{}", names.0.len());
        let later = ms(full) + SLOW_FOR;
        assert!((0..full).all(|n| !names.insert(&name(n), later)), "those that no longer count make room");
        assert!(names.0.len() <= MAX_NAMES);
    }
}
