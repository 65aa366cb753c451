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

type Answer = (String, Result<NameAddresses, LookupError>);

/// Names of published instances; bounded by their number.
pub(super) struct Names {
    lookup: Arc<dyn NameLookup>,
    known: HashMap<String, Known>,
    /// When each is looked up next; those in progress are not here.
    due: BTreeSet<(Instant, String)>,
    running: FuturesUnordered<BoxFuture<'static, Answer>>,
}

struct Known {
    users: HashSet<ServiceKey>,
    lookup: Lookup,
    /// Since when there is no such name.
    missing_since: Option<Instant>,
    /// Since when the resolver answers for one family only.
    partial_since: Option<Instant>,
}

impl Names {
    pub(super) fn new(lookup: Arc<dyn NameLookup>) -> Self {
        Self { lookup, known: HashMap::new(), due: BTreeSet::new(), running: FuturesUnordered::new() }
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
                Known { users: HashSet::new(), lookup: Lookup::Unknown, missing_since: None, partial_since: None }
            });
            known.users.insert(key.clone());
        }
    }

    /// Starts the lookups that are due.
    pub(super) fn start(&mut self, now: Instant) {
        while self.running.len() < MAX_LOOKUPS && self.due.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, name)) = self.due.pop_first() else { return };
            if self.known.get(&name).is_none_or(|known| known.users.is_empty()) {
                self.known.remove(&name);
                continue;
            }
            let answer = self.lookup.addresses(name.clone());
            self.running.push(answer.map(move |answer| (name, answer)).boxed());
        }
    }

    /// When the next lookup is due, if another may run.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.running.len() >= MAX_LOOKUPS {
            return None;
        }
        self.due.first().map(|(at, _)| *at)
    }

    /// Waits for the next answer, if there are lookups. The objects that it changes something for. Cancel safe.
    pub(super) async fn changed(&mut self) -> Option<Vec<ServiceKey>> {
        let answer = self.running.next().await?;
        Some(self.take_in(answer, Instant::now()))
    }

    fn take_in(&mut self, (name, answer): Answer, now: Instant) -> Vec<ServiceKey> {
        let Some(known) = self.known.get_mut(&name) else { return Vec::new() };
        self.due.insert((now + INTERVAL, name));
        let lookup = known.after(answer, now);
        if std::mem::replace(&mut known.lookup, lookup.clone()) == lookup {
            return Vec::new();
        }
        known.users.iter().cloned().collect()
    }
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

    #[test]
    fn a_family_without_an_answer_keeps_its_addresses_for_a_minute() {
        let ips = |of: &[&str]| -> Vec<IpAddr> { of.iter().map(|ip| ip.parse().expect("an address")).collect() };
        let (old, new) = (ips(&["192.0.2.1", "2001:db8::1"]), ips(&["192.0.2.2"]));
        let lookup = Lookup::Found(sorted(old.iter()));
        let mut known = Known { users: HashSet::new(), lookup, missing_since: None, partial_since: None };
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
