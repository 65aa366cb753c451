//! Ends drains and acknowledgements whose time is up.
//!
//! In: the catalog's feed, which says until when each instance is drained or acknowledged. Out: a call to the store when that time has come.
//! An end is a moment of the wall clock, for people; once it is known, the steady clock measures the time to it, so that setting the wall
//! clock ends nothing early. Once both have agreed for an hour, the wall clock may bring an end forward: the steady clock stands still
//! while the machine is suspended, and an end was measured wrongly if the wall clock was behind. In cluster mode this is the leader's
//! task, and only acknowledgements are: it ends drains where it writes the objects' status (`operator::status_writer`).

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Store;
use super::writer::wall_clock::WallClock;
use crate::catalog::{Feed, FeedError};
use crate::model::name::InstanceName;
use crate::model::ports::{
    AcknowledgementChange, Caller, DrainChange, InstanceRef, Leadership, Registrar, ServiceRef, WriteError,
};
use crate::model::service::{Owner, Service};
use crate::model::time::{Clock, Now, UnixMs};

/// Pause before an end that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Longest sleep: a timer does not count the time that the machine is suspended.
const SLEEP: Duration = Duration::from_secs(30);

/// The task.
pub struct TimedEnds {
    store: Store,
    clock: Clock,
    wall: WallClock,
    ends: Ends,
    /// In cluster mode.
    leadership: Option<Arc<dyn Leadership>>,
}

/// What has an end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Timed {
    /// The drain of this instance.
    Drain(InstanceName),
    /// Each acknowledgement of the service that ends then.
    Acknowledgement,
}

/// The end of a drain, or of an acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    of: Timed,
    /// As readers see it, wall clock.
    until: UnixMs,
    /// The same moment on the steady clock.
    due: UnixMs,
}

/// The known ends, by service. Few instances are drained or acknowledged at a time.
#[derive(Debug, Default)]
struct Ends(HashMap<Uuid, Vec<End>>);

impl TimedEnds {
    /// Ends what `store` holds.
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { wall: WallClock::new(clock.now()), store, clock, ends: Ends::default(), leadership: None }
    }

    /// Ends the acknowledgements of a mirror, while this replica leads.
    pub fn of_acknowledgements(store: Store, clock: Clock, leadership: Arc<dyn Leadership>) -> Self {
        Self { leadership: Some(leadership), ..Self::new(store, clock) }
    }

    /// Works until `shutdown`.
    ///
    /// # Errors
    /// None.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let mut feed = self.subscribe();
        loop {
            let wait = self.ends.next().map_or(SLEEP, |due| due.since(self.clock.now().steady).min(SLEEP));
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                batch = feed.next() => match batch {
                    Ok(batch) => {
                        let now = self.clock.now();
                        // A busy feed may never let the timer below elapse.
                        self.ends.correct(&mut self.wall, now);
                        batch.removed.iter().for_each(|(_, service)| self.ends.forget(service));
                        batch.upserts.iter().for_each(|entry| self.ends.follow(entry.service(), now));
                    }
                    Err(FeedError::Lagged) => feed = self.subscribe(),
                    Err(FeedError::Ended) => return Ok(()),
                },
                () = tokio::time::sleep(wait) => self.end_due().await,
            }
        }
    }

    fn subscribe(&mut self) -> Feed {
        let (snapshot, feed) = self.store.catalog().subscribe();
        let now = self.clock.now();
        let present = |service: &Uuid| snapshot.by_id(service).is_some();
        self.ends.0.retain(|service, _| present(service));
        snapshot.newest_first(None).for_each(|entry| self.ends.follow(entry.service(), now));
        feed
    }

    async fn end_due(&mut self) {
        let now = self.clock.now();
        self.ends.correct(&mut self.wall, now);
        let now = now.steady;
        let due = self.ends.take_due(now, now.plus(RETRY));
        if self.leadership.as_ref().is_some_and(|leadership| !leadership.leads()) {
            return;
        }
        for (service, End { of, until, .. }) in due {
            if of != Timed::Acknowledgement && self.leadership.is_some() {
                continue;
            }
            let id = ServiceRef::Id(service);
            let caller = Caller { owner: Owner::Anonymous, admin: true };
            let ended = match &of {
                Timed::Drain(instance) => {
                    let instance = InstanceRef { service: id, instance: instance.clone() };
                    self.store.drain(instance, DrainChange::Expire(until), caller).await
                }
                Timed::Acknowledgement => {
                    self.store.acknowledge(id, None, AcknowledgementChange::Expire(until), caller).await
                }
            };
            match ended {
                Err(WriteError::ServiceNotFound | WriteError::InstanceNotFound) => self.ends.forget_one(&service, &of),
                Err(error) => {
                    tracing::warn!(
                        %service,
                        "a drain or acknowledgement was due to end at {until}, but could not be ended; this is tried again: {error}"
                    );
                }
                // The feed brings the rest.
                Ok(_) => {}
            }
        }
    }
}

impl Ends {
    /// The next moment at which something ends, steady clock.
    fn next(&self) -> Option<UnixMs> {
        self.0.values().flatten().map(|end| end.due).min()
    }

    /// Takes in a service as it is now.
    fn follow(&mut self, service: &Service, now: Now) {
        let drains =
            service.instances.iter().filter_map(|i| Some((Timed::Drain(i.name.clone()), i.drain.as_ref()?.until?)));
        let acknowledged = service.instances.iter().filter_map(|i| i.acknowledged.as_ref()?.until);
        let acknowledged: BTreeSet<UnixMs> = acknowledged.collect();
        let acknowledged = acknowledged.into_iter().map(|until| (Timed::Acknowledgement, until));
        let known = self.0.get(&service.id).map(Vec::as_slice).unwrap_or_default();
        let due = |of: &Timed, until: UnixMs| {
            let same = known.iter().find(|end| end.of == *of && end.until == until);
            same.map_or_else(|| now.steady.plus(until.since(now.wall)), |end| end.due)
        };
        let ends: Vec<End> =
            drains.chain(acknowledged).map(|(of, until)| End { due: due(&of, until), of, until }).collect();
        if ends.is_empty() {
            self.0.remove(&service.id);
        } else {
            self.0.insert(service.id, ends);
        }
    }

    /// Brings forward what the wall clock says is over sooner, if it can be trusted.
    fn correct(&mut self, wall: &mut WallClock, now: Now) {
        if wall.jump(now).is_some() || !wall.agrees(now) {
            return;
        }
        // One that is tried again is due sooner than that anyway.
        let soon = now.steady.plus(RETRY);
        for end in self.0.values_mut().flatten().filter(|end| end.due > soon) {
            end.due = end.due.min(now.steady.plus(end.until.since(now.wall)));
        }
    }

    fn forget(&mut self, service: &Uuid) {
        self.0.remove(service);
    }

    fn forget_one(&mut self, service: &Uuid, of: &Timed) {
        if let Some(ends) = self.0.get_mut(service) {
            ends.retain(|end| end.of != *of);
        }
    }

    /// Those that are due at `now`; from now on they are due again at `again`.
    fn take_due(&mut self, now: UnixMs, again: UnixMs) -> Vec<(Uuid, End)> {
        let mut taken = Vec::new();
        for (service, ends) in &mut self.0 {
            for end in ends.iter_mut().filter(|end| end.due <= now) {
                taken.push((*service, end.clone()));
                end.due = again;
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::outcome::{Health, Reason};
    use crate::model::service::{Drain, Instance, InstanceSpec};

    fn service(drains: &[(&str, Option<i64>)]) -> Service {
        let instance = |(name, until): &(&str, Option<i64>)| {
            let (reason, by) = ("r".to_owned(), "b".to_owned());
            let drain = Arc::new(Drain { reason, by, since: UnixMs(0), until: until.map(UnixMs) });
            let passed = (Health::Healthy, Reason::Passed);
            Instance { drain: Some(drain), ..Instance::sample(name, InstanceSpec::sample("http://h"), passed) }
        };
        Service::sample("user", drains.iter().map(instance).collect())
    }

    fn at(steady: i64, wall: i64) -> Now {
        Now { steady: UnixMs(steady), wall: UnixMs(wall) }
    }

    #[test]
    fn setting_the_wall_clock_moves_no_end_that_is_known() {
        let mut ends = Ends::default();
        ends.follow(&service(&[("a", Some(5000)), ("b", None)]), at(100, 1000));
        assert_eq!(ends.next(), Some(UnixMs(4100)));
        // The wall clock jumps an hour ahead; another end of another instance begins to count then.
        ends.follow(&service(&[("a", Some(5000)), ("b", Some(3_601_200))]), at(200, 3_601_100));
        let due: Vec<_> = ends.0.values().flatten().map(|end| end.due).collect();
        assert_eq!(due, [UnixMs(4100), UnixMs(300)]);
        assert_eq!(ends.take_due(UnixMs(300), UnixMs(5300)).len(), 1);
        assert_eq!(ends.next(), Some(UnixMs(4100)), "the other is tried again later");
        ends.follow(&service(&[("a", None)]), at(400, 3_601_400));
        assert_eq!(ends.next(), None);
        ends.follow(&service(&[("a", Some(7))]), at(400, 1000));
        assert_eq!(ends.next(), Some(UnixMs(400)), "one that is over ends at once");
    }

    #[test]
    fn a_wall_clock_that_runs_evenly_for_an_hour_brings_an_end_forward() {
        const MINUTE: i64 = 60_000;
        const HOUR: i64 = 60 * MINUTE;
        let mut wall = WallClock::new(at(0, 0));
        let mut ends = Ends::default();
        ends.follow(&service(&[("a", Some(10 * HOUR))]), at(0, 0));
        // Suspended for nine hours and a half.
        let woken = |steady: i64| at(steady, steady + 9 * HOUR + 30 * MINUTE);
        for steady in [MINUTE, HOUR] {
            ends.correct(&mut wall, woken(steady));
            assert_eq!(ends.next(), Some(UnixMs(10 * HOUR)), "{steady}: a jump ends nothing early");
        }
        let believed = HOUR + MINUTE;
        ends.correct(&mut wall, woken(believed));
        assert_eq!(ends.next(), Some(UnixMs(believed)), "it has been over for half an hour");
        let again = UnixMs(believed).plus(RETRY);
        assert_eq!(ends.take_due(UnixMs(believed), again).len(), 1);
        ends.correct(&mut wall, woken(believed));
        assert_eq!(ends.next(), Some(again), "an end that failed keeps its pause");

        // At the start the clock was years behind.
        let (year, mut wall, mut ends) = (365 * 24 * HOUR, WallClock::new(at(0, 0)), Ends::default());
        ends.follow(&service(&[("a", Some(year + 3 * HOUR))]), at(0, 0));
        for steady in [MINUTE, HOUR + MINUTE] {
            ends.correct(&mut wall, at(steady, year + steady));
        }
        assert_eq!(ends.next(), Some(UnixMs(3 * HOUR)));
        // Set back, it makes nothing last longer.
        for steady in [HOUR + 2 * MINUTE, 2 * HOUR + 2 * MINUTE] {
            ends.correct(&mut wall, at(steady, steady));
        }
        assert_eq!(ends.next(), Some(UnixMs(3 * HOUR)));
    }
}
