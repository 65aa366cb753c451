//! One watcher: its backlog, then each batch of the feed.
//!
//! A watcher keeps positions and references, and the text of one small event. Anything larger is rendered while it is sent, as events of a
//! few services each; only the last of them has a cursor. A watcher that falls too far behind starts over with everything.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::cursor::WatchCursor;
use super::events::{self, Shown};
use super::filter::WatchFilter;
use super::limiter::WatchPermit;
use crate::api::access::{OwnersSeen, Principal, TokenValidity};
use crate::api::http::in_flight::{InFlight, Permit};
use crate::api::http::segments::Segments;
use crate::catalog::snapshot::Order;
use crate::catalog::{Batch, Catalog, Entry, Epoch, Feed, FeedError, Mark, Pin, Snapshot};
use crate::model::name::ServiceKey;
use crate::model::replica::Replica;
use crate::model::service::Service;
use crate::telemetry::server_events::{EventReceiver, ServerEvents};

/// Longest silence.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Longest time between two looks at the token: a timer does not count the time that the machine is suspended.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Most removals of one event.
const MAX_REMOVALS: usize = 128;
/// Bytes handed to the connection at once. With the frame around it a piece fits into the buffer that a connection has from the start and
/// keeps: there may be ten thousand watchers.
const PIECE: usize = 8 * 1024 - 64;
/// Memory of a watcher while more than one event is sent, in bytes.
const IN_FLIGHT_BYTES: usize = 48 * 1024;

/// What a client does not know yet.
pub(in crate::api) enum Backlog {
    Everything,
    /// Changes after this position, and what was removed since.
    Since(Position, Vec<(ServiceKey, Uuid)>),
}

/// Up to where a client knows everything.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) enum Position {
    /// A revision of the record itself.
    Revision(u64),
    /// A position in this mirror's own order.
    Sequence(u64),
}

impl Position {
    fn includes_all_of(self, snapshot: &Snapshot) -> bool {
        match self {
            Self::Revision(position) => position >= snapshot.revision(),
            Self::Sequence(position) => position >= snapshot.sequence(),
        }
    }

    fn includes(self, service: &Service) -> bool {
        match self {
            Self::Revision(position) => position >= service.revision,
            Self::Sequence(position) => position >= service.sequence,
        }
    }
}

/// What is being sent, event by event.
enum Stage {
    /// Everything known was sent.
    Live,
    /// The backlog.
    Snapshot(Box<SnapshotScan>),
    /// One commit.
    Batch(Box<BatchScan>),
    /// The last event was sent.
    Over,
}

/// What ends a watcher's silence.
enum Next {
    SecretsChanged,
    ServerEvents(Arc<ServerEvents>),
    Batch(Result<Arc<Batch>, FeedError>),
}

/// Resolves when the secrets have changed; never without a token.
async fn secrets_changed(validity: &mut Option<TokenValidity>) {
    match validity {
        Some(validity) => validity.changed().await,
        None => std::future::pending().await,
    }
}

/// Progress through a snapshot.
struct SnapshotScan {
    snapshot: Arc<Snapshot>,
    pin: Pin,
    after: Option<Order>,
    first: bool,
    /// Only what is newer than that; else everything.
    since: Option<Position>,
    /// What was removed since.
    removed: std::vec::IntoIter<(ServiceKey, Uuid)>,
    permit: Option<Permit>,
}

/// Progress through a commit.
struct BatchScan {
    batch: Arc<Batch>,
    pin: Pin,
    /// Positions in its two lists.
    removed: usize,
    upserts: usize,
    permit: Option<Permit>,
}

/// What a watcher reads from, and what it may show.
pub(in crate::api) struct Watcher {
    pub(in crate::api) catalog: Arc<Catalog>,
    pub(in crate::api) in_flight: Arc<InFlight>,
    pub(in crate::api) feed: Feed,
    pub(in crate::api) server_events: EventReceiver,
    pub(in crate::api) epoch: Epoch,
    /// Whose sequence cursors carry, in a mirror.
    pub(in crate::api) replica: Option<Replica>,
    pub(in crate::api) principal: Principal,
    /// How long the token that opened it stays valid, if there was one.
    pub(in crate::api) validity: Option<TokenValidity>,
    pub(in crate::api) filter: WatchFilter,
}

struct Stream {
    watcher: Watcher,
    _permit: WatchPermit,
    /// Whether the watcher sees everything, so that batches need no filter.
    sees_all: bool,
    /// What is left of the current event.
    event: Segments,
    /// Whether some of the current event was sent, and some is left.
    begun: bool,
    stage: Stage,
}

/// The bytes of events, until the server stops or the client disconnects.
pub(in crate::api) fn stream(
    watcher: Watcher,
    permit: WatchPermit,
    snapshot: Arc<Snapshot>,
    pin: Pin,
    backlog: Backlog,
) -> BoxStream<'static, Bytes> {
    let sees_all = watcher.filter.is_everything(&watcher.principal);
    let mut stream =
        Stream { watcher, _permit: permit, sees_all, event: Segments::default(), begun: false, stage: Stage::Live };
    let (since, removed) = match backlog {
        Backlog::Everything => (None, Vec::new()),
        Backlog::Since(position, mut removed) => {
            removed.retain(|(key, id)| stream.sees(key) && snapshot.by_id(id).is_none());
            (Some(position), removed)
        }
    };
    let scan =
        SnapshotScan { snapshot, pin, after: None, first: true, since, removed: removed.into_iter(), permit: None };
    stream.stage = Stage::Snapshot(Box::new(scan));
    let first = futures::stream::once(async { events::RETRY });
    let rest = unfold(stream, |mut stream| async move {
        let bytes = stream.next().await?;
        Some((bytes, stream))
    });
    first.chain(rest).boxed()
}

/// The size of the backlog that the caller gets: of everything, or of what is newer than `since`.
pub(in crate::api) fn backlog_bytes(
    snapshot: &Snapshot,
    principal: &Principal,
    filter: &WatchFilter,
    since: Option<Position>,
) -> usize {
    let all = filter.is_everything(principal);
    let entries = newer(snapshot, filter, None, since);
    entries.filter(|entry| all || filter.covers(principal, &entry.service().key)).map(|entry| entry.json_len()).sum()
}

/// The candidates of the filter that are newer than `since`, or all.
fn newer<'a>(
    snapshot: &'a Snapshot,
    filter: &'a WatchFilter,
    after: Option<Order>,
    since: Option<Position>,
) -> impl Iterator<Item = &'a Arc<Entry>> {
    // A client that reconnects at once missed nothing: there is nothing to search.
    let any = since.is_none_or(|since| !since.includes_all_of(snapshot));
    let all = any.then(|| filter.candidates(snapshot, after)).into_iter().flatten();
    all.filter(move |entry| since.is_none_or(|since| !since.includes(entry.service())))
}

impl Stream {
    /// The next piece.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(end) = self.end() {
                self.event = end;
            }
            if let Some(piece) = self.event.pull(PIECE) {
                self.begun = self.event.len() > 0;
                return Some(piece);
            }
            self.event = match std::mem::replace(&mut self.stage, Stage::Live) {
                Stage::Over => return None,
                Stage::Live => self.live().await?,
                Stage::Snapshot(scan) => self.scan_snapshot(scan).await?,
                Stage::Batch(scan) => self.scan_batch(scan).await?,
            };
        }
    }

    /// The last event, once the token that opened the watch has become invalid; it takes the place of one that waits. In the middle of an
    /// event it is empty, since nothing else can follow there: the client continues from its cursor. A watch that needs no token goes on
    /// without owners, unless an event with them waits.
    fn end(&mut self) -> Option<Segments> {
        if matches!(self.stage, Stage::Over) {
            return None;
        }
        let end = self.watcher.validity.as_mut()?.ended()?;
        let open = self.watcher.principal.open_reads;
        if open {
            self.watcher.principal.lapse();
            self.watcher.validity = None;
            if self.event.len() == 0 {
                return None;
            }
        }
        self.stage = Stage::Over;
        Some(if open || self.begun { Segments::default() } else { Segments::of(events::token_end(end)) })
    }

    /// The next event of a snapshot.
    async fn scan_snapshot(&mut self, mut scan: Box<SnapshotScan>) -> Option<Segments> {
        if scan.pin.is_over() {
            self.start_over();
            return Some(Segments::default());
        }
        let removed: Vec<_> = scan.removed.by_ref().take(MAX_REMOVALS).collect();
        let (entries, more) = match scan.removed.len() {
            0 => self.next_entries(&scan),
            _ => (Vec::new(), true),
        };
        scan.after =
            entries.last().map(|(entry, _)| (entry.service().registered_at, entry.service().id)).or(scan.after);
        let cursor = (!more).then(|| self.cursor(scan.snapshot.revision(), scan.snapshot.sequence()));
        let event = match scan.since {
            None => events::snapshot(&entries, scan.first, cursor.as_deref()),
            Some(_) => events::change(&entries, &removed, cursor.as_deref()),
        };
        scan.first = false;
        if more {
            self.permit(&mut scan.permit).await?;
            self.stage = Stage::Snapshot(scan);
        }
        Some(event)
    }

    /// The services of a snapshot's next event, and whether more follow.
    fn next_entries(&self, scan: &SnapshotScan) -> (Vec<Shown>, bool) {
        let visible = newer(&scan.snapshot, &self.watcher.filter, scan.after, scan.since)
            .filter(|entry| self.sees(&entry.service().key));
        let mut visible = visible.peekable();
        let mut bytes = 0;
        let mut entries = Vec::new();
        while let Some(entry) = visible.next_if(|_| bytes < events::MAX_BYTES) {
            bytes += entry.json_len();
            entries.push(self.shown(entry));
        }
        (entries, visible.peek().is_some())
    }

    /// The next event of a commit, with what the watcher sees of it.
    async fn scan_batch(&mut self, mut scan: Box<BatchScan>) -> Option<Segments> {
        if scan.pin.is_over() {
            self.start_over();
            return Some(Segments::default());
        }
        let (removed, entries, more) = self.next_changes(&mut scan);
        let cursor = (!more).then(|| self.cursor(scan.batch.revision, scan.batch.sequence));
        let event = events::change(&entries, &removed, cursor.as_deref());
        if more {
            self.permit(&mut scan.permit).await?;
            self.stage = Stage::Batch(scan);
        }
        Some(event)
    }

    /// Removals and services of a commit's next event, and whether more follow.
    fn next_changes(&self, scan: &mut BatchScan) -> (Vec<(ServiceKey, Uuid)>, Vec<Shown>, bool) {
        let (mut removed, mut entries) = (Vec::new(), Vec::new());
        let removals = scan.batch.removed.iter().enumerate().skip(scan.removed);
        let mut removals = removals.filter(|(_, (key, _))| self.sees(key)).peekable();
        while let Some((position, removal)) = removals.next_if(|_| removed.len() < MAX_REMOVALS) {
            removed.push(removal.clone());
            scan.removed = position + 1;
        }
        if removals.peek().is_some() {
            return (removed, entries, true);
        }
        let upserts = scan.batch.upserts.iter().enumerate().skip(scan.upserts);
        let mut upserts = upserts.filter(|(_, entry)| self.sees(&entry.service().key)).peekable();
        let mut bytes = 0;
        while let Some((position, entry)) = upserts.next_if(|_| bytes < events::MAX_BYTES) {
            bytes += entry.json_len();
            entries.push(self.shown(entry));
            scan.upserts = position + 1;
        }
        let more = upserts.peek().is_some();
        (removed, entries, more)
    }

    /// Waits for the memory that more than one event takes, or for the token's end, which takes the place of these events.
    async fn permit(&mut self, permit: &mut Option<Permit>) -> Option<()> {
        if permit.is_none() {
            let Watcher { in_flight, principal, validity, .. } = &mut self.watcher;
            tokio::select! {
                free = in_flight.wait(principal.client, IN_FLIGHT_BYTES) => *permit = Some(free?),
                _ = TokenValidity::end(validity.as_mut(), LOOK_EVERY) => {}
            }
        }
        Some(())
    }

    /// The next event of the live feed; empty where a scan sends it as several.
    async fn live(&mut self) -> Option<Segments> {
        let silent = Instant::now() + KEEP_ALIVE;
        loop {
            let expires =
                self.watcher.validity.as_ref().map(|token| Instant::now() + token.remaining().min(LOOK_EVERY));
            let Watcher { validity, server_events, feed, .. } = &mut self.watcher;
            let next = async {
                tokio::select! {
                    // Rare events first, so that a busy feed does not starve them.
                    biased;
                    () = secrets_changed(validity) => Next::SecretsChanged,
                    events = server_events.next() => Next::ServerEvents(events),
                    batch = feed.next() => Next::Batch(batch),
                }
            };
            let next = timeout_at(expires.map_or(silent, |at| at.min(silent)), next).await;
            if let Some(end) = self.end() {
                return Some(end);
            }
            let batch = match next {
                Err(_) if Instant::now() >= silent => return Some(Segments::of(events::KEEP_ALIVE)),
                Err(_) | Ok(Next::SecretsChanged) => continue,
                Ok(Next::ServerEvents(recent)) => return Some(Segments::of(events::server(&recent))),
                Ok(Next::Batch(batch)) => batch,
            };
            match batch {
                Ok(batch) => {
                    if let Some(event) = self.begin(batch) {
                        return Some(event);
                    }
                }
                Err(FeedError::Lagged) => {
                    self.start_over();
                    return Some(Segments::default());
                }
                Err(FeedError::Ended) => return None,
            }
        }
    }

    /// The event of a small commit, which all watchers that see everything share, with or without owners; an empty one where a scan follows; none where the watcher
    /// sees nothing of the commit.
    fn begin(&mut self, batch: Arc<Batch>) -> Option<Segments> {
        let owners = self.watcher.principal.owners_seen();
        if self.sees_all && owners != OwnersSeen::Some && is_small(&batch) {
            let cursor = || self.cursor(batch.revision, batch.sequence);
            let upserts = || batch.upserts.iter().map(|entry| self.shown(entry)).collect::<Vec<_>>();
            let render = || events::change(&upserts(), &batch.removed, Some(&cursor())).into_bytes();
            let [without, with] = &batch.rendered;
            let shared = if owners == OwnersSeen::All { with } else { without };
            return Some(Segments::of(shared.get_or_init(render).clone()));
        }
        let sees_any = batch.upserts.iter().any(|entry| self.sees(&entry.service().key))
            || batch.removed.iter().any(|(key, _)| self.sees(key));
        sees_any.then(|| {
            let pin = self.watcher.catalog.pin();
            self.stage = Stage::Batch(Box::new(BatchScan { batch, pin, removed: 0, upserts: 0, permit: None }));
            Segments::default()
        })
    }

    /// Starts over with everything: too much changed meanwhile.
    fn start_over(&mut self) {
        self.watcher.in_flight.gave_up("watch_behind");
        let pin = self.watcher.catalog.pin();
        let (snapshot, feed) = self.watcher.catalog.subscribe();
        self.watcher.feed = feed;
        let removed = Vec::new().into_iter();
        let scan = SnapshotScan { snapshot, pin, after: None, first: true, since: None, removed, permit: None };
        self.stage = Stage::Snapshot(Box::new(scan));
    }

    /// Where the watch continues.
    fn cursor(&self, revision: u64, sequence: u64) -> String {
        let mark = self.watcher.replica.map(|replica| Mark { replica, sequence });
        WatchCursor::text(&self.watcher.epoch, revision, mark)
    }

    fn shown(&self, entry: &Arc<Entry>) -> Shown {
        (Arc::clone(entry), self.watcher.principal.sees_owners(entry.service().key.namespace()))
    }

    fn sees(&self, key: &ServiceKey) -> bool {
        self.sees_all || self.watcher.filter.covers(&self.watcher.principal, key)
    }
}

/// Whether one event holds all of it.
fn is_small(batch: &Batch) -> bool {
    let bytes: usize = batch.upserts.iter().take(events::MAX_BYTES / 256).map(|entry| entry.json_len()).sum();
    bytes <= events::MAX_BYTES && batch.upserts.len() <= events::MAX_BYTES / 256 && batch.removed.len() <= MAX_REMOVALS
}

#[cfg(test)]
mod tests;
