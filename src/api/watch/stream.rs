//! One watcher: everything or what it missed, then each batch of the feed.
//!
//! A watcher keeps places and references, and the text of one small event. Whatever is larger is made while it is sent, one event of a few
//! services after the other; only the last of them carries a cursor. One that falls too far behind begins again with everything.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::cursor::WatchCursor;
use super::events;
use super::seats::Seat;
use super::wanted::Wanted;
use crate::api::access::{Principal, Standing};
use crate::api::flight::{Flight, Permit};
use crate::api::parts::Parts;
use crate::catalog::snapshot::Order;
use crate::catalog::{Batch, Catalog, Entry, Epoch, Feed, FeedError, Mark, Pin, Snapshot};
use crate::model::name::ServiceKey;
use crate::model::service::{Replica, Service};
use crate::telemetry::server_events::{EventReceiver, ServerEvents};

/// Longest silence.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Services fill an event up to this many bytes; one alone may have more.
pub(super) const EVENT: usize = 16 * 1024;
/// Removals of one event.
const REMOVALS: usize = 128;
/// Bytes handed to the connection at once. With the frame around it that fits into the room that a connection has from the start, and
/// keeps: there may be ten thousand watchers.
const PIECE: usize = 8 * 1024 - 64;
/// What a watcher takes while it is sent more than one event at once, in bytes.
const UNDER_WAY: usize = 48 * 1024;

/// What a client does not know yet.
pub(super) enum Missed {
    Everything,
    /// Changes after what it has seen, and what was removed since.
    Since(Seen, Vec<(ServiceKey, Uuid)>),
}

/// Up to where a client has seen everything.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen {
    /// A revision of the record itself.
    Revision(u64),
    /// A place in this mirror's own order.
    Sequence(u64),
}

impl Seen {
    fn is_all_of(self, snapshot: &Snapshot) -> bool {
        match self {
            Self::Revision(seen) => seen >= snapshot.revision(),
            Self::Sequence(seen) => seen >= snapshot.sequence(),
        }
    }

    fn holds(self, service: &Service) -> bool {
        match self {
            Self::Revision(seen) => seen >= service.revision,
            Self::Sequence(seen) => seen >= service.sequence,
        }
    }
}

/// What is being sent, event by event.
enum Stage {
    /// What was sent is all there is.
    Live,
    /// Everything, or what was missed.
    Snapshot(Box<Walk>),
    /// One commit.
    Batch(Box<Rest>),
    /// The last event was sent.
    Over,
}

/// What ends a watcher's silence.
enum Next {
    Secrets,
    ServerEvents(Arc<ServerEvents>),
    Batch(Result<Arc<Batch>, FeedError>),
}

/// Resolves when the secrets have changed; never where no token was needed.
async fn changed(standing: &mut Option<Standing>) {
    match standing {
        Some(standing) => standing.changed().await,
        None => std::future::pending().await,
    }
}

/// A way through a snapshot.
struct Walk {
    snapshot: Arc<Snapshot>,
    pin: Pin,
    after: Option<Order>,
    first: bool,
    /// Only what is newer than that; else everything.
    since: Option<Seen>,
    /// What was removed since.
    removed: std::vec::IntoIter<(ServiceKey, Uuid)>,
    permit: Option<Permit>,
}

/// A way through a commit.
struct Rest {
    batch: Arc<Batch>,
    pin: Pin,
    /// Places in its two lists.
    removed: usize,
    upserts: usize,
    permit: Option<Permit>,
}

/// What a watcher is made of.
pub(super) struct Watched {
    pub(super) catalog: Arc<Catalog>,
    pub(super) flight: Arc<Flight>,
    pub(super) feed: Feed,
    pub(super) told: EventReceiver,
    pub(super) epoch: Epoch,
    /// Whose order of changes it is, in a mirror.
    pub(super) replica: Option<Replica>,
    pub(super) who: Principal,
    /// The token that opened it, where one was needed.
    pub(super) standing: Option<Standing>,
    pub(super) wanted: Wanted,
}

struct Watcher {
    of: Watched,
    _seat: Seat,
    /// Whether the watcher sees all there is, so that batches need not be looked through.
    sees_all: bool,
    /// What is left of the event under way.
    event: Parts,
    stage: Stage,
}

/// The events, until the process stops or the client goes.
pub(super) fn stream(
    of: Watched,
    seat: Seat,
    snapshot: Arc<Snapshot>,
    pin: Pin,
    missed: Missed,
) -> BoxStream<'static, Bytes> {
    let sees_all = of.wanted.is_everything(&of.who);
    let mut watcher = Watcher { of, _seat: seat, sees_all, event: Parts::default(), stage: Stage::Live };
    let (since, removed) = match missed {
        Missed::Everything => (None, Vec::new()),
        Missed::Since(seen, mut removed) => {
            removed.retain(|(key, id)| watcher.sees(key) && snapshot.by_id(id).is_none());
            (Some(seen), removed)
        }
    };
    let walk = Walk { snapshot, pin, after: None, first: true, since, removed: removed.into_iter(), permit: None };
    watcher.stage = Stage::Snapshot(Box::new(walk));
    let first = futures::stream::once(async { events::RETRY });
    let rest = unfold(watcher, |mut watcher| async move {
        let bytes = watcher.next().await?;
        Some((bytes, watcher))
    });
    first.chain(rest).boxed()
}

/// Bytes of all that is `wanted` and `who` sees, or of what is newer than that.
pub(super) fn size(snapshot: &Snapshot, who: &Principal, wanted: &Wanted, since: Option<Seen>) -> usize {
    let all = wanted.is_everything(who);
    let seen = newer(snapshot, wanted, None, since);
    seen.filter(|entry| all || wanted.covers(who, &entry.service().key)).map(|entry| entry.json_len()).sum()
}

/// What may be wanted and is newer than that, or everything that may be wanted.
fn newer<'a>(
    snapshot: &'a Snapshot,
    wanted: &'a Wanted,
    after: Option<Order>,
    since: Option<Seen>,
) -> impl Iterator<Item = &'a Arc<Entry>> {
    // Who comes back at once has missed nothing: then there is nothing to look through.
    let any = since.is_none_or(|since| !since.is_all_of(snapshot));
    let all = any.then(|| wanted.among(snapshot, after)).into_iter().flatten();
    all.filter(move |entry| since.is_none_or(|since| !since.holds(entry.service())))
}

impl Watcher {
    /// The next piece.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(piece) = self.event.pull(PIECE) {
                return Some(piece);
            }
            if let Some(end) = self.end() {
                self.event = end;
                continue;
            }
            self.event = match std::mem::replace(&mut self.stage, Stage::Live) {
                Stage::Over => return None,
                Stage::Live => self.live().await?,
                Stage::Snapshot(walk) => self.walk(walk).await?,
                Stage::Batch(rest) => self.rest(rest).await?,
            };
        }
    }

    /// The last event, once the token that opened the watch counts no more.
    fn end(&mut self) -> Option<Parts> {
        if matches!(self.stage, Stage::Over) {
            return None;
        }
        let why = self.of.standing.as_mut()?.ended()?;
        self.stage = Stage::Over;
        Some(Parts::of(events::ended(why)))
    }

    /// The next event of a snapshot.
    async fn walk(&mut self, mut walk: Box<Walk>) -> Option<Parts> {
        if walk.pin.is_over() {
            self.begin_again();
            return Some(Parts::default());
        }
        let removed: Vec<_> = walk.removed.by_ref().take(REMOVALS).collect();
        let (entries, more) = match walk.removed.len() {
            0 => self.some_of(&walk),
            _ => (Vec::new(), true),
        };
        walk.after = entries.last().map(|entry| (entry.service().registered_at, entry.service().id)).or(walk.after);
        let cursor = (!more).then(|| self.cursor(walk.snapshot.revision(), walk.snapshot.sequence()));
        let event = match walk.since {
            None => events::snapshot(&entries, walk.first, cursor.as_deref()),
            Some(_) => events::change(&entries, &removed, cursor.as_deref()),
        };
        walk.first = false;
        if more {
            self.permit(&mut walk.permit).await?;
            self.stage = Stage::Snapshot(walk);
        }
        Some(event)
    }

    /// The services of a snapshot's next event, and whether more follow.
    fn some_of(&self, walk: &Walk) -> (Vec<Arc<Entry>>, bool) {
        let seen = newer(&walk.snapshot, &self.of.wanted, walk.after, walk.since)
            .filter(|entry| self.sees(&entry.service().key));
        let mut seen = seen.peekable();
        let mut bytes = 0;
        let mut entries = Vec::new();
        while let Some(entry) = seen.next_if(|_| bytes < EVENT) {
            bytes += entry.json_len();
            entries.push(Arc::clone(entry));
        }
        (entries, seen.peek().is_some())
    }

    /// The next event of a commit, as far as the watcher sees it.
    async fn rest(&mut self, mut rest: Box<Rest>) -> Option<Parts> {
        if rest.pin.is_over() {
            self.begin_again();
            return Some(Parts::default());
        }
        let (removed, entries, more) = self.some_of_batch(&mut rest);
        let cursor = (!more).then(|| self.cursor(rest.batch.revision, rest.batch.sequence));
        let event = events::change(&entries, &removed, cursor.as_deref());
        if more {
            self.permit(&mut rest.permit).await?;
            self.stage = Stage::Batch(rest);
        }
        Some(event)
    }

    /// Removals and services of a commit's next event, and whether more follow.
    fn some_of_batch(&self, rest: &mut Rest) -> (Vec<(ServiceKey, Uuid)>, Vec<Arc<Entry>>, bool) {
        let (mut removed, mut entries) = (Vec::new(), Vec::new());
        let gone = rest.batch.removed.iter().enumerate().skip(rest.removed);
        let mut gone = gone.filter(|(_, (key, _))| self.sees(key)).peekable();
        while let Some((place, gone)) = gone.next_if(|_| removed.len() < REMOVALS) {
            removed.push(gone.clone());
            rest.removed = place + 1;
        }
        if gone.peek().is_some() {
            return (removed, entries, true);
        }
        let seen = rest.batch.upserts.iter().enumerate().skip(rest.upserts);
        let mut seen = seen.filter(|(_, entry)| self.sees(&entry.service().key)).peekable();
        let mut bytes = 0;
        while let Some((place, entry)) = seen.next_if(|_| bytes < EVENT) {
            bytes += entry.json_len();
            entries.push(Arc::clone(entry));
            rest.upserts = place + 1;
        }
        let more = seen.peek().is_some();
        (removed, entries, more)
    }

    /// Waits for the memory that more than one event takes.
    async fn permit(&self, permit: &mut Option<Permit>) -> Option<()> {
        if permit.is_none() {
            *permit = Some(self.of.flight.wait(self.of.who.client, UNDER_WAY).await?);
        }
        Some(())
    }

    /// What happens next; no part of it where more than one event is to be sent.
    async fn live(&mut self) -> Option<Parts> {
        let silent = Instant::now() + HEARTBEAT;
        loop {
            let expires = self.of.standing.as_ref().map(|token| Instant::now() + token.remaining());
            let (standing, told, feed) = (&mut self.of.standing, &mut self.of.told, &mut self.of.feed);
            let next = async {
                tokio::select! {
                    // Rare things first, so that the feed waits for them seldom.
                    biased;
                    () = changed(standing) => Next::Secrets,
                    told = told.next() => Next::ServerEvents(told),
                    batch = feed.next() => Next::Batch(batch),
                }
            };
            let next = timeout_at(expires.map_or(silent, |at| at.min(silent)), next).await;
            if let Some(end) = self.end() {
                return Some(end);
            }
            let batch = match next {
                Err(_) if Instant::now() >= silent => return Some(Parts::of(events::HEARTBEAT)),
                Err(_) | Ok(Next::Secrets) => continue,
                Ok(Next::ServerEvents(told)) => return Some(Parts::of(events::told(&told))),
                Ok(Next::Batch(batch)) => batch,
            };
            match batch {
                Ok(batch) => {
                    if let Some(event) = self.begin(batch) {
                        return Some(event);
                    }
                }
                Err(FeedError::Lagged) => {
                    self.begin_again();
                    return Some(Parts::default());
                }
                Err(FeedError::Ended) => return None,
            }
        }
    }

    /// The event of a small commit, which those who see all share; of another nothing yet, or none where nothing of it is seen.
    fn begin(&mut self, batch: Arc<Batch>) -> Option<Parts> {
        if self.sees_all && is_small(&batch) {
            let cursor = || self.cursor(batch.revision, batch.sequence);
            let render = || events::change(&batch.upserts, &batch.removed, Some(&cursor())).into_bytes();
            return Some(Parts::of(batch.rendered.get_or_init(render).clone()));
        }
        let sees_any = batch.upserts.iter().any(|entry| self.sees(&entry.service().key))
            || batch.removed.iter().any(|(key, _)| self.sees(key));
        sees_any.then(|| {
            let pin = self.of.catalog.pin();
            self.stage = Stage::Batch(Box::new(Rest { batch, pin, removed: 0, upserts: 0, permit: None }));
            Parts::default()
        })
    }

    /// Takes everything again: too much happened since.
    fn begin_again(&mut self) {
        self.of.flight.gave_up("watch_behind");
        let pin = self.of.catalog.pin();
        let (snapshot, feed) = self.of.catalog.subscribe();
        self.of.feed = feed;
        let removed = Vec::new().into_iter();
        let walk = Walk { snapshot, pin, after: None, first: true, since: None, removed, permit: None };
        self.stage = Stage::Snapshot(Box::new(walk));
    }

    /// Where a watch goes on.
    fn cursor(&self, revision: u64, sequence: u64) -> String {
        let mark = self.of.replica.map(|replica| Mark { replica, sequence });
        WatchCursor::text(&self.of.epoch, revision, mark)
    }

    fn sees(&self, key: &ServiceKey) -> bool {
        self.sees_all || self.of.wanted.covers(&self.of.who, key)
    }
}

/// Whether one event holds it all.
fn is_small(batch: &Batch) -> bool {
    let bytes: usize = batch.upserts.iter().take(EVENT / 256).map(|entry| entry.json_len()).sum();
    bytes <= EVENT && batch.upserts.len() <= EVENT / 256 && batch.removed.len() <= REMOVALS
}
