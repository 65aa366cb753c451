//! The outages of all services within a window, as they are listed.
//!
//! In: outages as the source sends them, and which services the query lists. Out: rows in an order. They are listed again when anything of
//! that changed, never for a key that only moves.

use std::cmp::{Ordering, Reverse};
use std::time::Duration;

use uuid::Uuid;

use super::data::Outage;
use super::index::{Index, Query};
use super::window::Window;
use crate::model::time::UnixMs;

/// Most outages that are kept.
pub const KEPT_OUTAGES: usize = 2000;
/// Shortest time between two lists because services changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// An order of the outages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutageOrder {
    /// The newest start first.
    #[default]
    Newest,
    /// The longest first.
    Longest,
    /// By namespace and name.
    Name,
    /// By cause.
    Cause,
    /// The most instances first.
    Instances,
}

impl OutageOrder {
    /// Every order.
    pub const ALL: [Self; 5] = [Self::Newest, Self::Longest, Self::Name, Self::Cause, Self::Instances];

    /// Its name in the picker.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Newest => "newest first",
            Self::Longest => "longest first",
            Self::Name => "name",
            Self::Cause => "cause",
            Self::Instances => "instances",
        }
    }

    /// The order `steps` further, wrapping around.
    #[must_use]
    pub fn after(self, steps: isize) -> Self {
        let at = Self::ALL.iter().position(|order| *order == self).unwrap_or_default();
        let len = isize::try_from(Self::ALL.len()).unwrap_or(1);
        let next = (isize::try_from(at).unwrap_or_default() + steps).rem_euclid(len);
        Self::ALL[usize::try_from(next).unwrap_or_default()]
    }

    /// Equal ones follow by their start, the newest first.
    fn compare(self, a: &Outage, b: &Outage) -> Ordering {
        match self {
            Self::Newest => Ordering::Equal,
            Self::Longest => b.seconds.total_cmp(&a.seconds),
            Self::Name => (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)),
            Self::Cause => a.reason.cmp(&b.reason),
            Self::Instances => b.instance_count.cmp(&a.instance_count),
        }
    }
}

/// Outages as a source sends them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OutageList {
    /// The newest start first, at most [`KEPT_OUTAGES`].
    pub outages: Vec<Outage>,
    /// Whether there are more.
    pub more: bool,
    /// From when on there is a record.
    pub since: Option<UnixMs>,
}

/// What the list was made of.
type MadeOf = (u64, u64, Query, OutageOrder, bool, UnixMs);

/// The outages of a window.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outages {
    /// The window.
    pub window: Window,
    /// The order.
    pub order: OutageOrder,
    /// Whether it is reversed.
    pub inverted: bool,
    /// When they were last requested.
    pub requested: UnixMs,
    /// Whether the answer to that is still awaited.
    pub awaited: bool,
    /// How many faults there had been then, see [`Index::faults`].
    pub faults: u64,
    /// Why there are none, in words.
    pub refused: Option<Box<str>>,
    /// Those of the window; none before they arrived.
    known: Option<OutageList>,
    arrivals: u64,
    arrived: UnixMs,
    listed: Vec<usize>,
    pub(super) made_of: Option<MadeOf>,
}

impl Outages {
    /// Another window: its outages are to be requested.
    pub fn show(&mut self, window: Window) {
        if self.window != window {
            (self.window, self.known, self.refused) = (window, None, None);
            (self.requested, self.awaited) = (UnixMs(0), false);
            (self.listed, self.made_of) = (Vec::new(), None);
        }
    }

    /// Takes in the answer for a window.
    pub fn arrived(&mut self, window: Window, answer: Result<OutageList, Box<str>>, now: UnixMs) {
        if window != self.window {
            return;
        }
        self.awaited = false;
        match answer {
            Ok(mut list) => {
                list.more |= list.outages.len() > KEPT_OUTAGES;
                list.outages.truncate(KEPT_OUTAGES);
                (self.known, self.refused) = (Some(list), None);
                self.arrivals += 1;
                self.arrived = now;
            }
            Err(why) => self.refused = Some(why),
        }
    }

    /// Lists again what the query lists, if anything of that changed.
    pub fn refresh(&mut self, index: &Index, now: UnixMs) {
        let Some(known) = &self.known else { return };
        let (query, version) = (index.query(), index.version());
        let is_current = self.made_of.as_ref().is_some_and(|(arrivals, of, with, order, inverted, at)| {
            let same = (*arrivals, *order, *inverted) == (self.arrivals, self.order, self.inverted) && with == query;
            same && (*of == version || now.since(*at) < INTERVAL)
        });
        if is_current {
            return;
        }
        let mut listed: Vec<usize> =
            (0..known.outages.len()).filter(|n| index.lists_outage(&known.outages[*n], now)).collect();
        listed.sort_by(|a, b| {
            let (a, b) = (&known.outages[*a], &known.outages[*b]);
            let order = self.order.compare(a, b).then_with(|| Reverse(a.from).cmp(&Reverse(b.from)));
            if self.inverted { order.reverse() } else { order }
        });
        self.listed = listed;
        self.made_of = Some((self.arrivals, version, query.clone(), self.order, self.inverted, now));
    }

    /// The rows, in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &Outage> {
        let all = self.known.as_ref().map_or(&[][..], |known| &known.outages);
        self.listed.iter().map(move |n| &all[*n])
    }

    /// A row.
    pub fn row(&self, at: usize) -> Option<&Outage> {
        self.rows().nth(at)
    }

    /// Where the outage of a service that began then is listed.
    pub fn position(&self, service: Uuid, from: UnixMs) -> Option<usize> {
        self.rows().position(|outage| (outage.service, outage.from) == (service, from))
    }

    /// How long an outage lasts or lasted, in seconds: one that lasts goes on since the answer arrived.
    pub fn seconds(&self, outage: &Outage, now: UnixMs) -> f64 {
        let more = if outage.until.is_none() { now.since(self.arrived) } else { Duration::ZERO };
        outage.seconds + more.as_secs_f64()
    }

    /// What arrived; none before anything did.
    pub fn known(&self) -> Option<&OutageList> {
        self.known.as_ref()
    }
}
