//! The connection to the first address that answers
//! ([RFC 8305 §5](https://www.rfc-editor.org/rfc/rfc8305#section-5)): the next one is tried when one fails, or stays silent for a moment,
//! while those before go on.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, timeout_at};

use crate::model::outcome::{Reason, Verdict};
use crate::prober::protocols::tcp::{self, Stream};
use crate::prober::protocols::time_wait::Closing;
use crate::prober::protocols::trace::{Ending, Trace};

/// How long one address is waited for before the next one is tried beside it, where the time allows.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// What a connection needs beside its addresses.
pub(crate) struct Way<'a> {
    pub(crate) port: u16,
    pub(crate) deadline: Instant,
    pub(crate) closing: &'a Arc<Closing>,
    /// Whether an address beyond the first may be dialled now.
    pub(crate) may: &'a (dyn Fn(IpAddr) -> bool + Sync),
}

impl Way<'_> {
    async fn dial(&self, ip: IpAddr) -> (SocketAddr, Result<Stream, Ending>) {
        let address = SocketAddr::new(ip, self.port);
        let opened = tcp::connect(address, self.closing.clone()).await;
        (address, opened.map_err(|error| tcp::judge(&error, address)))
    }

    /// When the next address is tried beside one that is silent, if `left` remain: early enough for all of them.
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
pub(crate) async fn first(addresses: &[IpAddr], way: &Way<'_>, trace: &mut Trace) -> Result<Stream, Ending> {
    let [only] = addresses else { return Box::pin(race(addresses, way, trace)).await };
    trace.dialling(SocketAddr::new(*only, way.port));
    way.dial(*only).await.1
}

async fn race(addresses: &[IpAddr], way: &Way<'_>, trace: &mut Trace) -> Result<Stream, Ending> {
    let mut left = addresses.iter().enumerate();
    let mut running = FuturesUnordered::new();
    let mut failures = Failures::default();
    loop {
        match left.by_ref().find(|(n, ip)| *n == 0 || (way.may)(**ip)) {
            Some((_, ip)) => {
                trace.dialling(SocketAddr::new(*ip, way.port));
                running.push(way.dial(*ip));
            }
            None if running.is_empty() => return Err(failures.all(trace)),
            None => {}
        }
        // the last ones have all the time that there is
        let until = if left.len() > 0 { way.next_at(left.len()) } else { way.deadline };
        match timeout_at(until, running.next()).await {
            Ok(Some((address, Ok(stream)))) => {
                trace.dialling(address);
                return Ok(stream);
            }
            Ok(Some((_, Err(ending)))) if ending.reason == Reason::NoDescriptors => return Err(ending),
            Ok(Some((address, Err(ending)))) => failures.add(address, ending),
            Err(_) if left.len() == 0 => return Err(failures.silent(addresses.len())),
            Ok(None) | Err(_) => {}
        }
    }
}

/// What went wrong so far.
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
