//! One watcher: everything or what it missed, then each batch of the feed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::events;
use super::seats::Seat;
use crate::api::access::{Principal, Standing};
use crate::api::scope::Reach;
use crate::catalog::snapshot::Order;
use crate::catalog::{Batch, Catalog, Entry, Feed, FeedError, Snapshot};
use crate::model::name::ServiceKey;
use crate::telemetry::told::{Hearing, Told};

/// Longest silence.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Services of one `snapshot` event.
const CHUNK: usize = 256;

/// What a client does not know yet.
pub(super) enum Missed {
    Everything,
    /// Changes after that revision, and what was removed since.
    Since(u64, Vec<(ServiceKey, Uuid)>),
}

/// Where it stands.
enum Stage {
    /// Everything is being sent: the place in it, and whether nothing was sent yet.
    Snapshot(Option<Order>, bool),
    /// What was missed comes next.
    Missed(u64, Vec<(ServiceKey, Uuid)>),
    Live,
    /// The last event was sent.
    Over,
}

/// What ends a watcher's silence.
enum Next {
    Secrets,
    Told(Arc<Told>),
    Batch(Result<Arc<Batch>, FeedError>),
}

/// Resolves when the secrets have changed; never where no token was needed.
async fn changed(standing: &mut Option<Standing>) {
    match standing {
        Some(standing) => standing.changed().await,
        None => std::future::pending().await,
    }
}

pub(super) struct Watcher {
    snapshot: Arc<Snapshot>,
    feed: Feed,
    told: Hearing,
    catalog: Arc<Catalog>,
    who: Principal,
    /// The token that opened it, where one was needed.
    standing: Option<Standing>,
    reach: Reach,
    /// Whether the watcher sees all there is, so that batches need not be looked through.
    sees_all: bool,
    _seat: Seat,
}

impl Watcher {
    pub(super) fn new(
        snapshot: Arc<Snapshot>,
        feed: Feed,
        told: Hearing,
        catalog: Arc<Catalog>,
        (who, standing): (Principal, Option<Standing>),
        reach: Reach,
        seat: Seat,
    ) -> Self {
        let sees_all = reach == Reach::All && who.reads_all();
        Self { snapshot, feed, told, catalog, who, standing, reach, sees_all, _seat: seat }
    }

    /// The events, until the process stops or the client goes.
    pub(super) fn stream(self, missed: Missed) -> BoxStream<'static, Bytes> {
        let stage = match missed {
            Missed::Everything => Stage::Snapshot(None, true),
            Missed::Since(revision, removed) => Stage::Missed(revision, removed),
        };
        let first = futures::stream::once(async { events::RETRY });
        let rest = unfold((self, stage), |(mut watcher, stage)| async move {
            let (bytes, stage) = watcher.next(stage).await?;
            Some((bytes, (watcher, stage)))
        });
        first.chain(rest).boxed()
    }

    async fn next(&mut self, stage: Stage) -> Option<(Bytes, Stage)> {
        if let Stage::Over = stage {
            return None;
        }
        if let Some(end) = self.end() {
            return Some(end);
        }
        match stage {
            Stage::Over => None,
            Stage::Snapshot(after, first) => Some(self.chunk(after, first)),
            Stage::Missed(revision, removed) => Some((self.missed(revision, &removed), Stage::Live)),
            Stage::Live => self.live().await,
        }
    }

    fn chunk(&self, after: Option<Order>, first: bool) -> (Bytes, Stage) {
        let mut seen = self.snapshot.newest_first(after).filter(|entry| self.sees(&entry.service().key));
        let entries: Vec<&Arc<Entry>> = seen.by_ref().take(CHUNK).collect();
        let more = seen.next().is_some();
        let place = entries.last().map(|entry| (entry.service().registered_at, entry.service().id));
        if more {
            return (events::snapshot(&entries, first, None), Stage::Snapshot(place, false));
        }
        let cursor = events::cursor(&self.snapshot);
        (events::snapshot(&entries, first, Some(&cursor)), Stage::Live)
    }

    fn missed(&self, since: u64, removed: &[(ServiceKey, Uuid)]) -> Bytes {
        let newer = |entry: &&Arc<Entry>| entry.service().revision > since && self.sees(&entry.service().key);
        let upserts: Vec<&Arc<Entry>> = self.snapshot.newest_first(None).filter(newer).collect();
        let gone = |(key, id): &&(ServiceKey, Uuid)| self.sees(key) && self.snapshot.by_id(id).is_none();
        let removed: Vec<_> = removed.iter().filter(gone).collect();
        events::change(&upserts, &removed, &events::cursor(&self.snapshot))
    }

    /// The last event, once the token that opened the watch counts no more.
    fn end(&mut self) -> Option<(Bytes, Stage)> {
        let why = self.standing.as_mut()?.ended()?;
        Some((events::ended(why), Stage::Over))
    }

    async fn live(&mut self) -> Option<(Bytes, Stage)> {
        let silent = Instant::now() + HEARTBEAT;
        loop {
            let expires = self.standing.as_ref().map(|token| Instant::now() + token.remaining());
            let next = async {
                tokio::select! {
                    // Rare things first, so that the feed waits for them seldom.
                    biased;
                    () = changed(&mut self.standing) => Next::Secrets,
                    told = self.told.next() => Next::Told(told),
                    batch = self.feed.next() => Next::Batch(batch),
                }
            };
            let next = timeout_at(expires.map_or(silent, |at| at.min(silent)), next).await;
            if let Some(end) = self.end() {
                return Some(end);
            }
            let batch = match next {
                Err(_) if Instant::now() >= silent => return Some((events::HEARTBEAT, Stage::Live)),
                Err(_) | Ok(Next::Secrets) => continue,
                Ok(Next::Told(told)) => return Some((events::told(&told), Stage::Live)),
                Ok(Next::Batch(batch)) => batch,
            };
            match batch {
                Ok(batch) => {
                    if let Some(bytes) = self.batch(&batch) {
                        return Some((bytes, Stage::Live));
                    }
                }
                Err(FeedError::Lagged) => {
                    (self.snapshot, self.feed) = self.catalog.subscribe();
                    return Some(self.chunk(None, true));
                }
                Err(FeedError::Ended) => return None,
            }
        }
    }

    /// The batch as far as the watcher sees it. Those who see all share one rendering.
    fn batch(&self, batch: &Batch) -> Option<Bytes> {
        let cursor = || format!("{}.{}", self.snapshot.epoch(), batch.revision);
        if self.sees_all {
            let render = || {
                let (upserts, removed): (Vec<_>, Vec<_>) =
                    (batch.upserts.iter().collect(), batch.removed.iter().collect());
                events::change(&upserts, &removed, &cursor())
            };
            return Some(batch.rendered.get_or_init(render).clone());
        }
        let upserts: Vec<_> = batch.upserts.iter().filter(|entry| self.sees(&entry.service().key)).collect();
        let removed: Vec<_> = batch.removed.iter().filter(|(key, _)| self.sees(key)).collect();
        let any = !upserts.is_empty() || !removed.is_empty();
        any.then(|| events::change(&upserts, &removed, &cursor()))
    }

    fn sees(&self, key: &ServiceKey) -> bool {
        self.sees_all || self.reach.covers(&self.who, key.namespace())
    }
}
