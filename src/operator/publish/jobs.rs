//! The writes in progress, and how many may follow.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kube::Client;

use super::apply::{Request, WriteError, Writer, Written};
use crate::model::backoff::Backoff;
use crate::model::name::ServiceKey;
use crate::model::ports::Leadership;
use crate::operator::events::bucket::Bucket;

/// Writes of slices per second, and at once.
const RATE: (u32, u32) = (50, 100);
/// Most jobs at the same time.
const MAX_JOBS: usize = 8;
/// Most requests of one job, before others have their turn.
const MAX_REQUESTS: usize = 8;
/// Pauses of all writes while the Kubernetes API accepts none.
const OUTAGE_PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));

/// A finished job: for an object, or for slices that nobody owns.
pub(super) struct Finished {
    pub(super) key: Option<ServiceKey>,
    pub(super) namespace: String,
    pub(super) written: Vec<Written>,
    pub(super) result: Result<(), WriteError>,
}

/// Jobs, at most one for each object.
pub(super) struct Jobs {
    writer: Writer,
    bucket: Bucket,
    running: FuturesUnordered<BoxFuture<'static, Finished>>,
    busy: HashSet<ServiceKey>,
    pauses: Backoff,
    paused_until: Option<Instant>,
}

impl Jobs {
    pub(super) fn new(client: Client, leadership: Arc<dyn Leadership>) -> Self {
        Self {
            writer: Writer { client, leadership },
            bucket: Bucket::new(RATE.0, RATE.1),
            running: FuturesUnordered::new(),
            busy: HashSet::new(),
            pauses: OUTAGE_PAUSES,
            paused_until: None,
        }
    }

    /// Whether another may start.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        self.start_at(now).is_some_and(|at| at <= now)
    }

    /// When another may start; none before one has ended.
    pub(super) fn start_at(&self, now: Instant) -> Option<Instant> {
        let paused = self.paused_until.unwrap_or(now);
        (self.running.len() < MAX_JOBS).then(|| paused.max(now + self.bucket.wait(now)))
    }

    /// Whether the object has one.
    pub(super) fn is_busy(&self, key: &ServiceKey) -> bool {
        self.busy.contains(key)
    }

    /// Sends as many of the requests as the rate allows; whoever planned the others finds them again afterwards.
    pub(super) fn start(
        &mut self,
        key: Option<&ServiceKey>,
        namespace: &str,
        mut requests: Vec<Request>,
        now: Instant,
    ) {
        let allowed = (0..requests.len().min(MAX_REQUESTS)).take_while(|_| self.bucket.take(now)).count();
        requests.truncate(allowed);
        self.busy.extend(key.cloned());
        let (writer, key, namespace) = (self.writer.clone(), key.cloned(), namespace.to_owned());
        self.running.push(Box::pin(async move {
            let (written, result) = writer.write(&namespace, requests).await;
            Finished { key, namespace, written, result }
        }));
    }

    /// The next that ends, if there are any. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Finished> {
        let finished = self.running.next().await?;
        if let Some(key) = &finished.key {
            self.busy.remove(key);
        }
        match &finished.result {
            Ok(()) => self.pauses.reset(),
            Err(WriteError::Unavailable(_)) => self.paused_until = Some(Instant::now() + self.pauses.next()),
            Err(_) if finished.key.is_none() => self.paused_until = Some(Instant::now() + self.pauses.next()),
            Err(_) => {}
        }
        Some(finished)
    }

    /// Aborts all. Dropping a write closes its connection.
    pub(super) fn clear(&mut self) {
        self.running.clear();
        self.busy.clear();
    }
}
