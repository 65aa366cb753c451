//! The addresses of host names, looked up again and again while a published instance has the name.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;

use super::plan::Lookup;
use crate::model::name::ServiceKey;
use crate::model::ports::{LookupError, NameAddresses, NameLookup};

/// Time between two lookups of a name. The resolver's cache answers most of them.
const INTERVAL: Duration = Duration::from_secs(5);
/// For how long a name that resolved before may not exist: name servers are changed by deleting and adding.
const GONE_AFTER: Duration = Duration::from_secs(30);
/// For how long the addresses of a family without an answer stay: some servers never answer for a family without addresses.
const UNANSWERED_FOR: Duration = Duration::from_mins(1);
/// Most lookups at once.
const MAX_LOOKUPS: usize = 16;
/// Most of them for slow names, so that one tenant's broken name servers do not hold up other names.
const MAX_SLOW_LOOKUPS: usize = 4;
/// A lookup that takes this long makes its name slow, until one takes less.
const SLOW: Duration = Duration::from_millis(750);
/// Time for a lookup: the resolver's own limit with some time to wait for its turn there.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(6);

/// The end of a lookup.
struct Answer {
    name: String,
    found: Result<NameAddresses, LookupError>,
    took: Duration,
}

/// Names of published instances; bounded by their number.
pub(super) struct Names {
    lookup: Arc<dyn NameLookup>,
    known: HashMap<String, Known>,
    /// When each is looked up next; those in progress are not here.
    due: BTreeSet<(Instant, String)>,
    /// The same of the slow ones.
    slow_due: BTreeSet<(Instant, String)>,
    running: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// How many of the running ones are of slow names.
    slow_running: usize,
}

#[derive(Default)]
struct Known {
    users: HashSet<ServiceKey>,
    lookup: Lookup,
    /// Whether its last lookup was.
    is_slow: bool,
    /// Since when there is no such name.
    missing_since: Option<Instant>,
    /// Since when the resolver answers for one family only.
    partial_since: Option<Instant>,
}

impl Names {
    pub(super) fn new(lookup: Arc<dyn NameLookup>) -> Self {
        Self {
            lookup,
            known: HashMap::new(),
            due: BTreeSet::new(),
            slow_due: BTreeSet::new(),
            running: FuturesUnordered::new(),
            slow_running: 0,
        }
    }

    /// What is known of a name.
    pub(super) fn get(&self, name: &str) -> Lookup {
        self.known.get(name).map_or(Lookup::Unknown, |known| known.lookup.clone())
    }

    /// The object `key` uses these names from now on, instead of `before`.
    pub(super) fn set(&mut self, key: &ServiceKey, before: &HashSet<String>, names: &HashSet<String>, now: Instant) {
        for name in before.difference(names) {
            if let Some(known) = self.known.get_mut(name) {
                known.users.remove(key);
                // Its next lookup finds that nobody uses it.
            }
        }
        for name in names.difference(before) {
            let known = self.known.entry(name.clone()).or_insert_with(|| {
                self.due.insert((now, name.clone()));
                Known::default()
            });
            known.users.insert(key.clone());
        }
    }

    /// Starts the lookups that are due.
    pub(super) fn start(&mut self, now: Instant) {
        while let Some(name) = self.take_due(now) {
            let Some(known) = self.known.get(&name).filter(|known| !known.users.is_empty()) else {
                self.known.remove(&name);
                continue;
            };
            self.slow_running += usize::from(known.is_slow);
            self.running.push(look_up(self.lookup.addresses(name.clone()), name).boxed());
        }
    }

    /// The next name that is due, if another lookup may run; slow ones last.
    fn take_due(&mut self, now: Instant) -> Option<String> {
        if self.running.len() >= MAX_LOOKUPS {
            return None;
        }
        let is_due = |due: &BTreeSet<(Instant, String)>| due.first().is_some_and(|(at, _)| *at <= now);
        let next = if is_due(&self.due) {
            self.due.pop_first()
        } else if self.slow_running < MAX_SLOW_LOOKUPS && is_due(&self.slow_due) {
            self.slow_due.pop_first()
        } else {
            None
        };
        next.map(|(_, name)| name)
    }

    /// When the next lookup is due, if another may run.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.running.len() >= MAX_LOOKUPS {
            return None;
        }
        let slow = (self.slow_running < MAX_SLOW_LOOKUPS).then(|| self.slow_due.first()).flatten();
        self.due.first().into_iter().chain(slow).map(|(at, _)| *at).min()
    }

    /// Waits for the next answer, if there are lookups. The objects that it changes something for. Cancel safe.
    pub(super) async fn changed(&mut self) -> Option<Vec<ServiceKey>> {
        let answer = self.running.next().await?;
        Some(self.take_in(answer, Instant::now()))
    }

    fn take_in(&mut self, answer: Answer, now: Instant) -> Vec<ServiceKey> {
        let Answer { name, found, took } = answer;
        let Some(known) = self.known.get_mut(&name) else { return Vec::new() };
        self.slow_running -= usize::from(known.is_slow);
        // The time includes the wait for a place of the resolver, so an answer proves that the name itself is quick enough.
        known.is_slow = took >= SLOW && found == Err(LookupError::NoAnswer);
        let due = if known.is_slow { &mut self.slow_due } else { &mut self.due };
        due.insert((now + INTERVAL, name));
        let lookup = known.after(found, now);
        if std::mem::replace(&mut known.lookup, lookup.clone()) == lookup {
            return Vec::new();
        }
        known.users.iter().cloned().collect()
    }
}

async fn look_up(lookup: BoxFuture<'static, Result<NameAddresses, LookupError>>, name: String) -> Answer {
    let began = tokio::time::Instant::now();
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await.unwrap_or(Err(LookupError::NoAnswer));
    Answer { name, found, took: began.elapsed() }
}

impl Known {
    fn after(&mut self, answer: Result<NameAddresses, LookupError>, now: Instant) -> Lookup {
        match answer {
            Ok(found) => {
                self.missing_since = None;
                self.partial_since = (!found.complete).then(|| self.partial_since.unwrap_or(now));
                match self.partial_since {
                    Some(since) if now < since + UNANSWERED_FOR => Lookup::Partly(self.with_known(&found.addresses)),
                    _ => Lookup::Found(sorted(found.addresses.iter())),
                }
            }
            // Nothing new is known.
            Err(LookupError::NoAnswer)
                if matches!(self.lookup, Lookup::Found(_) | Lookup::Partly(_) | Lookup::Missing) =>
            {
                self.lookup.clone()
            }
            Err(LookupError::NotFound) if now < *self.missing_since.get_or_insert(now) + GONE_AFTER => Lookup::Missing,
            Err(error) => Lookup::Failed(error),
        }
    }

    /// The addresses of one family, with those known of the other.
    fn with_known(&self, found: &[IpAddr]) -> Arc<[IpAddr]> {
        let known = match &self.lookup {
            Lookup::Found(known) | Lookup::Partly(known) => &**known,
            _ => &[],
        };
        let answered = |of: &IpAddr| found.iter().any(|address| address.is_ipv4() == of.is_ipv4());
        sorted(found.iter().chain(known.iter().filter(|known| !answered(known))))
    }
}

/// Name servers give addresses in a changing order.
fn sorted<'a>(addresses: impl Iterator<Item = &'a IpAddr>) -> Arc<[IpAddr]> {
    let mut all: Vec<IpAddr> = addresses.copied().collect();
    all.sort_unstable();
    all.dedup();
    all.into()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Answers in turn; the last one again and again.
    struct Script(Mutex<Vec<Result<NameAddresses, LookupError>>>);

    impl NameLookup for Script {
        fn addresses(&self, _: String) -> BoxFuture<'static, Result<NameAddresses, LookupError>> {
            let mut answers = self.0.lock().expect("no panic");
            let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            async move { answer }.boxed()
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_again_while_it_is_used() {
        let found =
            |last: u8| Ok(NameAddresses { addresses: [IpAddr::from([192, 0, 2, last])].into(), complete: true });
        let answers = vec![found(1), found(1), Err(LookupError::NoAnswer), found(2), Err(LookupError::NotFound)];
        let mut names = Names::new(Arc::new(Script(Mutex::new(answers))));
        let key = ServiceKey::new(&"shop".parse().expect("a name"), &"db".parse().expect("a name"));
        let (none, one) = (HashSet::new(), HashSet::from(["db.corp".to_owned()]));
        let mut now = Instant::now();
        names.set(&key, &none, &one, now);
        assert_eq!(names.get("db.corp"), Lookup::Unknown);
        let mut changes = Vec::new();
        for lookups in [5, 3] {
            for _ in 0..lookups {
                names.start(now);
                let answer = names.running.next().await.expect("a lookup");
                changes.push(names.take_in(answer, now).len());
                now += 2 * INTERVAL;
            }
            let last = if lookups == 5 { Lookup::Missing } else { Lookup::Failed(LookupError::NotFound) };
            assert_eq!(names.get("db.corp"), last);
        }
        assert_eq!(changes, [1, 0, 0, 1, 1, 0, 0, 1], "nothing new is not a change, and neither is silence");
        names.set(&key, &one, &none, now);
        names.start(now);
        assert_eq!((names.changed().await, names.next_due(), names.known.len()), (None, None, 0), "it is forgotten");
    }

    /// Never answers for names that begin with `slow`.
    struct PartlyDead;

    impl NameLookup for PartlyDead {
        fn addresses(&self, name: String) -> BoxFuture<'static, Result<NameAddresses, LookupError>> {
            if name.starts_with("slow") {
                return std::future::pending().boxed();
            }
            async { Ok(NameAddresses { addresses: [IpAddr::from([192, 0, 2, 1])].into(), complete: true }) }.boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn names_whose_servers_do_not_answer_leave_room_for_others() {
        let mut names = Names::new(Arc::new(PartlyDead));
        let key = ServiceKey::new(&"shop".parse().expect("a name"), &"db".parse().expect("a name"));
        let (none, began) = (HashSet::new(), Instant::now());
        let slow: HashSet<String> = (0..40).map(|n| format!("slow-{n}.corp")).collect();
        names.set(&key, &none, &slow, began);
        for _ in 0..slow.len() {
            names.start(began);
            let answer = names.running.next().await.expect("the lookup ends by itself");
            assert_eq!(answer.found, Err(LookupError::NoAnswer));
            names.take_in(answer, began);
        }
        let again = began + INTERVAL;
        let both = slow.iter().cloned().chain(["db.corp".to_owned()]).collect();
        names.set(&key, &slow, &both, again);
        assert_eq!(names.next_due(), Some(again));
        names.start(again);
        assert_eq!(
            (names.running.len(), names.next_due()),
            (MAX_SLOW_LOOKUPS + 1, None),
            "others of the slow ones wait"
        );
        let first = names.running.next().await.expect("a lookup");
        assert!(first.name == "db.corp" && first.found.is_ok(), "{}: {:?}", first.name, first.found);
        names.take_in(first, again);
        assert_eq!(names.next_due(), Some(again + INTERVAL), "db.corp again");
        for _ in 0..MAX_SLOW_LOOKUPS {
            let answer = names.running.next().await.expect("it ends");
            names.take_in(answer, again);
        }
        assert_eq!((names.slow_running, names.next_due()), (0, Some(again)));
    }

    #[test]
    fn a_family_without_an_answer_keeps_its_addresses_for_a_minute() {
        let ips = |of: &[&str]| -> Vec<IpAddr> { of.iter().map(|ip| ip.parse().expect("an address")).collect() };
        let (old, new) = (ips(&["192.0.2.1", "2001:db8::1"]), ips(&["192.0.2.2"]));
        let lookup = Lookup::Found(sorted(old.iter()));
        let mut known = Known { lookup, ..Known::default() };
        let began = Instant::now();
        let mut after = |complete, seconds| {
            let found = NameAddresses { addresses: new.clone().into(), complete };
            let lookup = known.after(Ok(found), began + Duration::from_secs(seconds));
            known.lookup = lookup.clone();
            lookup
        };
        let both = Lookup::Partly(ips(&["192.0.2.2", "2001:db8::1"]).into());
        assert_eq!([after(false, 0), after(false, 59)], [both.clone(), both]);
        assert_eq!(after(false, 60), Lookup::Found(new.clone().into()), "it never answers for that family");
        assert_eq!(after(true, 61), Lookup::Found(new.clone().into()));
        assert_eq!(
            after(false, 62),
            Lookup::Partly(new.clone().into()),
            "a new leader may still know more by what is published"
        );
    }
}
