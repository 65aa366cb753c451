//! Connects to the first address that answers
//! ([RFC 8305 §5](https://www.rfc-editor.org/rfc/rfc8305#section-5)): the next one is tried when one fails, or stays silent for a moment,
//! while the earlier attempts continue.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

use super::tcp::{self, Stream};
use super::time_wait::TimeWait;
use super::trace::{Ending, Trace};
use crate::model::outcome::{Reason, Verdict};

/// How long one address may stay silent before the next one is tried alongside it, where the time allows.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

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

    /// When the next address is tried alongside a silent one, if `left` remain: early enough for all of them.
    fn next_at(&self, left: usize) -> Instant {
        let now = Instant::now();
        let share = self.deadline.saturating_duration_since(now) / u32::try_from(left + 1).unwrap_or(u32::MAX);
        now + share.min(ATTEMPT_DELAY)
    }
}

/// Dials the addresses until one answers.
///
/// # Errors
/// What the failures add up to.
pub(crate) async fn first(route: &Route<'_>, time_wait: &Arc<TimeWait>, trace: &mut Trace) -> Result<Stream, Ending> {
    let [only] = route.addresses else { return Box::pin(race(route, time_wait, trace)).await };
    trace.dialling(SocketAddr::new(*only, route.port));
    route.dial(*only, time_wait).await.1
}

async fn race(route: &Route<'_>, time_wait: &Arc<TimeWait>, trace: &mut Trace) -> Result<Stream, Ending> {
    let mut left = route.addresses.iter().enumerate();
    let mut running = FuturesUnordered::new();
    let mut failures = Failures::default();
    loop {
        match left.by_ref().find(|(n, ip)| *n == 0 || (route.may_dial)(**ip)) {
            Some((_, ip)) => {
                trace.dialling(SocketAddr::new(*ip, route.port));
                running.push(route.dial(*ip, time_wait));
            }
            None if running.is_empty() => return Err(failures.all(trace)),
            None => {}
        }
        // The last attempts have all the time that is left.
        let until = if left.len() > 0 { route.next_at(left.len()) } else { route.deadline };
        match timeout_at(until, running.next()).await {
            Ok(Some((address, Ok(stream)))) => {
                trace.dialling(address);
                return Ok(stream);
            }
            Ok(Some((_, Err(ending)))) if ending.reason == Reason::NoDescriptors => return Err(ending),
            Ok(Some((address, Err(ending)))) => failures.add(address, ending),
            Err(_) if left.len() == 0 => return Err(failures.silent(route.addresses.len())),
            Ok(None) | Err(_) => {}
        }
    }
}

/// The failures so far.
#[derive(Default)]
struct Failures {
    first: Option<(SocketAddr, Ending)>,
    more: usize,
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

    fn all(self, trace: &mut Trace) -> Ending {
        let Some((address, mut ending)) = self.first else {
            return Ending::inconclusive(Reason::Cancelled, "no address was left to dial");
        };
        trace.dialling(address);
        match self.more - 1 {
            0 => {}
            1 => ending.message.push_str("; the name's other address fails too"),
            more => ending.message = format!("{}; the name's {more} other addresses fail too", ending.message),
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
