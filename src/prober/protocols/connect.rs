//! Connects to the first address that answers
//! ([RFC 8305 §5](https://www.rfc-editor.org/rfc/rfc8305#section-5)): the next one is tried when one fails, or stays silent for a moment,
//! while the earlier attempts continue. Of these, only a few run at once: then the oldest gives way.

use std::iter::Enumerate;
use std::net::{IpAddr, SocketAddr};
use std::slice::Iter;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, select_all};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::tcp::{self, Stream};
use super::time_wait::TimeWait;
use super::trace::{Ending, Trace};
use crate::model::outcome::{Reason, Verdict};

/// How long one address may stay silent before the next one is tried alongside it, where the time allows.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Most attempts of one probe at once.
const AT_ONCE: usize = 4;
/// How long one address may stay silent where no more attempts may run at once and others wait for their turn: longer than Linux takes to
/// send a lost SYN again.
const LONGEST_TURN: Duration = Duration::from_millis(1500);

/// Where a probe connects to.
pub(crate) struct Route<'a> {
    /// The addresses to try, in order, at least one.
    pub(crate) addresses: &'a [IpAddr],
    pub(crate) port: u16,
    pub(crate) deadline: Instant,
    /// Whether an address beyond the first may be dialled now.
    pub(crate) may_dial: &'a (dyn Fn(IpAddr) -> bool + Sync),
}

impl Route<'_> {
    async fn dial(&self, ip: IpAddr, time_wait: &Arc<TimeWait>) -> (SocketAddr, Result<Stream, Ending>) {
        let address = SocketAddr::new(ip, self.port);
        let opened = tcp::connect(address, Arc::clone(time_wait)).await;
        (address, opened.map_err(|error| tcp::judge(&error, address)))
    }

    /// The part of the time that remains for each address, if `left` wait for their turn.
    fn share(&self, left: usize) -> Duration {
        let remains = self.deadline.saturating_duration_since(Instant::now());
        remains / u32::try_from(left + 1).unwrap_or(u32::MAX)
    }

    /// When the next address is tried alongside a silent one, if `left` wait: early enough for all of them.
    fn next_at(&self, left: usize) -> Instant {
        Instant::now() + self.share(left).min(ATTEMPT_DELAY)
    }
}

/// Dials the addresses until one answers. `spare` has a permit for each connection beside a probe's first one.
///
/// # Errors
/// What the failures add up to.
pub(crate) async fn first(
    route: &Route<'_>,
    time_wait: &Arc<TimeWait>,
    spare: &Semaphore,
    trace: &mut Trace,
) -> Result<Stream, Ending> {
    let [only] = route.addresses else { return Box::pin(race(route, time_wait, spare, trace)).await };
    trace.dialling(SocketAddr::new(*only, route.port));
    route.dial(*only, time_wait).await.1
}

async fn race(
    route: &Route<'_>,
    time_wait: &Arc<TimeWait>,
    spare: &Semaphore,
    trace: &mut Trace,
) -> Result<Stream, Ending> {
    let own = Semaphore::new(1);
    let (left, running, failures) = (route.addresses.iter().enumerate(), Vec::new(), Failures::default());
    let mut race = Race { route, time_wait, own: &own, spare, left, running, failures };
    loop {
        race.start_next(trace);
        if race.running.is_empty() {
            return Err(race.failures.sum_up(route.addresses.len(), trace));
        }
        let ended = timeout_at(race.next_turn(), race.ended()).await;
        match ended {
            Ok((address, Ok(stream))) => {
                trace.dialling(address);
                return Ok(stream);
            }
            Ok((_, Err(ending))) if ending.reason == Reason::NoDescriptors => return Err(ending),
            Ok((address, Err(ending))) => race.failures.add(address, ending),
            Err(_) if race.left.len() == 0 => return Err(race.failures.silent(route.addresses.len())),
            Err(_) => {}
        }
    }
}

/// A connection that is being opened.
struct Attempt<'a> {
    dial: BoxFuture<'a, (SocketAddr, Result<Stream, Ending>)>,
    began: Instant,
    /// Its part of the time that remained then.
    share: Duration,
    permit: SemaphorePermit<'a>,
}

impl Attempt<'_> {
    /// When it gives way to another one, if only so many may run at once.
    fn turn_ends(&self, at_once: usize) -> Instant {
        let at_once = u32::try_from(at_once).unwrap_or(u32::MAX);
        self.began + self.share.saturating_mul(at_once).min(LONGEST_TURN)
    }
}

/// Several addresses being dialled.
struct Race<'a> {
    route: &'a Route<'a>,
    time_wait: &'a Arc<TimeWait>,
    /// The permit for the connection that a probe may always open.
    own: &'a Semaphore,
    spare: &'a Semaphore,
    /// The addresses that wait for their turn.
    left: Enumerate<Iter<'a, IpAddr>>,
    /// Oldest first.
    running: Vec<Attempt<'a>>,
    failures: Failures,
}

impl<'a> Race<'a> {
    /// Starts the next attempt, unless all that may run at once do and none of them has to give way yet.
    fn start_next(&mut self, trace: &mut Trace) {
        let permit = self.permit();
        if permit.is_none() && self.turn_ends() > Instant::now() {
            return;
        }
        let next = self.left.by_ref().find(|(n, ip)| *n == 0 || (self.route.may_dial)(**ip));
        let Some((_, ip)) = next else { return };
        let permit = permit.unwrap_or_else(|| {
            self.failures.gave_way = true;
            self.running.remove(0).permit
        });
        trace.dialling(SocketAddr::new(*ip, self.route.port));
        let dial = self.route.dial(*ip, self.time_wait).boxed();
        let share = self.route.share(self.left.len());
        self.running.push(Attempt { dial, began: Instant::now(), share, permit });
    }

    /// The permit for one more attempt at once.
    fn permit(&self) -> Option<SemaphorePermit<'a>> {
        if self.running.len() >= AT_ONCE {
            return None;
        }
        self.own.try_acquire().or_else(|_| self.spare.try_acquire()).ok()
    }

    /// When the next address has its turn. The last attempts have all the time that is left.
    fn next_turn(&self) -> Instant {
        if self.left.len() == 0 {
            return self.route.deadline;
        }
        let next = self.route.next_at(self.left.len());
        if self.permit().is_some() { next } else { next.max(self.turn_ends()) }
    }

    /// When the oldest attempt gives way.
    fn turn_ends(&self) -> Instant {
        self.running.first().map_or_else(Instant::now, |oldest| oldest.turn_ends(self.running.len()))
    }

    /// The next attempt that ends. There must be one.
    async fn ended(&mut self) -> (SocketAddr, Result<Stream, Ending>) {
        let (ended, at, _) = select_all(self.running.iter_mut().map(|attempt| &mut attempt.dial)).await;
        drop(self.running.remove(at));
        ended
    }
}

/// The failures so far.
#[derive(Default)]
struct Failures {
    first: Option<(SocketAddr, Ending)>,
    more: usize,
    /// Whether an address was silent until others had to be tried.
    gave_way: bool,
}

impl Failures {
    /// Keeps the first conclusive failure: an address family that this machine lacks says nothing about the target.
    fn add(&mut self, address: SocketAddr, ending: Ending) {
        match &self.first {
            Some((_, kept)) if kept.verdict == Verdict::Fail || ending.verdict != Verdict::Fail => {}
            _ => self.first = Some((address, ending)),
        }
        self.more += 1;
    }

    /// Every address has failed, or was silent for as long as the others left it time.
    fn sum_up(self, addresses: usize, trace: &mut Trace) -> Ending {
        if self.gave_way { self.silent(addresses) } else { self.all(trace) }
    }

    fn all(self, trace: &mut Trace) -> Ending {
        let Some((address, mut ending)) = self.first else {
            return Ending::inconclusive(Reason::Cancelled, "no address was left to dial");
        };
        trace.dialling(address);
        match self.more - 1 {
            0 => {}
            1 => ending.message.push_str("; the other address of this name fails, too"),
            more => ending.message = format!("{}; the {more} other addresses of this name fail, too", ending.message),
        }
        ending
    }

    fn silent(self, tried: usize) -> Ending {
        let message = match self.more {
            0 => format!("none of the name's {tried} addresses answered in time"),
            failed => format!("of the name's {tried} addresses {failed} failed, and the others did not answer in time"),
        };
        Ending::fail(Reason::ConnectTimeout, message)
    }
}
